package argkey_test

import (
	"errors"
	"iter"
	"reflect"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

const pkg = "github.com/dogpile-go/dogpile/internal/argkey_test."

func load(int) int { return 0 }

func func1()       {}
func gowrap2()     {}
func inlined() int { return load(1) }

func generic[T any](t T) T { return t }

func genericFunc1[T any](t T) func() T { return func() T { return t } }

func wrapped[T any]() any { return generic[[]T] }

type repo struct{ name string }

func (r *repo) Load(int) string  { return r.name }
func (r repo) Value(int) string  { return r.name }
func (r repo) func3() string     { return r.name }
func (r repo) Literal() func()   { return func() { _ = r } }
func (r *repo) PLiteral() func() { return func() { _ = r } }

type loader interface{ Load(int) string }

type outer struct{ *repo }

type box[T any] struct{ v T }

func (b *box[T]) Get() T { return b.v }

var (
	packageLiteral = func() {}
	tableLiteral   = map[string]func(){"a": func() {}}
	initLiteral    func()
)

func init() { initLiteral = func() {} }

func TestNameOfDeclaredFunctions(t *testing.T) {
	a, b := &repo{"a"}, &repo{"b"}
	tests := []struct {
		what string
		fn   any
		want string
	}{
		{"function", load, pkg + "load"},
		{"function that inlines another", inlined, pkg + "inlined"},
		{"function called func1", func1, pkg + "func1"},
		{"function called gowrap2", gowrap2, pkg + "gowrap2"},
		{"function of another package", strings.ToUpper, "strings.ToUpper"},
		{"generic function", generic[int], pkg + "generic[...]"},
		{"another instance of it", generic[repo], pkg + "generic[...]"},
		{"method value", a.Load, pkg + "(*repo).Load"},
		{"method value of another receiver", b.Load, pkg + "(*repo).Load"},
		{"method value of a value", repo{}.Value, pkg + "repo.Value"},
		{"method value called func3", repo{}.func3, pkg + "repo.func3"},
		{"method value of an interface", loader(a).Load, pkg + "loader.Load"},
		{"promoted method value", outer{a}.Load, pkg + "(*repo).Load"},
		{"method value of a generic type", (&box[int]{}).Get, pkg + "(*box[...]).Get"},
		{"method expression", (*repo).Load, pkg + "(*repo).Load"},
		{"method expression of a value", repo.Value, pkg + "repo.Value"},
		{"method expression of an interface", loader.Load, pkg + "loader.Load"},
		{"promoted method expression", outer.Load, pkg + "outer.Load"},
		{"method expression of a generic type", (*box[string]).Get, pkg + "(*box[...]).Get"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			got, err := argkey.Name(tt.fn)
			if err != nil || got != tt.want {
				t.Errorf("Name = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestNameOfFunctionsWithout(t *testing.T) {
	nested := func() func() { return func() {} }
	captured := 0
	capturing := func() int { captured++; return captured }
	type local struct{ *repo }
	type unnamed = struct{ *repo }
	var yielded any
	ranged := iter.Seq[int](func(yield func(int) bool) { yielded = yield })
	for range ranged {
		captured++
	}
	var inLoop any
	for range iter.Seq[int](func(yield func(int) bool) { yield(0) }) {
		inLoop = func() { captured++ }
	}

	tests := []struct {
		what string
		fn   any
	}{
		{"literal", func() {}},
		{"literal in a variable", nested},
		{"literal in a literal", nested()},
		{"literal that captures", capturing},
		{"literal of a package variable", packageLiteral},
		{"literal in a package variable", tableLiteral["a"]},
		{"literal in init", initLiteral},
		{"literal in a method", repo{}.Literal()},
		{"literal in a pointer method", (&repo{}).PLiteral()},
		{"literal in a generic function", genericFunc1(1)},
		{"instance inside a generic function", wrapped[int]()},
		{"body of a range over a function", yielded},
		{"literal in the body of a range over a function", inLoop},
		{"promoted method expression of a local type", local.Load},
		{"promoted method expression of an unnamed type", unnamed.Load},
		{"method expression that looks like a literal", repo.func3},
		{"function made by reflect", reflect.MakeFunc(reflect.TypeOf(load), nil).Interface()},
		{"method bound by reflect", reflect.ValueOf(&repo{}).Method(0).Interface()},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			got, err := argkey.Name(tt.fn)
			if !errors.Is(err, argkey.ErrAnonymous) {
				t.Fatalf("Name = %q, %v; want ErrAnonymous", got, err)
			}
			if !strings.Contains(err.Error(), `region.Namespace("...")`) {
				t.Errorf("error %q does not say what to do", err)
			}
		})
	}
}

func TestNameOfWhatIsNoFunction(t *testing.T) {
	for _, fn := range []any{nil, 1, "load", (func())(nil), (*repo)(nil), reflect.ValueOf(load)} {
		got, err := argkey.Name(fn)
		if err == nil || errors.Is(err, argkey.ErrAnonymous) {
			t.Errorf("Name(%T) = %q, %v; want an error of its own", fn, got, err)
		}
	}
}
