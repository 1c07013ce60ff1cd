package region

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// mostTogether is how many notices are carried out together at most.
const mostTogether = 1000

// Run carries out notices until the channel is closed, and then returns nil, or until
// ctx ends, and then returns its cause. Those that have come meanwhile are carried out
// together. It returns [ErrNotConfigured] at once if a region is not configured, or an error
// that wraps [ErrConfig] if it cannot be: its values in a shared backend would stay.
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
	for {
		select {
		case n, open := <-notices:
			if !open {
				return nil
			}
			work := make(changes)
			i.sort(n, work)
			for more := 1; more < mostTogether; more++ {
				select {
				case n, ok := <-notices:
					if open = ok; open {
						i.sort(n, work)
						continue
					}
				default:
				}
				more = mostTogether
			}
			_ = work.carryOut(ctx) // the observers know
			if !open {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Apply carries out one notice. The error joins those of the regions, or wraps
// [ErrConfig] for an unknown Mode, of which nothing is then carried out.
func (i *Invalidator) Apply(ctx context.Context, n Notice) error {
	if n.Mode != 0 && n.Mode != Hard && n.Mode != Soft {
		return fmt.Errorf("%w: the Mode of a Notice is region.Hard or region.Soft, not %v", ErrConfig, n.Mode)
	}
	work := make(changes)
	i.sort(n, work)
	return work.carryOut(ctx)
}

// changes is what there is to do, in each region.
type changes map[*Region]*change

// change is what there is to do in one region: once, however often it was asked for, and
// hard, if that was asked for once.
type change struct {
	all  Invalidation // zero: not all
	tags map[string]Invalidation
	keys map[string]Invalidation
}

// sort adds a notice to the work.
func (i *Invalidator) sort(n Notice, work changes) {
	if n.Region != "" {
		if r := i.regions[n.Region]; r != nil {
			work.add(r, n)
		}
		return
	}
	for _, r := range i.regions {
		work.add(r, n)
	}
}

func (w changes) add(r *Region, n Notice) {
	mode := Hard
	if n.Mode == Soft {
		mode = Soft
	}
	c := w[r]
	if c == nil {
		c = &change{tags: map[string]Invalidation{}, keys: map[string]Invalidation{}}
		w[r] = c
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
}

func harder(a, b Invalidation) Invalidation {
	if a == Hard || b == 0 {
		return a
	}
	return b
}

// carryOut does the work. It goes on after an error.
func (w changes) carryOut(ctx context.Context) error {
	var errs []error
	for r, c := range w {
		for _, err := range c.carryOut(ctx, r) {
			if err != nil && !errors.Is(err, ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
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
