package region

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/internal/flight"
	"github.com/dogpile-go/dogpile/lock"
)

// production brings about the values of one call: it takes the leases, looks
// again, creates what is still to be created, and publishes it. It runs detached
// from the caller who started it, for as long as somebody waits for one of its
// flights.
type production struct {
	st     *state
	call   *call
	ctx    context.Context // the caller's values, without its end
	cancel context.CancelCauseFunc
	wanted atomic.Int32 // flights neither finished nor abandoned

	mutexDown bool // Config.Mutex has failed; the backend's leases decide

	mu         sync.Mutex // guards what follows
	unexpected []string   // keys that the creator returned unasked
}

// pending is one key that a production has to bring about.
type pending struct {
	key    string
	flight *flight.Flight[outcome]
	try    bool // give up if somebody else holds the lease

	// variantOf says where the value belongs, as far as is known: nil: into the key's own
	// entry; otherwise into a variant of it.
	variantOf *mainEntry

	granted bool
	lease   lock.Lease // from the backend; nil with granted: nothing can be stored
	outer   lock.Lease // from Config.Mutex
	seen    sight      // what was stored when the lease had been granted
	tags    []string   // that the value is to have, by the names of their guards
}

// produce starts a production. The caller holds the tickets of its flights and
// has not waited yet.
func (st *state) produce(ctx context.Context, c *call, keys []*pending) *production {
	p := &production{st: st, call: c}
	p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	p.wanted.Store(int32(len(keys)))
	for _, q := range keys {
		q.flight.OnAbandon(func() {
			if p.wanted.Add(-1) == 0 {
				p.cancel(ErrAbandoned)
			}
		})
	}
	st.calls.join()
	go p.run(keys)
	return p
}

func (p *production) run(keys []*pending) {
	defer p.st.leave()
	defer p.cancel(nil)
	defer p.st.ending.After(p.cancel)()
	defer func() {
		// Creators, backends, codecs and observers are caught elsewhere. Whatever
		// this is, it must not leave anybody waiting.
		if v := recover(); v != nil {
			p.fail(keys, &PanicError{Value: v, Stack: debug.Stack()})
		}
	}()

	for rest := keys; len(rest) > 0; {
		p.cover(rest)
		captured, err := p.acquire(rest)
		switch {
		case p.ctx.Err() != nil:
			p.fail(rest, context.Cause(p.ctx))
			return
		case err != nil:
			p.st.failed("acquire", rest[0].key, err)
			p.create(rest, nil)
			return
		}
		var won, held, moved []*pending
		for _, q := range rest {
			switch {
			case !q.granted && q.try:
				p.finish(q, outcome{}, false, errElsewhere)
			case !q.granted:
				held = append(held, q)
			case q.seen.verdict == fresh:
				p.release(q)
				p.found(q, q.seen, false)
			case q.isMoved():
				p.release(q) // of another place than where the value belongs
				moved = append(moved, q)
			default:
				won = append(won, q)
			}
		}
		if len(won) > 0 {
			p.create(won, captured)
		}
		if rest = moved; len(held) > 0 {
			rest = append(p.await(held), moved...)
		}
		if p.ctx.Err() != nil {
			p.fail(rest, context.Cause(p.ctx))
			return
		}
	}
}

// await waits until one of the leases of held may be free, and returns the keys
// whose values have not been published by then. It reads before it asks for a
// lease, because a whole fleet wakes at once and most often finds the value.
func (p *production) await(held []*pending) []*pending {
	st := p.st
	if err := p.waitForLease(held); err != nil {
		if p.ctx.Err() == nil {
			st.failed("wait", held[0].key, err)
			p.create(held, nil)
			return nil
		}
		return held
	}
	p.cover(held)
	sights, err := p.look(held)
	if err != nil {
		return held // acquiring fails as well, or the context has ended
	}
	var rest []*pending
	for i, s := range sights {
		if s.verdict == fresh {
			p.found(held[i], s, true)
		} else {
			held[i].variantOf = s.variantOf()
			rest = append(rest, held[i])
		}
	}
	return rest
}

// look reads keys again.
func (p *production) look(keys []*pending) (sights []sight, err error) {
	defer recovered(&err)
	return p.st.lookMulti(p.ctx, &p.call.asks, names(keys))
}

func (p *production) waitForLease(held []*pending) (err error) {
	defer recovered(&err)
	if p.st.Mutex == nil || p.mutexDown {
		return p.st.backend.Wait(p.ctx, p.places(held))
	}
	var locks []string
	for _, k := range p.places(held) {
		locks = append(locks, k.String())
	}
	return p.st.Mutex.Wait(p.ctx, locks...)
}

