package region

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
	"github.com/dogpile-go/dogpile/internal/flight"
	"github.com/dogpile-go/dogpile/internal/mangled"
)

// state is one configuration of a region in use. What stands here is decided once,
// when the region is configured, so that calls do not have to.
type state struct {
	Config // settled; Backend is the user's, without its proxies

	region  *Region
	backend backend.Backend // with its proxies
	bytes   bool            // the backend keeps bytes
	codecID uint32          // of Codec, if it does
	guards  []backend.Guard // the region's own
	now     func() time.Time
	waited  error // the cause of a call's context after MaxWait

	// For a backend in this process that no proxy hides: hits are read and
	// stamps compared without asking for them.
	local backend.LocalRegion
	live  *backend.LiveStamps
	any   *backend.LiveStamps // of anyTag

	// The ages, in a form that can be compared without special cases.
	fresh int64 // Expiration, in nanoseconds
	stale int64 // StaleFor, in nanoseconds

	flights  flight.Group[outcome]
	looks    flight.Looks[glance]
	warm     *warmth // nil for a backend in this process
	claims   *claims
	tagsOf   tagMemory
	debtor          // invalidations that have failed
	calls    gate   // calls and creations under way
	creators gate   // creators that have not returned, wanted or not
	ending   ending // ends what takes too long when the state is closed
}

// newState opens a state. It takes a share in the backend.
func newState(r *Region, cfg Config) (*state, error) {
	st := &state{
		Config:  cfg,
		region:  r,
		claims:  new(claims),
		backend: cfg.Backend,
		guards:  []backend.Guard{{Region: r.name}},
		now:     time.Now,
		waited:  fmt.Errorf("%w (%v)", ErrMaxWait, cfg.MaxWait),
		fresh:   ageLimit(cfg.Expiration),
		stale:   ageLimit(cfg.StaleFor),
	}
	if cfg.Interop != nil {
		view, err := newInterop(&cfg, r.name)
		if err != nil {
			return nil, err
		}
		st.backend = view
		st.waited = fmt.Errorf("%w (%v); if a process died that had the key's lock %q…, and the lock never expires, delete it", ErrMaxWait, cfg.MaxWait, cfg.Interop.Layout().LockPrefix)
	}
	if cfg.Disabled {
		st.backend = newDisabled(st.backend)
	}
	if manglers := cfg.manglers(); len(manglers) > 0 {
		// Innermost, so that proxies see the keys that people know.
		other := func(key string) { st.badEntry(key, errOtherKey) }
		st.backend = mangled.New(st.backend, other, manglers...)
	}
	for i := len(cfg.Wrap) - 1; i >= 0; i-- {
		wrapped, err := wrap(cfg.Wrap[i], st.backend)
		if err != nil {
			return nil, fmt.Errorf("%w: Wrap[%d] %w", ErrConfig, i, err)
		}
		st.backend = wrapped
	}
	if st.bytes = st.backend.Bytes(); st.bytes {
		st.codecID = envelope.CodecID(cfg.Codec.Name())
	}
	// A proxy that embeds the backend's own type has its short cuts too, but does
	// not want them taken.
	if local, ok := st.backend.(backend.Local); ok && !st.bytes && len(cfg.Wrap) == 0 && !cfg.Disabled {
		st.local = local.In(r.name)
		st.live = st.local.Live()
		st.any = st.local.LiveTag(anyTag)
	}
	if _, here := cfg.Backend.(backend.Local); !here {
		st.warm = newWarmth() // a look is worth sharing
	}
	if clock, ok := cfg.Backend.(backend.Clock); ok {
		st.now = clock.Now
	}
	shares.take(cfg.Backend)
	return st, nil
}

// errOtherKey says that a value was not stored for the key under which it was found.
var errOtherKey = errors.New("the stored value is that of another key, of which the key mangler makes the same, or was stored without the mangler")

// manglers returns what keys go through on their way to the backend, in this order.
func (c *Config) manglers() (all []func(string) string) {
	if c.KeyMangler != nil {
		all = append(all, c.KeyMangler)
	}
	if limited, ok := c.Backend.(backend.KeyMangler); ok {
		if own := limited.KeyMangler(); own != nil {
			all = append(all, own)
		}
	}
	return all
}

