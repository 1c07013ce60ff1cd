package region

import (
	"context"
	"errors"
	"fmt"

	"github.com/dogpile-go/dogpile/backend"
)

// Invalidation is a way to invalidate a region.
type Invalidation int

const (
	// Hard makes all older values dead: they are never served again.
	Hard Invalidation = iota + 1

	// Soft makes all older values stale: they are served while they are created
	// anew. It never revives what a hard invalidation has killed.
	Soft
)

// String returns "hard" or "soft".
func (m Invalidation) String() string {
	switch m {
	case Hard:
		return "hard"
	case Soft:
		return "soft"
	}
	return fmt.Sprintf("Invalidation(%d)", int(m))
}

// Delete removes the values of keys. A creation of one of them that is under way
// still answers those who wait for it, but its value is not stored, and whoever
// calls after Delete has returned does not get it. Keys that are not there are no
// error.
//
// If the backend fails, the error wraps its failure and [ErrPending]: the invalidation
// is tried again in the background until it succeeds or the region is closed, and so
// long this process takes what it is about for invalid. The other errors are
// [ErrNotConfigured] and [ErrClosed]. This holds for all invalidations; those that a
// region with Config.Interop cannot make return [ErrInterop]. So do those that fail there
// when 10,000 keys are waiting to be tried again: they are not remembered.
func (r *Region) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return r.usable()
	}
	return r.invalidate(ctx, order{keys: keys}, InvalidationEvent{Keys: keys})
}

// Expire makes the values of keys stale before their time: they are served while they
// are created anew, until they would have been dead anyway. A creation of one of them
// that is under way still answers those who wait for it, but its value is not stored.
// Keys that are not there are no error.
//
// It reads the values and stores them again, under their leases. The errors are those
// of [Region.Delete].
func (r *Region) Expire(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return r.usable()
	}
	return r.invalidate(ctx, order{keys: keys, soft: true}, InvalidationEvent{Keys: keys, Mode: Soft})
}

// Invalidate makes every value that was created before it was called dead, with
// [Hard], or stale, with [Soft], for every process that shares the backend. It
// takes one round trip, however many values there are. Creations that are under
// way answer those who wait for them; their values are stored as what they are,
// dead or stale.
//
// The error wraps [ErrConfig] for another mode; the others are those of
// [Region.Delete].
func (r *Region) Invalidate(ctx context.Context, mode Invalidation) error {
	if mode != Hard && mode != Soft {
		if err := r.usable(); err != nil {
			return err
		}
		return r.fail(fmt.Errorf("%w: Invalidate takes region.Hard or region.Soft, not %v", ErrConfig, mode))
	}
	return r.invalidate(ctx, order{region: true, soft: mode == Soft}, InvalidationEvent{Mode: mode})
}

// InvalidateTags makes every value dead that has one of tags and was created before it
// was called, as [Region.Invalidate] does for the whole region; [SoftTags] makes them
// stale. It takes as long for a million values as for one.
//
// The error wraps [ErrConfig] if there are no tags; the others are those of
// [Region.Delete].
func (r *Region) InvalidateTags(ctx context.Context, tags ...string) error {
	return r.invalidateTags(ctx, Hard, tags)
}

// SoftTags makes every value stale that has one of tags and was created before it was
// called. It never revives what [Region.InvalidateTags] has killed. The errors are those
// of InvalidateTags.
func SoftTags(ctx context.Context, r *Region, tags ...string) error {
	return r.invalidateTags(ctx, Soft, tags)
}

func (r *Region) invalidateTags(ctx context.Context, mode Invalidation, tags []string) error {
	if len(tags) == 0 {
		if err := r.usable(); err != nil {
			return err
		}
		return r.fail(fmt.Errorf("%w: an invalidation of tags needs at least one tag", ErrConfig))
	}
	o := order{tags: guardTags(tags), soft: mode == Soft}
	return r.invalidate(ctx, o, InvalidationEvent{Tags: tags, Mode: mode})
}

// usable returns an error if the region cannot be used.
func (r *Region) usable() error {
	st, err := r.enter()
	if err == nil {
		st.leave()
	}
	return err
}

// order is an invalidation: of one kind of things, hard or soft.
type order struct {
	soft     bool
	region   bool
	tags     []string // by the names of their guards
	function string   // likewise
	keys     []string
}

// invalidate carries out an order, sees to it that it is not forgotten if that fails,
// and tells of it.
func (r *Region) invalidate(ctx context.Context, o order, e InvalidationEvent) error {
	st, err := r.enter()
	if err != nil {
		return err
	}
	defer st.leave()
	if err := st.expressible(o); err != nil {
		return r.fail(err)
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()
	if err = st.carryOutSafely(ctx, o); err != nil {
		vain := inVain(err)
		owed := !vain && st.oweIfRoom(o)
		err = st.orderFailed(ctx, o, err)
		switch {
		case owed:
			err = fmt.Errorf("%w: %w", ErrPending, err)
		case !vain:
			err = fmt.Errorf("%w: too many invalidations have failed, so this one is not tried again; repeat it: %w", ErrInterop, err)
		}
		err = r.fail(err)
	} else {
		st.remind() // if this got through, others may as well
	}
	// Whoever comes from now on does not join what began before.
	if o.keys != nil {
		st.flights.Void(o.keys...)
	} else {
		st.flights.VoidAll()
	}
	e.Err = err
	st.invalidated(e)
	return err
}

// inVain reports whether an invalidation would fail with err for ever.
func inVain(err error) bool { return errors.Is(err, ErrInterop) || errors.Is(err, backend.ErrKey) }

// carryOut has the backend invalidate something.
func (st *state) carryOut(ctx context.Context, o order) error {
	switch {
	case o.region:
		return st.backend.Renew(ctx, st.guards, o.soft)
	case o.function != "":
		return st.backend.Renew(ctx, st.tagGuards([]string{o.function}), o.soft)
	case o.tags != nil:
		// The order matters to those who add tags late.
		return st.backend.Renew(ctx, st.tagGuards(append([]string{anyTag}, o.tags...)), o.soft)
	case o.soft:
		return st.expire(ctx, o.keys)
	}
	return st.backend.Delete(ctx, st.keys(o.keys))
}

// orderFailed counts the failure of an order and tells of it, unless it came of the end
// of the call's context: then that is the error.
func (st *state) orderFailed(ctx context.Context, o order, err error) error {
	op, key := o.op()
	if key != "" {
		err = fmt.Errorf("key %q: %w", key, err)
	}
	return st.writeFailed(ctx, op, key, err)
}

// op names what an order asks of the backend, and the first key it is about.
func (o order) op() (name, key string) {
	switch {
	case o.keys == nil:
		return "renew", ""
	case o.soft:
		return "expire", o.keys[0]
	}
	return "delete", o.keys[0]
}
