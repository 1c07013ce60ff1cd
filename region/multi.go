package region

import (
	"context"
	"errors"
	"slices"

	"github.com/dogpile-go/dogpile/internal/flight"
)

// GetOrCreateMulti returns the values of keys, calling create once with those that
// have no fresh value and that this call is the one to create. It reads all keys
// in one round trip, joins the creations of single keys and of other batches that
// are under way, and waits for the rest. A key that stands in keys twice is read
// and created once. The map is never nil.
//
// create returns a value for each key it is given. If it returns fewer or others,
// the result is what there is and a [*BatchError]. With [AllowMissing], keys that
// do not exist are left out of the result: those that create leaves out, and those
// that are remembered as not found, which are otherwise an [ErrNotFound]. If create
// fails, with whatever error, or the call ends early, the result is what there is
// and the error, which is one that GetOrCreate returns.
func GetOrCreateMulti[T any](ctx context.Context, r *Region, keys []string, create func(ctx context.Context, missing []string) (map[string]T, error), opts ...CallOption) (map[string]T, error) {
	if create == nil {
		return map[string]T{}, r.fail(ErrNilCreator)
	}
	c := &call{asks: asks{valueType: typeOf[T]()}, batch: true}
	var err error
	if c.settings, err = resolve(opts, c.typ); err == nil {
		err = c.checkTags(keys)
	}
	if err != nil {
		return map[string]T{}, r.fail(err)
	}
	c.make = func(ctx context.Context, keys []string) (map[string]any, error) {
		// The creator gets a list of its own, to keep or to change.
		values, err := create(ctx, slices.Clone(keys))
		if err != nil {
			return nil, err
		}
		boxed := make(map[string]any, len(values))
		for key, value := range values {
			boxed[key] = &value
		}
		return boxed, nil
	}
	found, err := r.getOrCreateMulti(ctx, keys, c)
	return unbox[T](found), err
}

// waiting is one key that a batch waits for.
type waiting struct {
	key    string
	ticket flight.Ticket[outcome]
	leads  bool
	old    sight // served if the value is being created elsewhere
}

// getOrCreateMulti returns what it could get, also beside an error. It starts over
// as getOrCreate does.
func (r *Region) getOrCreateMulti(ctx context.Context, keys []string, c *call) (map[string]any, error) {
	for {
		st, err := r.enter()
		if err != nil {
			return nil, err
		}
		found, err := st.getOrCreateMulti(ctx, keys, c)
		if !st.replaced(err) {
			return found, err
		}
	}
}

// getOrCreateMulti leaves the state, which the caller has entered.
func (st *state) getOrCreateMulti(ctx context.Context, keys []string, c *call) (map[string]any, error) {
	defer st.leave()
	r := st.region
	if st.creating(ctx, keys...) {
		return nil, r.fail(ErrReentrant)
	}
	if st.Interop != nil {
		shared := *c // which may be used with another configuration later
		if err := shared.forInterop(st.Interop); err != nil {
			return nil, r.fail(err)
		}
		c = &shared
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()

	b := batch{st: st, call: c, came: st.flights.Arrive(), found: make(map[string]any, len(keys))}
	todo := unique(keys)
	for len(todo) > 0 {
		if ctx.Err() != nil {
			b.fail(r.failKey(todo[0], ended(ctx)))
			break
		}
		waits := b.start(ctx, todo)
		todo = todo[:0:0]
		for _, w := range waits {
			// Every ticket is waited with, also after ctx has ended, because
			// that is what gives it up.
			if b.await(ctx, w) {
				todo = append(todo, w.key)
			}
		}
		if b.err != nil {
			break
		}
	}
	if b.err == nil {
		b.err = b.mismatch()
	}
	return b.found, b.err
}

// batch is one call for many keys.
type batch struct {
	st          *state
	call        *call
	came        flight.Arrival
	found       map[string]any
	missed      map[string]struct{} // keys that have been counted as misses
	missing     []string            // left out by this call's creator
	productions []*production       // started by this call
	err         error               // the first one
}

func (b *batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// start reads keys, takes what can be had at once, starts one production for what
// nobody is creating, and returns what is to be waited for.
func (b *batch) start(ctx context.Context, keys []string) []waiting {
	st, c := b.st, b.call
	counters := &st.region.counters
	sights, err := st.lookMulti(ctx, &c.asks, keys)
	if err != nil {
		sights = make([]sight, len(keys)) // all of them misses; lookMulti has told
	}
	var waits []waiting
	var own []*pending
	for i, key := range keys {
		s := sights[i]
		if s.verdict == fresh {
			counters.hits.Add(1)
			b.take(key, outcome{value: s.value, err: notFoundErr(s)})
			continue
		}
		w := waiting{key: key, old: s}
		if s.verdict == stale {
			if w.ticket, w.leads = st.flights.Lead(key, b.came); !w.leads || st.Refresh == Background {
				counters.staleHits.Add(1)
				b.found[key] = s.value
			}
		} else {
			w.ticket, w.leads = st.flights.Join(key, b.came)
		}
		if w.leads {
			own = append(own, &pending{key: key, flight: w.ticket.Flight(), try: s.verdict == stale, variantOf: s.variantOf()})
		}
		if _, served := b.found[key]; !served {
			waits = append(waits, w)
		}
	}
	if len(own) > 0 {
		b.productions = append(b.productions, st.produce(ctx, c, own))
	}
	return waits
}

// await waits for one key and reports whether it has to be looked at again.
func (b *batch) await(ctx context.Context, w waiting) (again bool) {
	out, err := b.st.await(ctx, &b.call.asks, w.key, w.ticket, w.leads)
	if errors.Is(err, errElsewhere) && w.old.verdict == stale {
		b.st.region.counters.staleHits.Add(1)
		b.found[w.key] = w.old.value
		return false
	}
	if _, counted := b.missed[w.key]; !counted {
		b.st.region.counters.misses.Add(1)
		if b.missed == nil {
			b.missed = make(map[string]struct{})
		}
		b.missed[w.key] = struct{}{}
	}
	switch {
	case errors.Is(err, flight.ErrStartOver), errors.Is(err, errElsewhere):
		return true
	case err != nil:
		b.fail(err)
	default:
		b.take(w.key, out)
	}
	return false
}

// take puts the answer for one key into the result.
func (b *batch) take(key string, out outcome) {
	switch {
	case out.err != nil && (out.failed || !b.call.allowMissing):
		b.fail(b.st.region.failKey(key, out.err))
	case out.err != nil:
	case out.missing:
		b.missing = append(b.missing, key)
	default:
		b.found[key] = out.value
	}
}

// notFoundErr is ErrNotFound if that is what was stored.
func notFoundErr(s sight) error {
	if s.notFound {
		return ErrNotFound
	}
	return nil
}

// mismatch compares what this call's creator returned with what it was asked for.
func (b *batch) mismatch() error {
	wrong := &BatchError{Region: b.st.region.name}
	if !b.call.allowMissing {
		wrong.Missing = b.missing
	}
	for _, p := range b.productions {
		p.mu.Lock()
		wrong.Unexpected = append(wrong.Unexpected, p.unexpected...)
		p.mu.Unlock()
	}
	if len(wrong.Missing)+len(wrong.Unexpected) == 0 {
		return nil
	}
	slices.Sort(wrong.Missing)
	slices.Sort(wrong.Unexpected)
	return wrong
}
