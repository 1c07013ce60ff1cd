package region

import (
	"context"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// verdict is what a stored value is good for.
type verdict uint8

const (
	missing verdict = iota // there is none, or none that can be used
	dead                   // too old, or killed by an invalidation
	stale                  // may be served while another one is created
	fresh
)

// sight is what one read of one key has shown to a call.
type sight struct {
	verdict  verdict
	notFound bool             // the stored answer is "not found"
	value    any              // a *T; set if the verdict is stale or fresh, unless notFound
	payload  []byte           // what value was decoded from, if it was
	tags     []backend.Tagged // that the value carries

	// main is not nil if the key's own entry is another binary's; the rest is then what
	// the key's variant has shown.
	main *mainEntry
}

// asks is what a call wants to know of the keys it reads.
type asks struct {
	*valueType
	settings
}

// look reads one key, and then its variant if need be. An error is the backend's.
func (st *state) look(ctx context.Context, a *asks, key string) (sight, error) {
	var g glance
	st.glance(ctx, &g, key, a.wants(key))
	if g.err != nil {
		return sight{}, g.err
	}
	s := st.judge(a, key, &g)
	if s.main == nil {
		return s, nil
	}
	return st.lookForVariant(ctx, a, key, s)
}

// judge says what an entry is good for. What cannot be read is a miss and an event.
func (st *state) judge(a *asks, key string, g *glance) sight {
	if !g.there {
		return sight{}
	}
	err := g.bad
	switch {
	case err != nil:
	case !st.bytes:
		if !g.NotFound && !a.is(g.Value) {
			err = fmt.Errorf("%w: %T, not *%v", errOtherType, g.Value, a.typ)
		}
	case st.Interop != nil: // it does not say of what type a value is
	case g.schema != a.schema, g.codec != st.codecID:
		return sight{main: st.judgeMain(a, key, g)}
	}
	if err != nil {
		st.badEntry(key, err)
		return sight{}
	}
	return st.judgeOwn(a, key, g, fresh)
}

// judgeOwn says what an entry is good for, at most, that is of the call's type.
func (st *state) judgeOwn(a *asks, key string, g *glance, most verdict) sight {
	s := sight{notFound: g.NotFound, tags: g.Tags}
	s.verdict = min(most, st.age(a, g), st.valid(a, key, g))
	switch {
	case s.verdict == stale && (s.notFound || st.stale == 0 || a.freshOnly):
		s.verdict = dead // a "not found" is remembered for a short time and never served stale
	case s.verdict < stale, s.notFound:
	case st.bytes:
		var err error
		if s.value, err = st.decode(a.valueType, g.Data); err != nil {
			st.badEntry(key, err)
			return sight{}
		}
		s.payload = g.Data
	default:
		s.value = g.Value
	}
	return s
}

// age judges by the age of a value, and by what the call will take at all.
func (st *state) age(a *asks, g *glance) verdict {
	if a.refresh {
		return dead
	}
	return st.aged(g, st.limit(a, g.Expiration))
}

// aged judges by the age up to which a value is fresh.
func (st *state) aged(g *glance, limit int64) verdict {
	old := int64(st.since(g.Created)) // negative if a clock was set back, and then fresh
	switch {
	case old <= limit:
		return fresh
	case old-limit <= st.stale:
		return stale
	}
	return dead
}

// since returns how long ago a value was created.
func (st *state) since(created time.Time) time.Duration {
	if st.bytes {
		return st.now().Sub(created)
	}
	return time.Since(created)
}

// limit returns the age up to which the call takes a value for fresh that has an
// expiration of its own, or zero.
func (st *state) limit(a *asks, own time.Duration) int64 {
	limit := st.fresh
	if own != 0 {
		limit = ageLimit(own)
	}
	if a.hasOwn {
		if call := ageLimit(a.expiration); own == 0 || call < limit {
			limit = call
		}
	}
	return limit
}

// valid judges by stamps, and by what this process knows to be invalid though the
// backend does not.
func (st *state) valid(a *asks, key string, g *glance) verdict {
	if wants := a.wants(key); len(wants) > 0 && !carries(g.Tags, wants) {
		return dead // nobody can say whether it was invalidated
	}
	return st.intact(key, g)
}

// intact is valid for whoever expects no tags.
func (st *state) intact(key string, g *glance) verdict {
	is := compare(g.Stamps, g.region)
	for i := range g.Tags {
		is = min(is, compare(g.Tags[i].Stamps, g.tags[i]))
	}
	if g.owed != nil {
		is = min(is, g.owed.verdict(key, g.Tags))
	}
	return is
}

// compare judges by the stamps of one guard. Absent ones are never current.
func compare(has, now backend.Stamps) verdict {
	switch {
	case now.Hard.IsZero() || has.Hard != now.Hard:
		return dead
	case now.Soft.IsZero() || has.Soft != now.Soft:
		return stale
	}
	return fresh
}

// peek is the hit path: the value of key, if it is stored in this process and
// fresh by the region's own rules, or nil. Everything else takes the long way,
// which says what is wrong.
func (r *Region) peek(key string) any {
	if r == nil {
		return nil
	}
	st := r.state.Load()
	if st == nil || st.local == nil || st.owed.Load() != nil {
		return nil
	}
	e, atMost := st.local.Peek(key)
	return st.good(e, atMost, nil)
}

// peekBytes is peek for a key that stands in a buffer, and for a value that has tags.
func (st *state) peekBytes(key []byte, tags []string) any {
	if st.local == nil || st.owed.Load() != nil {
		return nil
	}
	e, atMost := st.local.PeekBytes(key)
	return st.good(e, atMost, tags)
}

// good returns the value of a hit that is at most so old and has tags, or nil. A stored
// "not found" has no value.
func (st *state) good(e *backend.Entry, atMost time.Duration, tags []string) any {
	if e == nil || !st.live.Are(e.Stamps) {
		return nil
	}
	if len(tags)+len(e.Tags) > 0 && !(carries(e.Tags, tags) && live(e.Tags)) {
		return nil
	}
	limit := st.fresh
	if e.Expiration != 0 {
		limit = ageLimit(e.Expiration)
	}
	// Reading the time is a quarter of a hit, so it is left out until the end of
	// the expiration is near.
	if int64(atMost) > limit && int64(time.Since(e.Created)) > limit {
		return nil
	}
	return e.Value
}
