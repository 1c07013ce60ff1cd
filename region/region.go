package region

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Region is a named space of keys with one configuration. All its methods, and
// the functions that take one, are safe for concurrent use.
//
// A Region is made by [Declare] or [New]; the zero value and nil behave like a
// region that was never configured.
type Region struct {
	name string

	state  atomic.Pointer[state] // nil until configured, and after Close
	closed atomic.Bool           // nil state means closed rather than never configured
	change sync.Mutex            // held while the state is being replaced
	former []*formerly           // what substitutions will restore; change guards it

	creators atomic.Int64 // creators at work
	counters counters
}

// declared holds the regions of this process that were made by Declare.
var declared struct {
	sync.Mutex
	byName map[string]*Region
}

// Declare returns the region called name, making it the first time. It is meant
// for package variables, next to the functions that use the region; the region
// does nothing until it is configured.
//
// A name has 1 to 128 bytes: letters, digits, and any of "_-./". Configure and
// every call return an error that wraps [ErrConfig] for another name.
func Declare(name string) *Region {
	declared.Lock()
	defer declared.Unlock()
	if r := declared.byName[name]; r != nil {
		return r
	}
	r := &Region{name: name}
	if declared.byName == nil {
		declared.byName = make(map[string]*Region)
	}
	declared.byName[name] = r
	return r
}

// Named returns the declared region called name, or nil if nobody has declared it. Unlike
// [Declare] it never makes one, so a name that is misspelt is found out: a nil region
// answers every call with [ErrNotConfigured]. Regions made by [New] are not found.
func Named(name string) *Region {
	declared.Lock()
	defer declared.Unlock()
	return declared.byName[name]
}

// Declared returns the names of all declared regions in alphabetical order.
func Declared() []string {
	declared.Lock()
	defer declared.Unlock()
	return slices.Sorted(maps.Keys(declared.byName))
}

// New returns a configured region that Declare does not know of. Two regions of
// one name over one backend share what they store, as two processes do.
//
// The error wraps [ErrConfig] and names everything that is wrong with cfg.
func New(name string, cfg Config) (*Region, error) {
	r := &Region{name: name}
	if err := r.Configure(cfg); err != nil {
		return nil, err
	}
	return r, nil
}

// checkName keeps the names of regions readable and, above all, free of the colon
// that separates them from keys.
func checkName(name string) error {
	const longest = 128
	if name == "" || len(name) > longest {
		return fmt.Errorf("%w: a region's name has 1 to %d bytes, not %d", ErrConfig, longest, len(name))
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '-', c == '.', c == '/':
		default:
			return fmt.Errorf("%w: a region's name has only letters, digits, and _ - . / in it, not %q", ErrConfig, c)
		}
	}
	return nil
}

// Name returns the name that the region was made with; "" for nil.
func (r *Region) Name() string {
	if r == nil {
		return ""
	}
	return r.name
}

// Configure makes the region usable. It returns [ErrAlreadyConfigured] if it is
// already, and an error that wraps [ErrConfig] and names everything that is wrong
// with cfg. A region that has been closed can be configured again.
func (r *Region) Configure(cfg Config) error {
	if r == nil {
		return r.notUsable()
	}
	r.change.Lock()
	defer r.change.Unlock()
	if r.state.Load() != nil {
		return r.fail(ErrAlreadyConfigured)
	}
	next, err := r.open(cfg)
	if err != nil {
		return err
	}
	r.state.Store(next)
	r.closed.Store(false)
	return nil
}

// Reconfigure replaces the configuration of a region that is in use. Calls that
// are under way end on the old configuration, for which Reconfigure waits as
// Close does; later calls use the new one. GetOrCreate calls that have not ended
// by then start over on the new one. Nothing is copied from the old backend.
//
// It returns what Configure returns for a bad cfg, and then changes nothing;
// [ErrNotConfigured] if there is nothing to replace; and what Close returns if
// the old configuration could not be put away in time: the new one is in use by
// then.
func (r *Region) Reconfigure(cfg Config) error {
	if r == nil {
		return r.notUsable()
	}
	r.change.Lock()
	defer r.change.Unlock()
	old := r.state.Load()
	if old == nil {
		return r.notUsable()
	}
	next, err := r.open(cfg)
	if err != nil {
		return err
	}
	next.claims = old.claims // what is stored may be stored still
	var heir *state
	if next.Backend == old.Backend && (next.Interop == nil) == (old.Interop == nil) {
		heir = next
		old.bequeath(next)
	}
	r.state.Store(next)
	if err := old.close(ErrReconfigured, heir); err != nil {
		return r.fail(err)
	}
	return nil
}

// Close ends the use of the region. It must not be called from a creator, for which
// it would wait. It lets calls and creations that are under
// way finish for Config.CloseTimeout, then cancels them, and closes the backend
// if no other region uses it. Later calls return [ErrClosed]. Closing a region
// that is not configured does nothing.
//
// The error tells of creators that did not return even when their context had
// ended, whose goroutines therefore live on, and of a backend that failed to
// close.
func (r *Region) Close() error {
	if r == nil {
		return nil
	}
	r.change.Lock()
	defer r.change.Unlock()
	old := r.state.Load()
	if old == nil {
		return nil
	}
	r.closed.Store(true)
	r.state.Store(nil)
	if err := old.close(ErrClosed, nil); err != nil {
		return r.fail(err)
	}
	return nil
}

// open makes a state out of a configuration.
func (r *Region) open(cfg Config) (*state, error) {
	if err := checkName(r.name); err != nil {
		return nil, r.fail(err)
	}
	cfg, err := cfg.settled()
	if err != nil {
		return nil, r.fail(err)
	}
	next, err := newState(r, cfg)
	if err != nil {
		return nil, r.fail(err)
	}
	return next, nil
}

// notUsable says why the region has no state.
func (r *Region) notUsable() error {
	if r == nil {
		return r.fail(ErrNotConfigured)
	}
	if err := checkName(r.name); err != nil {
		return r.fail(err)
	}
	if r.closed.Load() {
		return r.fail(ErrClosed)
	}
	return r.fail(ErrNotConfigured)
}

// enter returns the current state, which stays open until its leave is called.
func (r *Region) enter() (*state, error) {
	if r == nil {
		return nil, r.notUsable()
	}
	for {
		st := r.state.Load()
		if st == nil {
			return nil, r.notUsable()
		}
		if st.calls.enter() {
			return st, nil
		}
		// It was replaced between the two lines above; the next look finds
		// another one or none.
	}
}

// settleTime bounds what has to be done after a creation whatever becomes of its
// callers: storing the value and giving back the leases.
const settleTime = 5 * time.Second
