package region

import (
	"context"
	"slices"
)

// Cached returns fn with its values kept in r: a function of the same type that
// looks into the region first and calls fn when it has to, as [GetOrCreate] does.
// It is meant for package variables; r may be configured later.
//
// A value's key is the name of fn and the text of its argument: two arguments have
// one key only if they are equal and of one type. The context is no part of it. A
// function literal needs [Namespace], because the name that the compiler gives it
// changes with edits; so does a second wrapper of one name in a region, such as
// one of another receiver's method. Whatever is wrong with the wrapping is
// returned by every call as an error that wraps [ErrConfig].
//
// To invalidate, set or refresh one value of a function, wrap it with package
// decorate instead. For functions of other arities there are Cached0 and Cached2
// to Cached4.
//
// What a name cannot tell apart is told apart only within one region: where several
// programs, or several regions of one name, share a backend, give namespaces to
// functions of package main (every program has a main.F), to methods of different
// receivers, and to instances of generic functions. On a backend that keeps Go values all callers get the same value:
// do not change what a slice, map or pointer in it leads to.
func Cached[A, V any](r *Region, fn func(context.Context, A) (V, error), opts ...Option) func(context.Context, A) (V, error) {
	return Bind1(r, fn, alone(opts)...).Call
}

// alone leaves out the stamps of the function, which nobody can renew who has no more of
// it than Cached returns. A hit has one thing less to ask for.
func alone(opts []Option) []Option {
	return append(slices.Clip(opts), WrapOption{func(s *settings) { s.alone = true }})
}

// Cached0 is [Cached] for functions without arguments.
func Cached0[V any](r *Region, fn func(context.Context) (V, error), opts ...Option) func(context.Context) (V, error) {
	b := Bind0(r, fn, alone(opts)...)
	return func(ctx context.Context) (V, error) { return b.Call(ctx, Args0{}) }
}

// Cached2 is [Cached] for functions of two arguments.
func Cached2[A, B, V any](r *Region, fn func(context.Context, A, B) (V, error), opts ...Option) func(context.Context, A, B) (V, error) {
	bound := Bind2(r, fn, alone(opts)...)
	return func(ctx context.Context, a A, b B) (V, error) { return bound.Call(ctx, Args2[A, B]{a, b}) }
}

// Cached3 is [Cached] for functions of three arguments.
func Cached3[A, B, C, V any](r *Region, fn func(context.Context, A, B, C) (V, error), opts ...Option) func(context.Context, A, B, C) (V, error) {
	bound := Bind3(r, fn, alone(opts)...)
	return func(ctx context.Context, a A, b B, c C) (V, error) { return bound.Call(ctx, Args3[A, B, C]{a, b, c}) }
}

// Cached4 is [Cached] for functions of four arguments.
func Cached4[A, B, C, D, V any](r *Region, fn func(context.Context, A, B, C, D) (V, error), opts ...Option) func(context.Context, A, B, C, D) (V, error) {
	bound := Bind4(r, fn, alone(opts)...)
	return func(ctx context.Context, a A, b B, c C, d D) (V, error) {
		return bound.Call(ctx, Args4[A, B, C, D]{a, b, c, d})
	}
}
