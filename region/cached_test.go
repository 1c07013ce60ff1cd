package region_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

func load0(context.Context) (string, error)                    { return "none", nil }
func load1(_ context.Context, id int64) (string, error)        { return fmt.Sprint(id), nil }
func load2(_ context.Context, a, b string) (string, error)     { return a + "+" + b, nil }
func load3(_ context.Context, a, b, c int) (int, error)        { return a*100 + b*10 + c, nil }
func load4(_ context.Context, a, b, c, d bool) (string, error) { return fmt.Sprint(a, b, c, d), nil }

func TestCachedKeepsTheFunctionsType(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		f0, f1, f2 := region.Cached0(r, load0), region.Cached(r, load1), region.Cached2(r, load2)
		f3, f4 := region.Cached3(r, load3), region.Cached4(r, load4)
		var _ func(context.Context, string, string) (string, error) = f2
		for range 2 {
			v0, err0 := f0(t.Context())
			v1, err1 := f1(t.Context(), 42)
			v2, err2 := f2(t.Context(), "a", "b")
			v3, err3 := f3(t.Context(), 1, 2, 3)
			v4, err4 := f4(t.Context(), true, false, true, false)
			if err := errors.Join(err0, err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			if v0 != "none" || v1 != "42" || v2 != "a+b" || v3 != 123 || v4 != "true false true false" {
				t.Errorf("got %v, %v, %v, %v, %v", v0, v1, v2, v3, v4)
			}
		}
		if s := r.Stats(); s.Creations != 5 || s.Hits != 5 {
			t.Errorf("stats %+v; want 5 creations and 5 hits", s)
		}
	})
}

func TestArgumentsThatDifferHaveKeysThatDiffer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, kinds["values"]())
		join := region.Cached2(r, load2)
		for _, args := range [][2]string{{"a b", ""}, {"a", "b"}, {"a", " b"}, {`a","b`, ""}, {"a,b", ""}, {"", "a,b"}} {
			want, _ := load2(t.Context(), args[0], args[1])
			if got, err := join(t.Context(), args[0], args[1]); got != want || err != nil {
				t.Errorf("join(%q) = %q, %v; want %q", args, got, err, want)
			}
		}
		anything := region.Cached(r, func(_ context.Context, v any) (string, error) { return fmt.Sprintf("%T", v), nil }, region.Namespace("any"))
		for _, arg := range []any{1, "1", int64(1), uint8(1), 1.0, true, "true", nil, []int{1}, [1]int{1}, time.Duration(1), struct{ A int }{1}} {
			if got, err := anything(t.Context(), arg); got != fmt.Sprintf("%T", arg) || err != nil {
				t.Errorf("anything(%#v) = %q, %v", arg, got, err)
			}
		}
	})
}

type repo struct{ name string }

func (r *repo) load(_ context.Context, id int) (string, error) { return fmt.Sprint(r.name, id), nil }

func generic[T any](_ context.Context, id T) (string, error) { return fmt.Sprintf("%T", id), nil }

func TestTwoWrappersWithOneKeySpaceAreAnError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := &repo{"a"}, &repo{"b"}
		for name, wrap := range map[string]func(r *region.Region) (first, second func() error){
			"method values": func(r *region.Region) (func() error, func() error) {
				f, g := region.Cached(r, a.load), region.Cached(r, b.load)
				return func() error { _, err := f(t.Context(), 1); return err }, func() error { _, err := g(t.Context(), 1); return err }
			},
			"generic functions": func(r *region.Region) (func() error, func() error) {
				f, g := region.Cached(r, generic[int]), region.Cached(r, generic[string])
				return func() error { _, err := f(t.Context(), 1); return err }, func() error { _, err := g(t.Context(), "1"); return err }
			},
			"one namespace": func(r *region.Region) (func() error, func() error) {
				f, g := region.Cached(r, load1, region.Namespace("n")), region.Cached0(r, load0, region.Namespace("n"))
				return func() error { _, err := f(t.Context(), 1); return err }, func() error { _, err := g(t.Context()); return err }
			},
		} {
			t.Log(name)
			first, second := wrap(open(t, kinds["values"]()))
			if err := first(); err != nil {
				t.Errorf("%s: the first wrapper: %v", name, err)
			}
			err := second()
			if !errors.Is(err, region.ErrConfig) {
				t.Errorf("%s: the second wrapper got %v, want ErrConfig", name, err)
				continue
			}
			if text := err.Error(); strings.Count(text, "cached_test.go:") != 2 || !strings.Contains(text, "region.Namespace") {
				t.Errorf("%s: %q does not name both and say what to do", name, text)
			}
		}
		// With namespaces both work.
		r := open(t, kinds["values"]())
		f, g := region.Cached(r, a.load, region.Namespace("a")), region.Cached(r, b.load, region.Namespace("b"))
		va, errA := f(t.Context(), 1)
		vb, errB := g(t.Context(), 1)
		if va != "a1" || vb != "b1" || errA != nil || errB != nil {
			t.Errorf("got %q, %v and %q, %v", va, errA, vb, errB)
		}
	})
}

