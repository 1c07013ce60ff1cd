package region

import (
	"context"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
)

// While a deploy is rolling, binaries of two releases ask for the same keys, as values of
// different types perhaps, or with different codecs. Each would overwrite what the other
// has stored, again and again. So whoever finds an entry of another kind that is fresh
// leaves it alone, and keeps its own value beside it: in a variant, which has a key and a
// lease of its own.
//
// What invalidates a key knows only of its main entry. A variant therefore names the main
// entry that was there before the variant's creator began, and counts only as long as
// that is there still. No two entries are the same, so whatever has replaced or removed
// it has ended the variant.
//
// An entry of another kind that is not fresh is replaced like any other, by whoever comes
// first. It would be wrong to leave a stale one to its own kind: a variant that is made
// beside it is lost as soon as it is replaced. And its own kind may be gone.

// variantsLast is for how long values are kept beside one another. It is longer than a
// deploy takes, and bounds what is left behind of values that never expire.
const variantsLast = 24 * time.Hour

// mainEntry is what has to be known of a key's own entry if it is of another kind than the
// call's values, and not dead.
type mainEntry struct {
	id      envelope.Identity
	stays   bool // it is not to be replaced
	expired bool // by Region.Expire
}

// judgeMain judges an entry of another kind. It returns nil if that is dead.
func (st *state) judgeMain(a *asks, key string, g *glance) *mainEntry {
	if a.refresh {
		return nil // what takes its place is newer for everybody
	}
	// A call that is stricter than the region must not take it away from others, and
	// one that is less strict must not lose its variant. What tags the call expects
	// does not matter: the value is not for its use.
	is := st.aged(g, st.limit(&asks{}, g.Expiration))
	is = max(is, st.age(a, g))
	is = min(is, st.intact(key, g))
	if is == dead {
		return nil
	}
	st.region.counters.foreign.Add(1)
	return &mainEntry{
		id:      envelope.IdentityOf(g.whole),
		stays:   is == fresh && st.since(g.Created) <= variantsLast,
		expired: g.Stamps.Soft.IsZero(),
	}
}

// variantOf says where a value that is created belongs: nil: into the key's own entry.
func (s *sight) variantOf() *mainEntry {
	if s.main == nil || !s.main.stays {
		return nil
	}
	return s.main
}

// variant is where values of a type are kept beside a key's own entry. No region has such
// a name.
func (st *state) variant(vt *valueType, key string) backend.Key {
	return backend.Key{Region: fmt.Sprintf("%s~%016x%08x", st.region.name, vt.schema, st.codecID), Name: key}
}

// lookForVariant completes what a look at a key has shown, whose own entry is of another
// kind.
func (st *state) lookForVariant(ctx context.Context, a *asks, key string, s sight) (sight, error) {
	sights := []sight{s}
	err := st.lookForVariants(ctx, a, []string{key}, sights)
	return sights[0], err
}

// lookForVariants is lookForVariant for those of many keys, in one round trip.
func (st *state) lookForVariants(ctx context.Context, a *asks, keys []string, sights []sight) error {
	var names []string
	var places []backend.Key
	var at []int
	for i := range sights {
		if sights[i].main != nil {
			names, at = append(names, keys[i]), append(at, i)
			places = append(places, st.variant(a.valueType, keys[i]))
		}
	}
	if len(names) == 0 {
		return nil
	}
	glances, err := st.glanceAt(ctx, a, names, places)
	if err != nil {
		return err
	}
	for j, i := range at {
		sights[i] = st.judgeVariant(a, names[j], sights[i].main, &glances[j])
	}
	return nil
}

// judgeVariant says what a variant is good for.
func (st *state) judgeVariant(a *asks, key string, main *mainEntry, g *glance) sight {
	none := sight{main: main}
	if !g.there {
		return none
	}
	of, payload, err := cutIdentity(g.Data)
	switch {
	case g.bad != nil:
		err = g.bad
	case g.schema != a.schema, g.codec != st.codecID:
		err = errOtherType
	}
	if err != nil {
		st.badEntry(key, err)
		return none
	}
	if of != main.id {
		return none // it is a variant of what was there before
	}
	most := fresh
	if main.expired {
		most = stale
	}
	g.Data = payload
	s := st.judgeOwn(a, key, g, most)
	s.main = main
	return s
}

// cutIdentity returns what a variant is of, and its payload.
func cutIdentity(b []byte) (of envelope.Identity, payload []byte, err error) {
	if len(b) < len(of) {
		return of, nil, envelope.ErrCorrupt
	}
	n := copy(of[:], b)
	return of, b[n:], nil
}

// place is where the value of q is to be stored.
func (p *production) place(q *pending) backend.Key {
	if q.variantOf != nil {
		return p.st.variant(p.call.valueType, q.key)
	}
	return p.st.key(q.key)
}

func (p *production) places(keys []*pending) []backend.Key {
	list := make([]backend.Key, len(keys))
	for i, q := range keys {
		list[i] = p.place(q)
	}
	return list
}

// isMoved notes where the value belongs, by what was seen under the lease, and reports
// whether that is elsewhere than where the lease was taken.
func (q *pending) isMoved() bool {
	was := q.variantOf != nil
	q.variantOf = q.seen.variantOf()
	return was != (q.variantOf != nil)
}

// judge judges what was stored when the leases of keys had been granted.
func (p *production) judge(keys []*pending, glances []glance) error {
	st, a := p.st, &p.call.asks
	sights := make([]sight, len(keys))
	var variants []string
	var at []int
	for i, q := range keys {
		if q.variantOf == nil {
			sights[i] = st.judge(a, q.key, &glances[i])
		} else {
			variants, at = append(variants, q.key), append(at, i)
		}
	}
	if err := st.lookForVariants(p.ctx, a, names(keys), sights); err != nil {
		return err
	}
	if len(variants) > 0 {
		// What is found goes to those who had come before the leases were asked for,
		// and they may know of an invalidation that came after the main entries were
		// last seen.
		mains, err := st.glanceMulti(p.ctx, a, variants)
		if err != nil {
			return err
		}
		for j, i := range at {
			s := st.judge(a, variants[j], &mains[j])
			if s.main != nil {
				s = st.judgeVariant(a, variants[j], s.main, &glances[i])
			}
			sights[i] = s
		}
	}
	for i, q := range keys {
		q.seen = sights[i]
	}
	return nil
}

// replacedSince returns those of keys whose values are variants of entries that are not
// there any more, or have expired. Nobody can join their flights by now, so what was
// invalidated when somebody joined is gone.
func (p *production) replacedSince(keys []*pending) (replaced map[string]bool, err error) {
	var variants []*pending
	for _, q := range keys {
		if q.variantOf != nil && q.lease != nil {
			variants = append(variants, q)
		}
	}
	if len(variants) == 0 {
		return nil, nil
	}
	st := p.st
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), settleTime)
	defer cancel()
	defer func() {
		if err != nil {
			st.failed("get", variants[0].key, err)
		}
	}()
	defer recovered(&err)
	entries, _, err := st.backend.GetMulti(ctx, st.keys(names(variants)), nil)
	if err != nil {
		return nil, err
	}
	replaced = make(map[string]bool)
	for i, q := range variants {
		var s stored
		if i < len(entries) {
			st.read(&s, st.key(q.key), entries[i])
		}
		if !s.there || s.bad != nil || s.Stamps.Soft.IsZero() || envelope.IdentityOf(s.whole) != q.variantOf.id {
			replaced[q.key] = true
		}
	}
	return replaced, nil
}
