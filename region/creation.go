package region

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Creation is what a creator can say about the value it is creating; it gets it
// with [FromContext]. In a batch it holds for all values of the batch. Its methods
// are safe for concurrent use, do nothing on nil, and have no effect after the
// creator has returned.
type Creation struct {
	// Set before the creator runs.
	st     *state
	keys   []string
	parent *Creation // the creation in whose creator this one was asked for
	old    func() any

	mu   sync.Mutex // guards what follows
	over bool
	wishes
}

// wishes are what a creator has said.
type wishes struct {
	expiration time.Duration
	discard    bool
	tags       []string // by the names of their guards
}

type creationKey struct{}

// FromContext returns the creation in whose creator ctx was passed on, or nil
// outside of creators. All methods may be called on nil.
func FromContext(ctx context.Context) *Creation {
	c, _ := ctx.Value(creationKey{}).(*Creation)
	return c
}

// SetExpiration gives the value an expiration of its own, in place of the
// region's; [Forever] means that it never expires. A d of 0 takes it back. A
// negative d, except Forever, makes the creation fail with [ErrConfig].
func (c *Creation) SetExpiration(d time.Duration) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expiration = d
}

// DoNotCache keeps the value from being stored: its callers get it, and what was
// stored before stays.
func (c *Creation) DoNotCache() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discard = true
}

// AddTags gives tags to the value, besides those of [WithTags], once it is known what
// it is about: its owner, say, or the rows that it was read from. A read then needs a
// second round trip, unless its call names the tags as well. With more than [MaxTags]
// the creation fails with [ErrConfig].
//
// What was invalidated while the creator was at work counts for tags that it adds, too.
// Which tags were is not known in the end, only whether any was: then the value goes to
// those who had asked for it before, but is not stored, and the observer is told
// [ErrTagsUnproved]. The next creation of the key by this process knows the tags
// beforehand.
func (c *Creation) AddTags(tags ...string) {
	if c == nil {
		return
	}
	named := guardTags(tags)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.tags = unique(append(c.tags, named...))
	}
}

// Stale returns the old value, of the type that the creator returns, if there is
// one that is stale and not dead. In a batch there is none.
func (c *Creation) Stale() (value any, ok bool) {
	if c == nil || c.old == nil {
		return nil, false
	}
	return c.old(), true
}

// end takes the creator's wishes and ignores later ones.
func (c *Creation) end() (wishes, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.expiration < 0 && c.expiration != Forever {
		return wishes{}, fmt.Errorf("%w: SetExpiration(%v) is negative", ErrConfig, c.expiration)
	}
	if len(c.tags) > MaxTags {
		return wishes{}, fmt.Errorf("%w: AddTags: %w", ErrConfig, tooManyTags(len(c.tags)))
	}
	return c.wishes, nil
}

func (c *Creation) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// creating reports whether ctx belongs to a creator that is creating one of keys
// right now, at whatever depth. Regions of one name over one backend count as one,
// because they wait for each other.
func (st *state) creating(ctx context.Context, keys ...string) bool {
	for c := FromContext(ctx); c != nil; c = c.parent {
		if c.st.region.name != st.region.name || c.st.Backend != st.Backend || c.isOver() {
			continue
		}
		for _, key := range keys {
			if slices.Contains(c.keys, key) {
				return true
			}
		}
	}
	return false
}

// mayReenter reports whether ctx may be that of a creator which is at work, so that
// a hit cannot be taken before that has been looked into.
func (r *Region) mayReenter(ctx context.Context) bool {
	return r.creators.Load() > 0 && FromContext(ctx) != nil
}

// made is what a creator has returned, or why it has not.
type made struct {
	values map[string]any
	keep   map[string]bool // nil: all
	err    error
}

// runCreator calls create on a goroutine of its own, and returns when it does or
// when ctx ends, whichever comes first. A creator that outlives ctx is left alone:
// what it returns is lost.
func (st *state) runCreator(ctx context.Context, c *call, keys []string) made {
	done := make(chan made, 1)
	st.creators.join()
	st.region.creators.Add(1)
	go func() {
		defer st.creators.leave()
		defer st.region.creators.Add(-1)
		out := made{err: ErrCreatorExited} // unless it returns or panics
		returned := false
		defer func() {
			if !returned {
				if p := recover(); p != nil {
					out.err = &PanicError{Value: p, Stack: debug.Stack()}
				}
			}
			done <- out
		}()
		values, err := c.make(ctx, keys)
		keep := c.kept(values, err)
		out, returned = made{values, keep, err}, true
	}()
	select {
	case out := <-done:
		if out.err != nil && ctx.Err() != nil && errors.Is(out.err, ctx.Err()) {
			out.err = context.Cause(ctx) // it says more than the creator can
		}
		return out
	case <-ctx.Done():
		return made{err: context.Cause(ctx)}
	}
}

// kept asks CacheIf about values. It runs where a panic of it is caught.
func (c *call) kept(values map[string]any, err error) map[string]bool {
	if c.cacheIf == nil || err != nil {
		return nil
	}
	keep := make(map[string]bool, len(values))
	for key, value := range values {
		keep[key] = c.cacheIf(value)
	}
	return keep
}
