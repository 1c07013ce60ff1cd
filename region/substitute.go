package region

import (
	"errors"
	"fmt"
)

var errSubstituted = errors.New("a later substitution is in use; restore that one first")

// Substitute is for tests: it replaces the configuration of a region until restore is
// called, which brings the former one back as it was, with all that is stored, and calls
// and creations that are under way. Those go on there meanwhile. A region that is not
// configured is configured meanwhile. Package regiontest has a Swap that restores by
// itself.
//
// change is given the configuration that is in use, with its defaults filled in, or the
// zero Config, and makes the substitute of it. The backend of the former configuration is
// not closed meanwhile; that of the substitute is closed by restore, unless another region
// uses it or KeepBackendOpen is set.
//
// Substitutions are nested: the last one is restored first, and restore of another one
// returns an error. restore ends the substitute as [Region.Close] does and returns the
// same errors; the former configuration is in use again all the same. It puts away
// whatever the region has been given meanwhile by Close, Configure and Reconfigure. A
// second restore does nothing.
//
// Substitute returns what Configure returns for a bad configuration.
func (r *Region) Substitute(change func(cfg *Config)) (restore func() error, err error) {
	if r == nil {
		return nil, r.notUsable()
	}
	if change == nil {
		return nil, r.fail(fmt.Errorf("%w: Substitute needs a function that makes the substitute", ErrConfig))
	}
	r.change.Lock()
	defer r.change.Unlock()
	former := &formerly{state: r.state.Load(), closed: r.closed.Load()}
	var cfg Config
	if former.state != nil {
		cfg = former.state.Config
	}
	change(&cfg)
	next, err := r.open(cfg)
	if err != nil {
		return nil, err
	}
	if former.state != nil && next.Backend == former.state.Backend {
		next.claims = former.state.claims // what is stored is theirs
	}
	r.former = append(r.former, former)
	r.state.Store(next)
	return func() error { return r.restore(former) }, nil
}

// formerly is what a region was before a substitution.
type formerly struct {
	state    *state // nil: it was not configured, or closed
	closed   bool
	restored bool
}

func (r *Region) restore(former *formerly) error {
	r.change.Lock()
	defer r.change.Unlock()
	if former.restored {
		return nil
	}
	last := len(r.former) - 1
	if r.former[last] != former {
		return r.fail(errSubstituted)
	}
	r.former = r.former[:last]
	former.restored = true
	substitute := r.state.Load()
	// Calls that find no state end; they are not for the former one to answer.
	r.closed.Store(true)
	r.state.Store(nil)
	var err error
	if substitute != nil {
		err = substitute.close(ErrClosed, nil)
	}
	r.closed.Store(former.closed)
	r.state.Store(former.state)
	if err != nil {
		return r.fail(err)
	}
	return nil
}
