package region

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Notice says that something outside of the program has changed, and what is to be
// invalidated for it. The zero Notice invalidates nothing.
type Notice struct {
	// Region is the name of the region it is about; empty means all regions of the
	// [Invalidator]. It is none of theirs if they have no such name.
	Region string

	// Mode is how Tags, Keys and All are invalidated: with Hard, keys are deleted, with
	// Soft they expire. Zero means Hard.
	Mode Invalidation

	// All invalidates the whole region.
	All bool

	// Tags are invalidated as by [Region.InvalidateTags] or [SoftTags].
	Tags []string

	// Keys are deleted as by [Region.Delete], or expire as by [Region.Expire].
	Keys []string
}

// Invalidator carries out invalidations that come from outside of the program, such as
// from a database that tells of its changes; package regionpg, a module of its own, is
// a source for PostgreSQL. It is made by [NewInvalidator]. All methods are safe for
// concurrent use.
type Invalidator struct {
	regions map[string]*Region
}

// NewInvalidator returns an Invalidator for regions. They need not be configured yet.
// The error wraps [ErrConfig]: there are none, one is nil, or two have one name.
func NewInvalidator(regions ...*Region) (*Invalidator, error) {
	if len(regions) == 0 {
		return nil, fmt.Errorf("%w: an Invalidator needs a region", ErrConfig)
	}
	byName := make(map[string]*Region, len(regions))
	for i, r := range regions {
		switch {
		case r == nil:
			return nil, fmt.Errorf("%w: region %d of the Invalidator is nil", ErrConfig, i+1)
		case byName[r.name] != nil:
			return nil, fmt.Errorf("%w: two regions of the Invalidator are called %q", ErrConfig, r.name)
		}
		byName[r.name] = r
	}
	return &Invalidator{byName}, nil
}

// Run carries out notices until the channel is closed, and then returns nil when all of
// them have been carried out, or until ctx ends, and then returns its cause. It always
// takes what comes: what has come for a region while its backend was busy is carried
// out together. It returns [ErrNotConfigured] at once if a region is not configured, or an
// error that wraps [ErrConfig] if it cannot be: its values in a shared backend would stay.
//
// What fails is told to the region's observer, and is tried again in the background; see
// [ErrPending]. A region that has been closed is left out. A notice whose Mode is
// unknown counts as Hard, because it must not get lost.
func (i *Invalidator) Run(ctx context.Context, notices <-chan Notice) error {
	for _, r := range i.regions {
		if err := r.usable(); err != nil && !errors.Is(err, ErrClosed) {
			return err
		}
	}
	var workers sync.WaitGroup
	queues := make(map[*Region]*queue, len(i.regions))
	for _, r := range i.regions {
		q := &queue{wake: make(chan struct{}, 1)}
		queues[r] = q
		workers.Go(func() { q.work(ctx, r) })
	}
	defer workers.Wait()
	defer func() {
		for _, q := range queues {
			close(q.wake)
		}
	}()
	for {
		select {
		case n, open := <-notices:
			if !open {
				return nil
			}
			for _, r := range i.about(n) {
				queues[r].put(n)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// queue holds what is to be done in one region. One that hangs holds up no other.
type queue struct {
	wake chan struct{} // closed when nothing more comes

	mu   sync.Mutex
	next *change // nil: nothing
}

func (q *queue) put(n Notice) {
	q.mu.Lock()
	if q.next == nil {
		q.next = newChange()
	}
	q.next.add(n)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) work(ctx context.Context, r *Region) {
	for open := true; open; {
		select {
		case _, open = <-q.wake:
		case <-ctx.Done():
			return
		}
		q.mu.Lock()
		c := q.next
		q.next = nil
		q.mu.Unlock()
		if c != nil {
			c.carryOut(ctx, r) // the observer knows of what fails
		}
	}
}

// Apply carries out one notice. The error joins those of the regions, or wraps
// [ErrConfig] for an unknown Mode, of which nothing is then carried out.
func (i *Invalidator) Apply(ctx context.Context, n Notice) error {
	if n.Mode != 0 && n.Mode != Hard && n.Mode != Soft {
		return fmt.Errorf("%w: the Mode of a Notice is region.Hard or region.Soft, not %v", ErrConfig, n.Mode)
	}
	c := newChange()
	c.add(n)
	var errs []error
	for _, r := range i.about(n) {
		for _, err := range c.carryOut(ctx, r) {
			if err != nil && !errors.Is(err, ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// about returns the regions that a notice is about.
func (i *Invalidator) about(n Notice) []*Region {
	if n.Region == "" {
		return slices.Collect(maps.Values(i.regions))
	}
	if r := i.regions[n.Region]; r != nil {
		return []*Region{r}
	}
	return nil
}

// change is what there is to do in one region: once, however often it was asked for, and
// hard, if that was asked for once.
type change struct {
	all  Invalidation // zero: not all
	tags map[string]Invalidation
	keys map[string]Invalidation
}

// mostTogether is how many tags and keys are invalidated together at most. More of them
// are the whole region.
const mostTogether = 10_000

func newChange() *change {
	return &change{tags: map[string]Invalidation{}, keys: map[string]Invalidation{}}
}

func (c *change) add(n Notice) {
	mode := Hard
	if n.Mode == Soft {
		mode = Soft
	}
	if n.All {
		c.all = harder(c.all, mode)
	}
	for _, tag := range n.Tags {
		c.tags[tag] = harder(c.tags[tag], mode)
	}
	for _, key := range n.Keys {
		c.keys[key] = harder(c.keys[key], mode)
	}
	if len(c.tags)+len(c.keys) > mostTogether {
		c.all = Hard
	}
	if c.all == Hard { // which is everything
		clear(c.tags)
		clear(c.keys)
	}
}

func harder(a, b Invalidation) Invalidation {
	if a == Hard || b == 0 {
		return a
	}
	return b
}

func (c *change) carryOut(ctx context.Context, r *Region) (errs []error) {
	if c.all != 0 {
		errs = append(errs, r.Invalidate(ctx, c.all))
	}
	if c.all == Hard {
		return errs // that was all
	}
	if tags := with(c.tags, Hard); len(tags) > 0 {
		errs = append(errs, r.InvalidateTags(ctx, tags...))
	}
	errs = append(errs, r.Delete(ctx, with(c.keys, Hard)...))
	if c.all == Soft {
		return errs
	}
	if tags := with(c.tags, Soft); len(tags) > 0 {
		errs = append(errs, SoftTags(ctx, r, tags...))
	}
	return append(errs, r.Expire(ctx, with(c.keys, Soft)...))
}

// with returns the names that are invalidated so, in alphabetical order.
func with(names map[string]Invalidation, mode Invalidation) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(name string) bool { return names[name] != mode })
}
