package decorate

import (
	"context"

	"github.com/dogpile-go/dogpile/region"
)

// Func2 is a function of two arguments whose values are kept in a region. It is made
// by [CacheOnArguments2]. All methods are safe for concurrent use.
type Func2[A, B, V any] struct {
	// Original is the function itself. Calling it leaves the region alone.
	Original func(context.Context, A, B) (V, error)

	bound *region.Bound[region.Args2[A, B], V]
}

// CacheOnArguments2 wraps fn, a function of two arguments.
func CacheOnArguments2[A, B, V any](r *region.Region, fn func(context.Context, A, B) (V, error), opts ...region.Option) *Func2[A, B, V] {
	return &Func2[A, B, V]{Original: fn, bound: region.Bind2(r, fn, opts...)}
}

// Call returns the function's value from the region, or by calling it, as
// [region.GetOrCreate] does.
func (f *Func2[A, B, V]) Call(ctx context.Context, a A, b B) (V, error) {
	return f.bound.Call(ctx, region.Args2[A, B]{A: a, B: b})
}

// Get returns the value if it is in the region and fresh, as [region.Get] does.
func (f *Func2[A, B, V]) Get(ctx context.Context, a A, b B) (value V, ok bool, err error) {
	return f.bound.Get(ctx, region.Args2[A, B]{A: a, B: b})
}

// Set stores value as what the function returns, as [region.Set] does.
func (f *Func2[A, B, V]) Set(ctx context.Context, a A, b B, value V) error {
	return f.bound.Set(ctx, region.Args2[A, B]{A: a, B: b}, value)
}

// Invalidate removes the value, as [region.Region.Delete] does.
func (f *Func2[A, B, V]) Invalidate(ctx context.Context, a A, b B) error {
	return f.bound.Invalidate(ctx, region.Args2[A, B]{A: a, B: b})
}

// InvalidateAll makes all values of the function dead, in one round trip; see
// [region.Bound.InvalidateAll].
func (f *Func2[A, B, V]) InvalidateAll(ctx context.Context) error {
	return f.bound.InvalidateAll(ctx)
}

// Refresh calls the function, whatever is stored, and stores and returns its
// value; see [region.Bound.Refresh].
func (f *Func2[A, B, V]) Refresh(ctx context.Context, a A, b B) (V, error) {
	return f.bound.Refresh(ctx, region.Args2[A, B]{A: a, B: b})
}

// Key returns the key in the region. It returns an error that wraps
// [region.ErrConfig] if there is none.
func (f *Func2[A, B, V]) Key(a A, b B) (string, error) {
	return f.bound.Key(region.Args2[A, B]{A: a, B: b})
}