// wrap puts one proxy around a backend.
func wrap(proxy func(backend.Backend) backend.Backend, b backend.Backend) (wrapped backend.Backend, err error) {
	defer recovered(&err)
	if wrapped = proxy(b); isNil(wrapped) {
		return nil, errors.New("returned nil")
	}
	if checked, ok := wrapped.(interface{ Err() error }); ok {
		if err := checked.Err(); err != nil {
			return nil, fmt.Errorf("cannot be used: %w", err)
		}
	}
	return wrapped, nil
}

// ageLimit turns an expiration or a StaleFor into the greatest age in nanoseconds
// that it allows.
func ageLimit(d time.Duration) int64 {
	switch d {
	case Forever:
		return math.MaxInt64
	case NoStale:
		return 0
	}
	return int64(d)
}

// ttl returns how long a backend has to keep a value of this expiration: until it
// is dead, and a little longer, so that the region judges and not the backend, and
// that values which were stored together do not leave together. Zero means for ever.
func (st *state) ttl(expiration time.Duration) time.Duration {
	return lasting(ageLimit(expiration), st.stale)
}

func lasting(fresh, stale int64) time.Duration {
	const (
		most   = math.MaxInt64 / 2
		moment = int64(time.Millisecond)
	)
	if fresh > most || stale > most-fresh {
		return 0
	}
	ttl := fresh + stale + moment
	return time.Duration(ttl + rand.Int64N(ttl/20+1))
}

func (st *state) leave() { st.calls.leave() }

// replaced reports whether err comes of this configuration's having been replaced,
// as opposed to one that the creator has got elsewhere.
func (st *state) replaced(err error) bool {
	return errors.Is(err, ErrReconfigured) && errors.Is(st.ending.Err(), ErrReconfigured)
}

// close lets the calls that are under way end, ends with cause what is left after
// CloseTimeout, and gives up the share in the backend. What it owes goes to heir, if
// that is not nil.
func (st *state) close(cause error, heir *state) error {
	var errs []error
	idle := st.calls.close()
	if !await(idle, st.CloseTimeout) {
		st.ending.Come(cause)
		if !await(idle, settleTime) {
			errs = append(errs, fmt.Errorf("%d calls wait for a backend that ignores that their context has ended", st.calls.count()))
		}
	}
	left, err := st.settleInTime()
	if heir != nil {
		heir.owe(left...) // the same backend is in use still
	} else if err != nil {
		errs = append(errs, err)
	}
	st.ending.Come(cause)
	// A creator whose callers have gone may still be at work.
	if !await(st.creators.close(), settleTime) {
		errs = append(errs, fmt.Errorf("%d creators ignore that their context has ended, and still run", st.creators.count()))
	}
	if last := shares.drop(st.Backend); last && !st.KeepBackendOpen {
		if err := st.backend.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the backend: %w", err))
		}
	}
	return errors.Join(errs...)
}

// await waits for done to be closed, for d at most, and reports whether it was.
func await(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// gate counts what is inside and can be closed against newcomers. A
// sync.WaitGroup cannot: its Add may not run beside its Wait.
type gate struct {
	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{} // made by close, closed when nobody is inside
	left   bool          // empty is closed
}

// enter reports whether the gate is still open, and then counts one in.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

// join counts one in who was let in by somebody inside: also through a shut gate.
func (g *gate) join() {
	g.mu.Lock()
	g.inside++
	g.mu.Unlock()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.tell()
}

// close shuts the gate and returns a channel that is closed when everybody has
// left. It is called once.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	g.empty = make(chan struct{})
	g.tell()
	return g.empty
}

// tell closes empty when it is time, once: somebody may still join later.
func (g *gate) tell() {
	if g.shut && g.inside == 0 && !g.left {
		g.left = true
		close(g.empty)
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// shares counts the configurations that use each backend, because the last one
// closes it.
var shares shareCount

type shareCount struct {
	mu sync.Mutex
	of map[backend.Backend]int
}

func (s *shareCount) take(b backend.Backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[backend.Backend]int)
	}
	s.of[b]++
}

// drop reports whether it was the last share.
func (s *shareCount) drop(b backend.Backend) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[b]--
	if s.of[b] > 0 {
		return false
	}
	delete(s.of, b)
	return true
}
