package decorate

import (
	"context"

	"github.com/dogpile-go/dogpile/region"
)

// Func0 is a function of no argument whose values are kept in a region. It is made
// by [CacheOnArguments0]. All methods are safe for concurrent use.
type Func0[V any] struct {
	// Original is the function itself. Calling it leaves the region alone.
	Original func(context.Context) (V, error)

	bound *region.Bound[region.Args0, V]
}

// CacheOnArguments0 wraps fn, a function of no argument.
func CacheOnArguments0[V any](r *region.Region, fn func(context.Context) (V, error), opts ...region.Option) *Func0[V] {
	return &Func0[V]{Original: fn, bound: region.Bind0(r, fn, opts...)}
}

// Call returns the function's value from the region, or by calling it, as
// [region.GetOrCreate] does.
func (f *Func0[V]) Call(ctx context.Context) (V, error) {
	return f.bound.Call(ctx, region.Args0{})
}

// Get returns the value if it is in the region and fresh, as [region.Get] does.
func (f *Func0[V]) Get(ctx context.Context) (value V, ok bool, err error) {
	return f.bound.Get(ctx, region.Args0{})
}

// Set stores value as what the function returns, as [region.Set] does.
func (f *Func0[V]) Set(ctx context.Context, value V) error {
	return f.bound.Set(ctx, region.Args0{}, value)
}

// Invalidate removes the value, as [region.Region.Delete] does.
func (f *Func0[V]) Invalidate(ctx context.Context) error {
	return f.bound.Invalidate(ctx, region.Args0{})
}

// InvalidateAll makes all values of the function dead, in one round trip; see
// [region.Bound.InvalidateAll].
func (f *Func0[V]) InvalidateAll(ctx context.Context) error {
	return f.bound.InvalidateAll(ctx)
}

// Refresh calls the function, whatever is stored, and stores and returns its
// value; see [region.Bound.Refresh].
func (f *Func0[V]) Refresh(ctx context.Context) (V, error) {
	return f.bound.Refresh(ctx, region.Args0{})
}

// Key returns the key in the region. It returns an error that wraps
// [region.ErrConfig] if there is none.
func (f *Func0[V]) Key() (string, error) {
	return f.bound.Key(region.Args0{})
}
