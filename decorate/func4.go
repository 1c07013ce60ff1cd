package decorate

import (
	"context"

	"github.com/dogpile-go/dogpile/region"
)

// Func4 is a function of four arguments whose values are kept in a region. It is made
// by [CacheOnArguments4]. All methods are safe for concurrent use.
type Func4[A, B, C, D, V any] struct {
	// Original is the function itself. Calling it leaves the region alone.
	Original func(context.Context, A, B, C, D) (V, error)

	bound *region.Bound[region.Args4[A, B, C, D], V]
}

// CacheOnArguments4 wraps fn, a function of four arguments.
func CacheOnArguments4[A, B, C, D, V any](r *region.Region, fn func(context.Context, A, B, C, D) (V, error), opts ...region.Option) *Func4[A, B, C, D, V] {
	return &Func4[A, B, C, D, V]{Original: fn, bound: region.Bind4(r, fn, opts...)}
}

// Call returns the function's value from the region, or by calling it, as
// [region.GetOrCreate] does.
func (f *Func4[A, B, C, D, V]) Call(ctx context.Context, a A, b B, c C, d D) (V, error) {
	return f.bound.Call(ctx, region.Args4[A, B, C, D]{A: a, B: b, C: c, D: d})
}

// Get returns the value if it is in the region and fresh, as [region.Get] does.
func (f *Func4[A, B, C, D, V]) Get(ctx context.Context, a A, b B, c C, d D) (value V, ok bool, err error) {
	return f.bound.Get(ctx, region.Args4[A, B, C, D]{A: a, B: b, C: c, D: d})
}

// Set stores value as what the function returns, as [region.Set] does.
func (f *Func4[A, B, C, D, V]) Set(ctx context.Context, a A, b B, c C, d D, value V) error {
	return f.bound.Set(ctx, region.Args4[A, B, C, D]{A: a, B: b, C: c, D: d}, value)
}

// Invalidate removes the value, as [region.Region.Delete] does.
func (f *Func4[A, B, C, D, V]) Invalidate(ctx context.Context, a A, b B, c C, d D) error {
	return f.bound.Invalidate(ctx, region.Args4[A, B, C, D]{A: a, B: b, C: c, D: d})
}

// InvalidateAll makes all values of the function dead, in one round trip; see
// [region.Bound.InvalidateAll].
func (f *Func4[A, B, C, D, V]) InvalidateAll(ctx context.Context) error {
	return f.bound.InvalidateAll(ctx)
}

// Refresh calls the function, whatever is stored, and stores and returns its
// value; see [region.Bound.Refresh].
func (f *Func4[A, B, C, D, V]) Refresh(ctx context.Context, a A, b B, c C, d D) (V, error) {
	return f.bound.Refresh(ctx, region.Args4[A, B, C, D]{A: a, B: b, C: c, D: d})
}

// Key returns the key in the region. It returns an error that wraps
// [region.ErrConfig] if there is none.
func (f *Func4[A, B, C, D, V]) Key(a A, b B, c C, d D) (string, error) {
	return f.bound.Key(region.Args4[A, B, C, D]{A: a, B: b, C: c, D: d})
}