func TestAFunctionLiteralNeedsANamespace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, kinds["values"]())
		_, err := region.Cached(r, func(context.Context, int) (int, error) { return 1, nil })(t.Context(), 1)
		if !errors.Is(err, region.ErrConfig) || !strings.Contains(err.Error(), "region.Namespace") {
			t.Errorf("got %v; want an error that names region.Namespace", err)
		}
		got, err := region.Cached(r, func(context.Context, int) (int, error) { return 1, nil }, region.Namespace("one"))(t.Context(), 1)
		if got != 1 || err != nil {
			t.Errorf("with a namespace: %v, %v", got, err)
		}
	})
}

func TestBadWrappingsAreErrorsAtTheFirstCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, kinds["values"]())
		ctx := t.Context()
		calls := map[string]func() error{
			"nil function": func() error { _, err := region.Cached[int, int](r, nil)(ctx, 1); return err },
			"nil region":   func() error { _, err := region.Cached(nil, load1)(ctx, 1); return err },
			"bad name": func() error {
				_, err := region.Cached(region.Declare("a:b"), load1)(ctx, 1)
				return err
			},
			"channel": func() error {
				_, err := region.Cached(r, func(context.Context, chan int) (int, error) { return 1, nil }, region.Namespace("c"))(ctx, nil)
				return err
			},
			"WithKey of other arguments": func() error {
				_, err := region.Cached(r, load1, region.WithKey(func(string) string { return "" }))(ctx, 1)
				return err
			},
			"WithKey nil": func() error {
				_, err := region.Cached(r, load1, region.WithKey((func(int64) string)(nil)))(ctx, 1)
				return err
			},
			"WithKey and Namespace": func() error {
				_, err := region.Cached(r, load1, region.WithKey(func(int64) string { return "" }), region.Namespace("n"))(ctx, 1)
				return err
			},
			"CacheIf of another type": func() error {
				_, err := region.Cached(r, load1, region.Namespace("ci"), region.CacheIf(func(int) bool { return true }))(ctx, 1)
				return err
			},
			"empty Namespace":    func() error { _, err := region.Cached(r, load1, region.Namespace(""))(ctx, 1); return err },
			"WithKey of nothing": func() error { _, err := region.Cached(r, load1, region.WithKey(nil))(ctx, 1); return err },
			"CacheIf of nothing": func() error {
				_, err := region.GetOrCreate(ctx, r, "k", counting().create, region.CacheIf[string](nil))
				return err
			},
			"WithExpirationFunc of nothing": func() error {
				_, err := region.GetOrCreate(ctx, r, "k", counting().create, region.WithExpirationFunc(nil))
				return err
			},
			"nil option": func() error { _, err := region.Cached(r, load1, nil)(ctx, 1); return err },
			"unconfigured": func() error {
				_, err := region.Cached(region.Declare("cached-unconfigured"), load1)(ctx, 1)
				return err
			},
		}
		for name, call := range calls {
			if err := call(); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

func TestWithKeyMakesTheWholeKey(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		f := region.Cached(r, load1, region.WithKey(func(id int64) string { return fmt.Sprint("user:", id) }))
		for range 2 {
			if got, err := f(t.Context(), 7); got != "7" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		holds(t, r, "user:7", "7")
	})
}

func TestWrappersTakeOptions(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		evaluated := 0
		f := region.Cached(r, load1, region.WithExpirationFunc(func() time.Duration { evaluated++; return time.Second }))
		evaluated = 0
		for range 2 {
			if _, err := f(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		if _, err := f(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if s := r.Stats(); s.Creations != 2 {
			t.Errorf("%d creations, want 2: the wrapper's expiration is shorter than the region's", s.Creations)
		}
		if evaluated != 3 {
			t.Errorf("the expiration was evaluated %d times, want once a call", evaluated)
		}
	})
}

func TestIDsWithOneKeyAreAnError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := region.BindMulti(open(t, kinds["values"]()), func(context.Context, []int) (map[int]string, error) { return nil, nil },
			region.WithKey(func(id int) string { return fmt.Sprint(id % 10) }))
		if _, err := f.Call(t.Context(), []int{1, 11}); !errors.Is(err, region.ErrConfig) {
			t.Errorf("got %v, want ErrConfig", err)
		}
	})
}
