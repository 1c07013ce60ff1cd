package region

import (
	"context"
	"fmt"
	"reflect"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

// Args0 stands for no argument.
type Args0 struct{}

// Args2 are two arguments.
type Args2[A, B any] struct {
	A A
	B B
}

// Args3 are three arguments.
type Args3[A, B, C any] struct {
	A A
	B B
	C C
}

// Args4 are four arguments.
type Args4[A, B, C, D any] struct {
	A A
	B B
	C C
	D D
}

// Bind1 binds a function of one argument.
func Bind1[A, V any](r *Region, fn func(context.Context, A) (V, error), opts ...Option) *Bound[A, V] {
	return bind(r, fn == nil, fn, fn, opts, argkey.For[A], listed[A], spread1[A, string], spread1[A, []string])
}

// The spread functions make one of a function's arguments, if it has the right ones.

func spread1[A, R any](f any) (func(A) R, bool) {
	of, ok := f.(func(A) R)
	return of, ok && of != nil
}

func spread0[R any](f any) (func(Args0) R, bool) {
	of, ok := f.(func() R)
	return func(Args0) R { return of() }, ok && of != nil
}

func spread2[A, B, R any](f any) (func(Args2[A, B]) R, bool) {
	of, ok := f.(func(A, B) R)
	return func(p Args2[A, B]) R { return of(p.A, p.B) }, ok && of != nil
}

func spread3[A, B, C, R any](f any) (func(Args3[A, B, C]) R, bool) {
	of, ok := f.(func(A, B, C) R)
	return func(p Args3[A, B, C]) R { return of(p.A, p.B, p.C) }, ok && of != nil
}

func spread4[A, B, C, D, R any](f any) (func(Args4[A, B, C, D]) R, bool) {
	of, ok := f.(func(A, B, C, D) R)
	return func(p Args4[A, B, C, D]) R { return of(p.A, p.B, p.C, p.D) }, ok && of != nil
}

// listed returns the arguments of a function that takes one: its fields if that is a
// struct of which all can be read, as opposed to one such as time.Time.
func listed[A any](p A) []any {
	v := reflect.ValueOf(&p).Elem()
	if v.Kind() != reflect.Struct {
		return []any{p}
	}
	args := make([]any, v.NumField())
	for i := range args {
		if !v.Type().Field(i).IsExported() {
			return []any{p}
		}
		args[i] = v.Field(i).Interface()
	}
	return args
}

// Bind0 binds a function without arguments.
func Bind0[V any](r *Region, fn func(context.Context) (V, error), opts ...Option) *Bound[Args0, V] {
	return bind(r, fn == nil, fn, func(ctx context.Context, _ Args0) (V, error) { return fn(ctx) }, opts,
		func() (argkey.Encoder[Args0], error) {
			return func(dst []byte, _ Args0) ([]byte, error) { return dst, nil }, nil
		},
		func(Args0) []any { return nil }, spread0[string], spread0[[]string])
}

// Bind2 binds a function of two arguments.
func Bind2[A, B, V any](r *Region, fn func(context.Context, A, B) (V, error), opts ...Option) *Bound[Args2[A, B], V] {
	return bind(r, fn == nil, fn, func(ctx context.Context, p Args2[A, B]) (V, error) { return fn(ctx, p.A, p.B) }, opts,
		func() (argkey.Encoder[Args2[A, B]], error) {
			var l argumentList
			a, b := argument[A](&l), argument[B](&l)
			return func(dst []byte, p Args2[A, B]) ([]byte, error) {
				dst, err := a(dst, p.A)
				return then(b, dst, p.B, err)
			}, l.err
		},
		func(p Args2[A, B]) []any { return []any{p.A, p.B} },
		spread2[A, B, string], spread2[A, B, []string])
}

// Bind3 binds a function of three arguments.
func Bind3[A, B, C, V any](r *Region, fn func(context.Context, A, B, C) (V, error), opts ...Option) *Bound[Args3[A, B, C], V] {
	return bind(r, fn == nil, fn, func(ctx context.Context, p Args3[A, B, C]) (V, error) { return fn(ctx, p.A, p.B, p.C) }, opts,
		func() (argkey.Encoder[Args3[A, B, C]], error) {
			var l argumentList
			a, b, c := argument[A](&l), argument[B](&l), argument[C](&l)
			return func(dst []byte, p Args3[A, B, C]) ([]byte, error) {
				dst, err := a(dst, p.A)
				dst, err = then(b, dst, p.B, err)
				return then(c, dst, p.C, err)
			}, l.err
		},
		func(p Args3[A, B, C]) []any { return []any{p.A, p.B, p.C} },
		spread3[A, B, C, string], spread3[A, B, C, []string])
}

// Bind4 binds a function of four arguments.
func Bind4[A, B, C, D, V any](r *Region, fn func(context.Context, A, B, C, D) (V, error), opts ...Option) *Bound[Args4[A, B, C, D], V] {
	return bind(r, fn == nil, fn, func(ctx context.Context, p Args4[A, B, C, D]) (V, error) { return fn(ctx, p.A, p.B, p.C, p.D) }, opts,
		func() (argkey.Encoder[Args4[A, B, C, D]], error) {
			var l argumentList
			a, b, c, d := argument[A](&l), argument[B](&l), argument[C](&l), argument[D](&l)
			return func(dst []byte, p Args4[A, B, C, D]) ([]byte, error) {
				dst, err := a(dst, p.A)
				dst, err = then(b, dst, p.B, err)
				dst, err = then(c, dst, p.C, err)
				return then(d, dst, p.D, err)
			}, l.err
		},
		func(p Args4[A, B, C, D]) []any { return []any{p.A, p.B, p.C, p.D} },
		spread4[A, B, C, D, string], spread4[A, B, C, D, []string])
}

// argumentList collects what is wrong with the arguments of one function.
type argumentList struct {
	n   int
	err error
}

// argument returns the encoder of the next argument.
func argument[A any](l *argumentList) argkey.Encoder[A] {
	l.n++
	encode, err := argkey.For[A]()
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("argument %d: %w", l.n, err)
	}
	return encode
}

// then appends a comma and the next argument, unless the one before has failed.
func then[A any](encode argkey.Encoder[A], dst []byte, a A, err error) ([]byte, error) {
	if err != nil {
		return dst, err
	}
	return encode(append(dst, ','), a)
}
