package decorate

import (
	"context"

	"github.com/dogpile-go/dogpile/region"
)

// MultiFunc is a function that loads many values at once, each of which is kept in
// a region. It is made by [CacheMultiOnArguments]. All methods are safe for
// concurrent use.
type MultiFunc[K comparable, V any] struct {
	// Original is the function itself. Calling it leaves the region alone.
	Original func(ctx context.Context, ids []K) (map[K]V, error)

	bound *region.BoundMulti[K, V]
}

// CacheMultiOnArguments wraps fn, which returns the values of ids. It is called
// once for all ids that are to be created. If ids may not exist, pass
// [region.AllowMissing]; otherwise fn has to return a value for each.
func CacheMultiOnArguments[K comparable, V any](r *region.Region, fn func(ctx context.Context, ids []K) (map[K]V, error), opts ...region.Option) *MultiFunc[K, V] {
	return &MultiFunc[K, V]{Original: fn, bound: region.BindMulti(r, fn, opts...)}
}

// Call returns the values of ids from the region, and by calling the function once
// for those that are to be created, as [region.GetOrCreateMulti] does.
func (f *MultiFunc[K, V]) Call(ctx context.Context, ids []K) (map[K]V, error) {
	return f.bound.Call(ctx, ids)
}

// Get returns the values of ids that are in the region and fresh, as
// [region.GetMulti] does.
func (f *MultiFunc[K, V]) Get(ctx context.Context, ids []K) (map[K]V, error) {
	return f.bound.Get(ctx, ids)
}

// Set stores values under their ids, as [region.SetMulti] does.
func (f *MultiFunc[K, V]) Set(ctx context.Context, values map[K]V) error {
	return f.bound.Set(ctx, values)
}

// Invalidate removes the values of ids, as [region.Region.Delete] does.
func (f *MultiFunc[K, V]) Invalidate(ctx context.Context, ids ...K) error {
	return f.bound.Invalidate(ctx, ids...)
}

// InvalidateAll makes all values of the function dead, in one round trip; see
// [region.Bound.InvalidateAll].
func (f *MultiFunc[K, V]) InvalidateAll(ctx context.Context) error {
	return f.bound.InvalidateAll(ctx)
}

// Refresh calls the function for all ids, whatever is stored, and stores and
// returns its values.
func (f *MultiFunc[K, V]) Refresh(ctx context.Context, ids []K) (map[K]V, error) {
	return f.bound.Refresh(ctx, ids)
}

// Key returns the key of id in the region. It returns an error that wraps
// [region.ErrConfig] if there is none.
func (f *MultiFunc[K, V]) Key(id K) (string, error) { return f.bound.Key(id) }
