package decorate

import (
	"context"

	"github.com/dogpile-go/dogpile/region"
)

// Func is a function of one argument whose values are kept in a region. It is made
// by [CacheOnArguments]. All methods are safe for concurrent use.
type Func[A, V any] struct {
	// Original is the function itself. Calling it leaves the region alone.
	Original func(context.Context, A) (V, error)

	bound *region.Bound[A, V]
}

// CacheOnArguments wraps fn, a function of one argument.
func CacheOnArguments[A, V any](r *region.Region, fn func(context.Context, A) (V, error), opts ...region.Option) *Func[A, V] {
	return &Func[A, V]{Original: fn, bound: region.Bind1(r, fn, opts...)}
}

// Call returns the function's value from the region, or by calling it, as
// [region.GetOrCreate] does.
func (f *Func[A, V]) Call(ctx context.Context, a A) (V, error) {
	return f.bound.Call(ctx, a)
}

// Get returns the value if it is in the region and fresh, as [region.Get] does.
func (f *Func[A, V]) Get(ctx context.Context, a A) (value V, ok bool, err error) {
	return f.bound.Get(ctx, a)
}

// Set stores value as what the function returns, as [region.Set] does.
func (f *Func[A, V]) Set(ctx context.Context, a A, value V) error {
	return f.bound.Set(ctx, a, value)
}

// Invalidate removes the value, as [region.Region.Delete] does.
func (f *Func[A, V]) Invalidate(ctx context.Context, a A) error {
	return f.bound.Invalidate(ctx, a)
}

// InvalidateAll makes all values of the function dead, in one round trip; see
// [region.Bound.InvalidateAll].
func (f *Func[A, V]) InvalidateAll(ctx context.Context) error {
	return f.bound.InvalidateAll(ctx)
}

// Refresh calls the function, whatever is stored, and stores and returns its
// value; see [region.Bound.Refresh].
func (f *Func[A, V]) Refresh(ctx context.Context, a A) (V, error) {
	return f.bound.Refresh(ctx, a)
}

// Key returns the key in the region. It returns an error that wraps
// [region.ErrConfig] if there is none.
func (f *Func[A, V]) Key(a A) (string, error) {
	return f.bound.Key(a)
}
