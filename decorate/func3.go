package decorate

import (
	"context"

	"github.com/dogpile-go/dogpile/region"
)

// Func3 is a function of three arguments whose values are kept in a region. It is made
// by [CacheOnArguments3]. All methods are safe for concurrent use.
type Func3[A, B, C, V any] struct {
	// Original is the function itself. Calling it leaves the region alone.
	Original func(context.Context, A, B, C) (V, error)

	bound *region.Bound[region.Args3[A, B, C], V]
}

// CacheOnArguments3 wraps fn, a function of three arguments.
func CacheOnArguments3[A, B, C, V any](r *region.Region, fn func(context.Context, A, B, C) (V, error), opts ...region.Option) *Func3[A, B, C, V] {
	return &Func3[A, B, C, V]{Original: fn, bound: region.Bind3(r, fn, opts...)}
}

// Call returns the function's value from the region, or by calling it, as
// [region.GetOrCreate] does.
func (f *Func3[A, B, C, V]) Call(ctx context.Context, a A, b B, c C) (V, error) {
	return f.bound.Call(ctx, region.Args3[A, B, C]{A: a, B: b, C: c})
}

// Get returns the value if it is in the region and fresh, as [region.Get] does.
func (f *Func3[A, B, C, V]) Get(ctx context.Context, a A, b B, c C) (value V, ok bool, err error) {
	return f.bound.Get(ctx, region.Args3[A, B, C]{A: a, B: b, C: c})
}

// Set stores value as what the function returns, as [region.Set] does.
func (f *Func3[A, B, C, V]) Set(ctx context.Context, a A, b B, c C, value V) error {
	return f.bound.Set(ctx, region.Args3[A, B, C]{A: a, B: b, C: c}, value)
}

// Invalidate removes the value, as [region.Region.Delete] does.
func (f *Func3[A, B, C, V]) Invalidate(ctx context.Context, a A, b B, c C) error {
	return f.bound.Invalidate(ctx, region.Args3[A, B, C]{A: a, B: b, C: c})
}

// InvalidateAll makes all values of the function dead, in one round trip; see
// [region.Bound.InvalidateAll].
func (f *Func3[A, B, C, V]) InvalidateAll(ctx context.Context) error {
	return f.bound.InvalidateAll(ctx)
}

// Refresh calls the function, whatever is stored, and stores and returns its
// value; see [region.Bound.Refresh].
func (f *Func3[A, B, C, V]) Refresh(ctx context.Context, a A, b B, c C) (V, error) {
	return f.bound.Refresh(ctx, region.Args3[A, B, C]{A: a, B: b, C: c})
}

// Key returns the key in the region. It returns an error that wraps
// [region.ErrConfig] if there is none.
func (f *Func3[A, B, C, V]) Key(a A, b B, c C) (string, error) {
	return f.bound.Key(region.Args3[A, B, C]{A: a, B: b, C: c})
}
