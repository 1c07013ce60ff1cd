package argkey

import "testing"

// These are names that the compiler gives, also to functions that a program can
// hardly get hold of as values.
func TestDeclared(t *testing.T) {
	tests := map[string]bool{
		"main.Load":                    true,
		"main.func1":                   true,
		"main.function":                true,
		"github.com/a/b.c/d.Load":      true,
		"gopkg.in/yaml%2ev3.Marshal":   true,
		"example.com/go-cache.Load":    true,
		"main.T.M":                     true,
		"main.T.Do2":                   true,
		"main.(*T).M":                  true,
		"main.(*T).func1":              true,
		"main.F[...]":                  true,
		"main.(*T[...]).M":             true,
		"a.b/c.T[...].M":               true,
		"":                             false,
		"main.F.func1":                 false,
		"main.F.1":                     false,
		"main.F.gowrap1":               false,
		"main.F.deferwrap12":           false,
		"main.F-range1":                false,
		"main.F.func1-range2":          false,
		"main.F.func1.2":               false,
		"main.init.func1":              false,
		"main.init.0.func1":            false,
		"main.glob..func1":             false,
		"main.T.M.func1":               false,
		"main.(*T).M.func1":            false,
		"main.(*T[...]).M.func1":       false,
		"main.F[...].func1":            false,
		"main.main.F.func2":            false, // F, inlined into main
		"github.com/a/b.c/d.F.func1":   false,
		"gopkg.in/yaml%2ev3.F.func1.1": false,
		"main.T·1.M":                   false,
		"go:struct { *main.T }.M":      false,
		"reflect.makeFuncStub":         false,
		"reflect.methodValueCall":      false,
	}
	for name, want := range tests {
		if got := declared(name, false); got != want {
			t.Errorf("declared(%q) = %v", name, got)
		}
	}
	if !declared("main.T.func1", true) {
		t.Error("a method value called func1 is not declared")
	}
}
