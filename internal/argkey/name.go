package argkey

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
)

// ErrAnonymous is wrapped by the error of [Name] about a function that has no
// name of its own.
var ErrAnonymous = errors.New("the function has no lasting name")

// Name returns the name of fn as the compiler knows it:
//
//	github.com/acme/app/users.Load          a function
//	github.com/acme/app/users.(*Repo).Load  a method value or method expression
//	github.com/acme/app/users.Get[...]      a generic function
//
// A function literal has no name, or rather one such as main.run.func2 that goes
// to another literal when the code above it changes, so that a program would
// read what an older version of it stored for another function. The same is true
// of methods of types declared inside functions, of a generic function or method
// taken as a value inside another generic function, which the compiler wraps in
// a literal, and of functions made by reflect. For all of them the error wraps
// [ErrAnonymous].
//
// A name does not tell everything. The method values a.Load and b.Load have the
// same name, and so have all instances of a generic function; and every program
// calls its functions main.F.
func Name(fn any) (string, error) {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func {
		return "", fmt.Errorf("%T is not a function; pass the function to be cached", fn)
	}
	if v.IsNil() {
		return "", fmt.Errorf("%T(nil) has no name; pass the function to be cached", fn)
	}
	// At the entry of a function FuncForPC names that function, never one that
	// was inlined into it.
	name := runtime.FuncForPC(v.Pointer()).Name()
	name, bound := strings.CutSuffix(name, "-fm")
	if !declared(name, bound) {
		return "", fmt.Errorf("%w: the compiler calls it %q, which changes with the code around it; pass region.Namespace(\"...\") to name it",
			ErrAnonymous, name)
	}
	return name, nil
}

// declared reports whether name is that of a function or method declared at
// package level; bound says that it is known to be a method.
func declared(name string, bound bool) bool {
	if name == "reflect.makeFuncStub" || name == "reflect.methodValueCall" {
		return false // what all functions made by reflect are called
	}
	// Both the import path and the type arguments may contain dots. The compiler
	// escapes those of the path's last element and runtime shows the arguments as
	// three.
	name = strings.Replace(name, "[...]", "", 1)
	name = name[strings.LastIndexByte(name, '/')+1:]
	_, name, _ = strings.Cut(name, ".")

	// A range-over-func body is F-range1, a local type T·1, and a method
	// promoted to an unnamed type has that type's braces in its name.
	if name == "" || strings.ContainsAny(name, "-·{}") {
		return false
	}
	switch elems := strings.Split(name, "."); len(elems) {
	case 1:
		return true // F, whatever it is: func1 may be a name like any other
	case 2:
		// T.M or (*T).M, unless it is the literal F.func1. A method of T that
		// is called func1 is taken for one, which is harmless.
		return bound || strings.HasPrefix(elems[0], "(") || !literal(elems[1])
	default:
		return false // a literal inside one of the above: T.M.func1, F.func1.2
	}
}

// literal reports whether elem is what the compiler calls a function without a
// name inside another function: func1, gowrap1, deferwrap1, or just 1.
func literal(elem string) bool {
	switch strings.TrimRight(elem, "0123456789") {
	case "", "func", "gowrap", "deferwrap":
		return true
	}
	return false
}
