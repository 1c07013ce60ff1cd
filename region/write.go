package region

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/dogpile-go/dogpile/backend"
)

// Set stores value under key, as if a creator had returned it now; with
// [WithExpiration] the value has that expiration of its own, with [WithTags] its tags. A creation of the key
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
	keys := slices.Collect(maps.Keys(values))
	if a.settings, err = resolved(st, opts, vt.typ); err == nil {
		err = a.checkTags(keys)
	}
	if err != nil {
		return r.fail(err)
	}
	if len(values) == 0 {
		return nil
	}
	ctx, bounds := st.bounded(ctx)
	defer bounds.release()

	// The stamps are captured first: an invalidation that comes while the value
	// is on its way is after it.
	tags := a.allWanted(keys)
	captured, err := st.capture(ctx, tags)
	if err != nil {
		return r.fail(err)
	}
	items := make([]backend.Item, 0, len(values))
	now, ttl := st.now(), st.ttl(a.keptFor(st))
	for key, value := range values {
		e := &backend.Entry{Created: now, Stamps: captured.region, Expiration: a.expiration}
		e.Tags, _ = captured.of(a.wants(key))
		if st.bytes {
			data, err := st.encode(st.key(key), nil, e, vt, value)
			if err != nil {
				return r.failKey(key, err)
			}
			e = &backend.Entry{Data: data}
		} else {
			e.Value = value
		}
		items = append(items, backend.Item{Key: st.key(key), Entry: e, TTL: ttl})
	}
	_, err = st.backend.Set(ctx, items, st.tagGuards(tags))
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

// capture returns the stamps of the region and of tags, none of which is zero.
func (st *state) capture(ctx context.Context, tags []string) (*capture, error) {
	if st.live != nil {
		return st.captured(tags, nil), nil
	}
	stamps, err := st.backend.Stamps(ctx, st.guarded(tags))
	if err != nil {
		return nil, st.writeFailed(ctx, "stamps", "", err)
	}
	known := current{stamps: stamps}
	c := &capture{region: known.region()}
	c.add(st.tagged(tags, stamps[min(1, len(stamps)):]))
	return c, nil
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
