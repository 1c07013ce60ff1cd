package region

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

// BoundMulti is a function that loads many values at once, bound to a region: what
// package decorate's CacheMultiOnArguments is made of. It is made by [BindMulti].
// What is wrong with the binding is returned by every method. All methods are safe
// for concurrent use.
type BoundMulti[K comparable, V any] struct {
	one *Bound[K, V] // how one id is bound: its key and the options
	fn  func(context.Context, []K) (map[K]V, error)
}

// BindMulti binds a function that returns the values of ids.
func BindMulti[K comparable, V any](r *Region, fn func(context.Context, []K) (map[K]V, error), opts ...Option) *BoundMulti[K, V] {
	return &BoundMulti[K, V]{fn: fn, one: bind[K, V](r, fn == nil, fn, nil, opts, argkey.For[K], listed[K],
		spread1[K, string], spread1[K, []string])}
}

// Call returns the values of ids, calling the function once for those that are to
// be created: it is [GetOrCreateMulti] with the function as creator. An id that
// stands in ids twice is asked for once.
func (b *BoundMulti[K, V]) Call(ctx context.Context, ids []K) (map[K]V, error) {
	return b.load(ctx, ids, b.one.forCall)
}

// Refresh calls the function for all ids, and stores and returns its values,
// whatever is stored now.
func (b *BoundMulti[K, V]) Refresh(ctx context.Context, ids []K) (map[K]V, error) {
	return b.load(ctx, ids, append(slices.Clip(b.one.forCall), refreshOption{}))
}

func (b *BoundMulti[K, V]) load(ctx context.Context, ids []K, opts []CallOption) (map[K]V, error) {
	found, byKey, err := b.loadKeyed(ctx, ids, nil, opts)
	return byID(found, byKey), err
}

// loadKeyed is load by keys. It tells asked, unless that is nil, for which keys the
// function is called.
func (b *BoundMulti[K, V]) loadKeyed(ctx context.Context, ids []K, asked func(keys []string), opts []CallOption) (map[string]V, map[string]K, error) {
	keys, byKey, err := b.keys(ids)
	if err != nil {
		return nil, nil, err
	}
	found, err := GetOrCreateMulti(ctx, b.one.region, keys, func(ctx context.Context, missing []string) (map[string]V, error) {
		if asked != nil {
			asked(missing)
		}
		wanted := make([]K, len(missing))
		for i, key := range missing {
			wanted[i] = byKey[key]
		}
		values, err := b.fn(ctx, wanted)
		if err != nil {
			return nil, err
		}
		return b.keyed(values)
	}, b.tagged(opts, byKey)...)
	return found, byKey, err
}

// tagged adds the option that gives every key the tags of its id, if there are any.
func (b *BoundMulti[K, V]) tagged(opts []CallOption, byKey map[string]K) []CallOption {
	if b.one.tagsOf == nil {
		return opts
	}
	return append(slices.Clip(opts), b.eachTags(byKey))
}

// eachTags is asked more than once for a key, and asks for its tags once. A call's
// options are not used by two goroutines at the same time.
func (b *BoundMulti[K, V]) eachTags(byKey map[string]K) eachOption {
	tags := make(map[string][]string, len(byKey))
	for key, id := range byKey {
		tags[key] = guardTags(b.one.tagsOf(id))
	}
	return func(key string) []string { return tags[key] }
}

// Get returns the fresh values of ids, as [GetMulti] does.
func (b *BoundMulti[K, V]) Get(ctx context.Context, ids []K) (map[K]V, error) {
	keys, byKey, err := b.keys(ids)
	if err != nil {
		return map[K]V{}, err
	}
	opts := b.one.forGet
	if b.one.tagsOf != nil {
		opts = append(slices.Clip(opts), b.eachTags(byKey))
	}
	found, err := getMulti(ctx, b.one.region, keys, typeOf[V](), opts)
	return byID(unbox[V](found), byKey), err
}

// Set stores values under their ids, as [SetMulti] does.
func (b *BoundMulti[K, V]) Set(ctx context.Context, values map[K]V) error {
	keyed, err := b.keyed(values)
	if err != nil {
		return err
	}
	boxed := make(map[string]any, len(keyed))
	for key, value := range keyed {
		boxed[key] = &value
	}
	opts := b.one.forSet
	if b.one.tagsOf != nil {
		_, byKey, err := b.keys(slices.Collect(maps.Keys(values)))
		if err != nil {
			return err
		}
		opts = append(slices.Clip(opts), b.eachTags(byKey))
	}
	return setMulti(ctx, b.one.region, boxed, typeOf[V](), opts)
}

// Invalidate removes the values of ids, as [Region.Delete] does.
func (b *BoundMulti[K, V]) Invalidate(ctx context.Context, ids ...K) error {
	keys, _, err := b.keys(ids)
	if err != nil {
		return err
	}
	return b.one.region.Delete(ctx, keys...)
}

// InvalidateAll makes all values of the function dead, as [Bound.InvalidateAll] does.
func (b *BoundMulti[K, V]) InvalidateAll(ctx context.Context) error { return b.one.InvalidateAll(ctx) }

// Key returns the key of id in the region, as [Bound.Key] does.
func (b *BoundMulti[K, V]) Key(id K) (string, error) { return b.one.Key(id) }

// keys returns the keys of ids, and the ids by their keys.
func (b *BoundMulti[K, V]) keys(ids []K) ([]string, map[string]K, error) {
	if b.one.err != nil {
		return nil, nil, b.one.err
	}
	keys := make([]string, len(ids))
	byKey := make(map[string]K, len(ids))
	for i, id := range ids {
		key, err := b.one.Key(id)
		if err != nil {
			return nil, nil, err
		}
		if other, taken := byKey[key]; taken && !same(other, id) {
			return nil, nil, b.one.region.failKey(key, fmt.Errorf("%w: WithKey makes one key of two ids", ErrConfig))
		}
		keys[i], byKey[key] = key, id
	}
	return keys, byKey, nil
}

// same compares ids; unlike ==, it finds NaN equal to itself.
func same[K comparable](a, b K) bool {
	return a == b || a != a && b != b || reflect.DeepEqual(a, b)
}

// keyed puts values under their keys.
func (b *BoundMulti[K, V]) keyed(values map[K]V) (map[string]V, error) {
	keyed := make(map[string]V, len(values))
	for id, value := range values {
		key, err := b.one.Key(id)
		if err != nil {
			return nil, err
		}
		keyed[key] = value
	}
	return keyed, nil
}

// byID puts values under their ids.
func byID[K comparable, V any](keyed map[string]V, byKey map[string]K) map[K]V {
	values := make(map[K]V, len(keyed))
	for key, value := range keyed {
		values[byKey[key]] = value
	}
	return values
}
