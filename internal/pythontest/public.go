package pythontest

import "testing"

// Name is a public name of dogpile.cache.
type Name struct {
	// Name has the module in front: "dogpile.cache.region.CacheRegion.get". What a
	// decorated function has attached is "decorated.get", what a backend takes among its
	// arguments "dogpile.cache.backends.redis.RedisBackend.arguments.url". What overrides a
	// method of a class of dogpile.cache has no name of its own.
	Name string `json:"name"`
	// Kind is "class", "method", "attribute", "function", "constant", "argument", or
	// "backend", a name for configure.
	Kind string `json:"kind"`
	// Params are the parameters of what can be called, without self.
	Params []string `json:"params"`
}

// Public returns every public name of the package that is installed, with the modules that
// could not be imported because something else is not installed.
func (w *Worker) Public(t testing.TB) (names []Name, skipped []string) {
	t.Helper()
	var found struct {
		Names   []Name   `json:"names"`
		Skipped []string `json:"skipped"`
	}
	if err := w.call(request{"op": "public"}).into(&found); err != nil {
		t.Fatalf("the public names of dogpile.cache: %v", err)
	}
	return found.Names, found.Skipped
}