// create calls the creator for keys, whose leases it holds and whose stamps have
// been captured, and publishes what it returns. captured is nil if the backend has
// failed: then there are neither leases nor stamps, and nothing is published.
func (p *production) create(keys []*pending, captured *capture) {
	st := p.st
	creation := &Creation{st: st, keys: names(keys), parent: FromContext(p.ctx)}
	if old := keys[0].seen; len(keys) == 1 && old.verdict == stale && !old.notFound {
		creation.old = func() any { return p.call.plain(old.value) }
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(p.ctx, creationKey{}, creation))
	defer cancel(nil)
	if st.CreateTimeout != Forever {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, st.CreateTimeout, ErrCreateTimeout)
		defer stop()
	}
	if st.CancelOnLeaseLost {
		for _, q := range keys {
			for _, lease := range []lock.Lease{q.lease, q.outer} {
				if lease != nil {
					go watch(ctx, lease, cancel)
				}
			}
		}
	}

	if st.warm != nil && len(keys) == 1 && keys[0].lease != nil {
		go openWhileHeld(ctx, keys[0].lease, keys[0].flight)
	}

	p.cover(keys) // the creator begins after this, and may be shared with all so far
	began := time.Now()
	out := st.runCreator(ctx, p.call, creation.keys)
	took := time.Since(began)
	// Whoever comes from now on looks for itself: it finds the value, or waits
	// for the lease.
	for _, q := range keys {
		q.flight.Seal()
	}
	wishes, err := creation.end()
	if err == nil {
		err = checkTogether(keys, wishes.tags)
	}
	if out.err == nil {
		out.err = err
	}
	st.created(CreationEvent{Keys: creation.keys, Took: took, Stale: creation.old != nil, Err: out.err}, len(out.values))

	// What a creator says of one key is an answer, what it says of many a failure:
	// it may be about anything. Both are too old for who came later.
	notFound := errors.Is(out.err, ErrNotFound)
	absent := notFound && !p.call.batch
	switch {
	case errors.Is(out.err, ErrLeaseLost) && ctx.Err() != nil:
		p.fail(keys, flight.ErrStartOver)
	case notFound && !absent:
		for _, q := range keys {
			p.release(q)
			p.finish(q, outcome{err: out.err, failed: true}, false, nil)
		}
	case out.err != nil && !absent:
		p.fail(keys, out.err)
	default:
		w := publication{wishes: wishes, cost: took, captured: captured}
		if st.Interop != nil {
			w.unproved = wishes.unlike(st.Interop)
			w.tags, w.expiration = nil, 0
		}
		p.publish(keys, out, w)
	}
}

// checkTogether returns an error if what a creator has added gives a value too many tags.
func checkTogether(keys []*pending, added []string) error {
	for _, q := range keys {
		if n := len(q.tags) + len(added); n > MaxTags {
			if n = countTags(unique(slices.Concat(q.tags, added))); n > MaxTags {
				return fmt.Errorf("%w: AddTags: %w", ErrConfig, tooManyTags(n))
			}
		}
	}
	return nil
}

// watch ends a creation whose lease is lost.
func watch(ctx context.Context, lease lock.Lease, cancel context.CancelCauseFunc) {
	select {
	case <-lease.Lost():
		cancel(ErrLeaseLost)
	case <-ctx.Done():
	}
}

// openWhileHeld keeps others from following a creation blindly when its lease is lost:
// somebody may have stored the value that they want.
func openWhileHeld(ctx context.Context, lease lock.Lease, f *flight.Flight[outcome]) {
	select {
	case <-lease.Lost():
		f.Shut()
	case <-ctx.Done():
	}
}

// cover lets everyone who has joined so far have what comes of a read or a creator
// that is about to begin.
func (p *production) cover(keys []*pending) {
	for _, q := range keys {
		q.flight.Cover()
	}
}

// found ends a flight with a value that somebody else has published. It is only
// for those who had joined before it was read.
func (p *production) found(q *pending, s sight, waited bool) {
	out := outcome{value: s.value, payload: s.payload, decoded: new(decoding), tags: s.tags, waited: waited}
	if s.notFound {
		out.err = ErrNotFound
	}
	p.finish(q, out, false, nil)
}

// fail gives back the leases of keys and ends their flights with err.
func (p *production) fail(keys []*pending, err error) {
	for _, q := range keys {
		p.release(q)
		p.finish(q, outcome{}, false, err)
	}
}

func (p *production) finish(q *pending, out outcome, everyone bool, err error) {
	if q.flight.Finish(out, everyone, err) && p.wanted.Add(-1) == 0 {
		// Either all are finished, or those that are not have been abandoned.
		p.cancel(ErrAbandoned)
	}
}

// names returns the keys of a list of pending ones.
func names(keys []*pending) []string {
	list := make([]string, len(keys))
	for i, q := range keys {
		list[i] = q.key
	}
	return list
}
