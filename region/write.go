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

// Set stores value under key, as if a creator had returned it now; with
// [WithExpiration] the value has that expiration of its own. A creation of the key
// that is under way cannot overwrite it.
//
// The error is the backend's failure, or wraps [ErrEncode] if the value cannot be
// encoded, [ErrConfig] for a bad option, [ErrNotConfigured] or [ErrClosed]. What
// was stored before is left as it was.
func Set[T any](ctx context.Context, r *Region, key string, value T, opts ...SetOption) error {
	return setMulti(ctx, r, map[string]any{key: &value}, typeOf[T](), opts)
}

// SetMulti stores values under their keys, all together. All are encoded before any is
// stored. The rest is as for Set; if the backend refuses some of
// them, the error joins the reasons and the others are stored.
func SetMulti[T any](ctx context.Context, r *Region, values map[string]T, opts ...SetOption) error {
	boxed := make(map[string]any, len(values))
	for key, value := range values {
		boxed[key] = &value
	}
	return setMulti(ctx, r, boxed, typeOf[T](), opts)
}

func setMulti(ctx context.Context, r *Region, values map[string]any, vt *valueType, opts []SetOption) error {
	st, err := r.enter()
	if err != nil {
		return err
	}
	defer st.leave()
	a := asks{valueType: vt}
	if a.settings, err = resolve(opts, vt.typ); err != nil {
		return r.fail(err)
	}
	if len(values) == 0 {
		return nil
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()

	// The stamps are captured first: an invalidation that comes while the value
	// is on its way is after it.
	captured, err := st.capture(ctx)
	if err != nil {
		return r.fail(err)
	}
	items := make([]backend.Item, 0, len(values))
	now, ttl := st.now(), st.ttl(a.keptFor(st))
	for key, value := range values {
		e := &backend.Entry{Created: now, Stamps: captured, Expiration: a.expiration}
		if st.bytes {
			data, err := st.encode(key, e, vt, value)
			if err != nil {
				return r.failKey(key, err)
			}
			e = &backend.Entry{Data: data}
		} else {
			e.Value = value
		}
		items = append(items, backend.Item{Key: backend.Key{Region: r.name, Name: key}, Entry: e, TTL: ttl})
	}
	_, err = st.backend.Set(ctx, items, nil)
	for _, item := range items {
		st.flights.Shut(item.Key.Name) // who follows a creation would miss the value
	}
	if err != nil {
		return r.failKey(items[0].Key.Name, st.writeFailed(ctx, "set", items[0].Key.Name, err))
	}
	var refused []error
	for _, item := range items {
		if item.Err != nil {
			st.notStored(item.Key.Name, item.Err)
			refused = append(refused, r.failKey(item.Key.Name, item.Err))
		}
	}
	return errors.Join(refused...)
}

// capture returns the region's current stamps, none of which is zero.
func (st *state) capture(ctx context.Context) (backend.Stamps, error) {
	if st.live != nil {
		return st.live.Load(), nil
	}
	stamps, err := st.backend.Stamps(ctx, st.guards)
	if err != nil {
		err = st.writeFailed(ctx, "stamps", "", err)
	}
	return first(stamps), err
}

// writeFailed counts a failure of the backend and tells of it, unless it came of
// the end of the call's context: then that is the error.
func (st *state) writeFailed(ctx context.Context, op, key string, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	st.failed(op, key, err)
	return err
}

// Delete removes the values of keys. A creation of one of them that is under way
// still answers those who wait for it, but its value is not stored, and whoever
// calls after Delete has returned does not get it. Keys that are not there are no
// error.
//
// The error is the backend's failure, [ErrNotConfigured] or [ErrClosed].
func (r *Region) Delete(ctx context.Context, keys ...string) error {
	st, err := r.enter()
	if err != nil {
		return err
	}
	defer st.leave()
	if len(keys) == 0 {
		return nil
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()
	err = st.backend.Delete(ctx, st.keys(keys))
	st.flights.Void(keys...)
	if err != nil {
		err = r.failKey(keys[0], st.writeFailed(ctx, "delete", keys[0], err))
	}
	st.invalidated(InvalidationEvent{Keys: keys, Err: err})
	return err
}

// Invalidate makes every value that was created before it was called dead, with
// [Hard], or stale, with [Soft], for every process that shares the backend. It
// takes one round trip, however many values there are. Creations that are under
// way answer those who wait for them; their values are stored as what they are,
// dead or stale.
//
// The error wraps [ErrConfig] for another mode, or is the backend's failure,
// [ErrNotConfigured] or [ErrClosed].
func (r *Region) Invalidate(ctx context.Context, mode Invalidation) error {
	st, err := r.enter()
	if err != nil {
		return err
	}
	defer st.leave()
	if mode != Hard && mode != Soft {
		return r.fail(fmt.Errorf("%w: Invalidate takes region.Hard or region.Soft, not %v", ErrConfig, mode))
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()
	err = st.backend.Renew(ctx, st.guards, mode == Soft)
	st.flights.VoidAll()
	if err != nil {
		err = r.fail(st.writeFailed(ctx, "renew", "", err))
	}
	st.invalidated(InvalidationEvent{Mode: mode, Err: err})
	return err
}
