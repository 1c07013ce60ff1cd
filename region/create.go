package region

import (
	"context"
	"errors"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/flight"
)

// maker creates the values of keys: pointers to them, under their keys.
type maker func(ctx context.Context, keys []string) (map[string]any, error)

// call is one GetOrCreate or GetOrCreateMulti.
type call struct {
	asks
	make  maker
	batch bool // it is a GetOrCreateMulti
}

// outcome is what a flight ends with.
type outcome struct {
	value   any              // a *T, T being the type of the flight's leader
	payload []byte           // what value is encoded as, for a backend of bytes
	decoded *decoding        // of payload
	tags    []backend.Tagged // that the value carries
	created bool             // a creator has returned it, as opposed to a read
	waited  bool             // it was read after somebody else in the fleet had created it
	missing bool             // the creator of a batch left the key out
	err     error            // wraps ErrNotFound: there is no such value, unless failed
	failed  bool             // the creator of a batch failed with err, for whatever reason

	// unproved tells that the backend could not be asked whether anything was
	// invalidated while the value was created.
	unproved bool
}

// errElsewhere is how a flight for a stale value ends when somebody else in the
// fleet is creating it already.
var errElsewhere = errors.New("region: the value is being created elsewhere")

// GetOrCreate returns the value of key, calling create if there is none that is
// fresh; the table in the package's documentation tells who calls it and who
// waits. A nil value or a zero value is a value. On a backend that keeps Go values
// all callers get the same one: do not change what a slice, map or pointer in it
// leads to.
//
// A hit in memory allocates nothing, but a create that is a closure of the caller's
// is made before every call, hit or not; [Cached] makes none.
//
// An error of create is returned as it is to all who waited for it, wrapped with
// the region and the key; so are [*PanicError], [ErrCreatorExited] and
// [ErrCreateTimeout]. A failure of the backend is not an error: create runs. The
// other errors are the end of ctx, [ErrMaxWait], [ErrReentrant], [ErrNilCreator],
// [ErrNotConfigured], [ErrClosed], [ErrNotFound] if create returned it, now or
// not longer than Config.NotFoundFor ago, and [ErrConfig] for a bad option.
func GetOrCreate[T any](ctx context.Context, r *Region, key string, create func(context.Context) (T, error), opts ...CallOption) (T, error) {
	if create == nil {
		var none T
		return none, r.failKey(key, ErrNilCreator)
	}
	if len(opts) == 0 {
		if p, ok := r.peek(key).(*T); ok && !r.mayReenter(ctx) {
			r.counters.hits.Add(1)
			return *p, nil
		}
	}
	return getOrCreate[T](ctx, r, key, func() maker { return makerOf(create) }, opts)
}

// makerOf returns the maker of one value.
func makerOf[T any](create func(context.Context) (T, error)) maker {
	return func(ctx context.Context, keys []string) (map[string]any, error) {
		value, err := create(ctx)
		if err != nil {
			return nil, err
		}
		return map[string]any{keys[0]: &value}, nil
	}
}

// getOrCreate is GetOrCreate after it has not found anything in passing. It calls
// prepare when a value has to be created, so that a hit makes no closures.
func getOrCreate[T any](ctx context.Context, r *Region, key string, prepare func() maker, opts []CallOption) (value T, err error) {
	a := asks{valueType: typeOf[T]()}
	if a.settings, err = resolve(opts, a.typ); err != nil {
		return value, r.failKey(key, err)
	}
	got, err := r.getOrCreate(ctx, key, &a, prepare)
	if err != nil {
		return value, err
	}
	return *got.(*T), nil
}

// getOrCreate returns a *T for the T of the call. A call that is under way when
// Reconfigure ends its patience starts over on the new configuration.
func (r *Region) getOrCreate(ctx context.Context, key string, a *asks, prepare func() maker) (any, error) {
	for {
		st, err := r.enter()
		if err != nil {
			return nil, err
		}
		value, err := st.getOrCreate(ctx, key, a, prepare)
		if !st.replaced(err) {
			return value, err
		}
	}
}

// getOrCreate leaves the state, which the caller has entered.
func (st *state) getOrCreate(ctx context.Context, key string, a *asks, prepare func() maker) (any, error) {
	defer st.leave()
	if st.creating(ctx, key) {
		return nil, st.region.failKey(key, ErrReentrant)
	}
	if st.Interop != nil {
		shared := *a // which may be used with another configuration later
		if err := shared.forInterop(st.Interop); err != nil {
			return nil, st.region.failKey(key, err)
		}
		a = &shared
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()
	return st.obtain(ctx, key, a, prepare)
}

// obtain looks, and creates or waits, until there is a value or an error.
func (st *state) obtain(ctx context.Context, key string, a *asks, prepare func() maker) (any, error) {
	r := st.region
	at := approach{key: key, came: st.flights.Arrive()}
	missed := false // the call has been counted as a miss
	for {
		if ctx.Err() != nil {
			return nil, r.failKey(key, ended(ctx))
		}
		if !st.approach(ctx, a, &at) {
			continue
		}
		s, ticket, leads := at.sight, at.ticket, at.leads
		switch {
		case s.verdict == fresh && s.notFound:
			r.counters.hits.Add(1)
			return nil, r.failKey(key, ErrNotFound)
		case s.verdict == fresh:
			r.counters.hits.Add(1)
			return s.value, nil
		case s.verdict == stale && !leads:
			r.counters.staleHits.Add(1)
			return s.value, nil
		}
		if leads {
			q := &pending{key: key, flight: ticket.Flight(), try: s.verdict == stale, variantOf: s.variantOf()}
			st.produce(ctx, &call{asks: *a, make: prepare()}, []*pending{q})
			if q.try && st.Refresh == Background {
				r.counters.staleHits.Add(1)
				return s.value, nil
			}
		}
		out, err := st.await(ctx, a, key, ticket, leads)
		if errors.Is(err, errElsewhere) && s.verdict == stale {
			r.counters.staleHits.Add(1)
			return s.value, nil
		}
		if !missed {
			missed = true
			r.counters.misses.Add(1)
		}
		switch {
		case errors.Is(err, flight.ErrStartOver), errors.Is(err, errElsewhere):
			continue
		case err != nil:
			return nil, err
		case out.err != nil:
			return nil, r.failKey(key, out.err)
		}
		return out.value, nil
	}
}

// await waits for the flight and returns its outcome as far as this call may have
// it: with a value of the call's type, or with an err, or missing.
func (st *state) await(ctx context.Context, a *asks, key string, ticket flight.Ticket[outcome], leads bool) (outcome, error) {
	began := time.Now()
	out, early, err := ticket.Wait(ctx)
	if !leads || out.waited {
		st.waitedFor(key, time.Since(began), err)
	}
	switch {
	case err == nil:
	case errors.Is(err, flight.ErrStartOver), errors.Is(err, errElsewhere):
		return outcome{}, err
	case ctx.Err() != nil:
		return outcome{}, st.region.failKey(key, ended(ctx))
	default:
		return outcome{}, st.region.failKey(key, err)
	}

	if a.refresh && !(early && out.created) {
		return outcome{}, flight.ErrStartOver // it wants a value created after it came
	}
	if !(early && out.created) && !carries(out.tags, a.wants(key)) {
		// The leader's call gave the value other tags, so that nobody can say
		// whether it was invalidated by one of this call's.
		return outcome{}, flight.ErrStartOver
	}
	if out.unproved && !early {
		// An invalidation that this caller knows of may have come after the
		// creator began. If the backend answers now, it has to be asked.
		_, err := st.look(ctx, a, key)
		switch {
		case ctx.Err() != nil:
			return outcome{}, st.region.failKey(key, ended(ctx))
		case err == nil:
			return outcome{}, flight.ErrStartOver
		}
		st.failed("get", key, err)
	}
	switch {
	case out.err != nil:
	case out.missing:
		if !leads {
			return outcome{}, flight.ErrStartOver // this caller's own creator may know the key
		}
	case !a.is(out.value):
		return outcome{}, flight.ErrStartOver // the leader was after another type
	case out.payload != nil && !leads:
		// A backend of bytes gives everyone a value of their own, and so it
		// must be when the bytes have not been there and back.
		if own, err := out.decoded.of(st, a.valueType, out.payload); err == nil {
			out.value = own
		}
	}
	return out, nil
}
