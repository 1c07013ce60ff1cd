package region_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// substitute puts a backend in memory in the place of a region's.
func substitute(t *testing.T, r *region.Region) (b backend.Backend, restore func() error) {
	t.Helper()
	b = memory.New(memory.Config{})
	restore, err := r.Substitute(func(cfg *region.Config) { cfg.Backend, cfg.Expiration = b, time.Minute })
	if err != nil {
		t.Fatal(err)
	}
	return b, restore
}

func isClosed(t *testing.T, b backend.Backend, want bool) {
	t.Helper()
	_, err := b.Stamps(t.Context(), nil)
	if closed := errors.Is(err, backend.ErrClosed); closed != want {
		t.Errorf("the backend is closed: %v, want %v", closed, want)
	}
}

func TestNamed(t *testing.T) {
	if r := region.Named("nobody's region"); r != nil {
		t.Errorf("Named = %v for a name that nobody has declared", r.Name())
	}
	_, _, err := region.Get[int](t.Context(), region.Named("nobody's region"), "k")
	if !errors.Is(err, region.ErrNotConfigured) {
		t.Errorf("Get of a nil region = %v, want ErrNotConfigured", err)
	}
	for _, name := range region.Declared() {
		if name == "nobody's region" {
			t.Error("Named has declared a region")
		}
	}
	if declared := region.Declare("somebody's-region"); region.Named("somebody's-region") != declared {
		t.Error("Named does not find a declared region")
	}
}

func TestSubstituteAndRestore(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		b, restore := substitute(t, r)
		holds(t, r, "k", "")
		c := counting()
		c.value = func(int64) (string, error) { return "of the test", nil }
		must(t, r, "k", c, "of the test")
		must(t, r, "new", c, "of the test")
		if err := errors.Join(r.Delete(t.Context(), "k"), r.Invalidate(t.Context(), region.Hard)); err != nil {
			t.Error(err)
		}
		isClosed(t, cfg.Backend, false)
		if err := restore(); err != nil {
			t.Error(err)
		}
		isClosed(t, b, true)
		holds(t, r, "k", "v1")
		holds(t, r, "new", "")
		if err := restore(); err != nil {
			t.Errorf("a second restore = %v", err)
		}
		holds(t, r, "k", "v1")
	})
}

// A creation that is under way goes on where it has begun.
func TestSubstituteLeavesCreationsAlone(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		calls := herd(t, 5, r, "k", c)
		_, restore := substitute(t, r)
		other := blocking()
		here := herd(t, 5, r, "k", other)
		other.want(t, 1)
		c.release()
		allGot(t, calls, "v1")
		holds(t, r, "k", "")
		began := time.Now()
		restored := make(chan error)
		go func() { restored <- restore() }()
		synctest.Wait()
		if _, _, err := region.Get[string](t.Context(), r, "k"); !errors.Is(err, region.ErrClosed) {
			t.Errorf("Get while the substitute is being closed = %v, want ErrClosed", err)
		}
		other.release()
		allGot(t, here, "v1")
		if err := <-restored; err != nil || time.Since(began) != 0 {
			t.Errorf("restore = %v after %v", err, time.Since(began))
		}
		holds(t, r, "k", "v1")
		must(t, r, "k", other, "v1")
	})
}

// What hangs in the substitute does not start over in the former configuration.
func TestRestoreEndsWhatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, config(memory.Config{}))
		_, restore := substitute(t, r)
		c := blocking()
		calls := herd(t, 3, r, "k", c)
		if err := restore(); err != nil {
			t.Error(err)
		}
		for _, call := range calls {
			if a := <-call; !errors.Is(a.err, region.ErrClosed) {
				t.Errorf("a caller got %q, %v; want ErrClosed", a.value, a.err)
			}
		}
		c.want(t, 1)
		holds(t, r, "k", "")
	})
}

var unconfigured atomic.Int64 // regions that were declared by the test below

func TestSubstituteOfARegionThatIsNotConfigured(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := region.Declare(fmt.Sprint("substituted-unconfigured-", unconfigured.Add(1)))
		for _, want := range []error{region.ErrNotConfigured, region.ErrClosed} {
			b, restore := substitute(t, r)
			must(t, r, "k", counting(), "v1")
			if err := restore(); err != nil {
				t.Error(err)
			}
			isClosed(t, b, true)
			if _, _, err := region.Get[string](t.Context(), r, "k"); !errors.Is(err, want) {
				t.Errorf("Get = %v, want %v as before", err, want)
			}
			if err := r.Configure(config(memory.Config{})); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestSubstitutionsAreNested(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, config(memory.Config{}))
		must(t, r, "k", counting(), "v1")
		_, first := substitute(t, r)
		must(t, r, "k", counting(), "v1")
		_, second := substitute(t, r)
		if err := first(); err == nil {
			t.Error("a substitution was restored while a later one is in use")
		}
		holds(t, r, "k", "")
		if err := second(); err != nil {
			t.Error(err)
		}
		holds(t, r, "k", "v1")
		if err := r.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		if err := errors.Join(first(), first(), second()); err != nil {
			t.Error(err)
		}
		holds(t, r, "k", "v1")
	})
}

// Whatever the test does to the region's life, it is as it was.
func TestRestoreWhateverBecame(t *testing.T) {
	for name, change := range map[string]func(r *region.Region) error{
		"Close":       func(r *region.Region) error { return r.Close() },
		"Reconfigure": func(r *region.Region) error { return r.Reconfigure(config(memory.Config{})) },
		"Close and Configure": func(r *region.Region) error {
			return errors.Join(r.Close(), r.Configure(config(memory.Config{})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := open(t, config(memory.Config{}))
				must(t, r, "k", counting(), "v1")
				b, restore := substitute(t, r)
				if err := change(r); err != nil {
					t.Error(err)
				}
				isClosed(t, b, true)
				if err := restore(); err != nil {
					t.Error(err)
				}
				holds(t, r, "k", "v1")
			})
		})
	}
}

func TestSubstituteSeesTheConfiguration(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.NotFoundFor = time.Second
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		var seen region.Config
		restore, err := r.Substitute(func(c *region.Config) { seen = *c; c.Expiration = -7 })
		if !errors.Is(err, region.ErrConfig) || restore != nil {
			t.Errorf("Substitute of a bad configuration = %v", err)
		}
		if seen.Backend != cfg.Backend || seen.NotFoundFor != time.Second || seen.MaxWait != time.Minute {
			t.Errorf("it was given %+v, want what is in use, with defaults", seen)
		}
		holds(t, r, "k", "v1")
		restore, err = r.Substitute(func(c *region.Config) { c.Expiration = 10 * time.Second }) // with the same backend
		if err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "v1")
		time.Sleep(11 * time.Second)
		holds(t, r, "k", "")
		if err := restore(); err != nil {
			t.Error(err)
		}
		isClosed(t, cfg.Backend, false)
		holds(t, r, "k", "v1")
	})
	var none *region.Region
	if _, err := none.Substitute(func(*region.Config) {}); !errors.Is(err, region.ErrNotConfigured) {
		t.Errorf("Substitute of a nil region = %v, want ErrNotConfigured", err)
	}
}

// A service may be made anew for each test, but not to share what another one has stored.
func TestSubstituteAndKeySpaces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, config(memory.Config{}))
		a, b := region.Cached(r, (&repo{"a"}).load), region.Cached(r, (&repo{"b"}).load)
		want := func(f func(context.Context, int) (string, error), v string, err error) {
			t.Helper()
			if got, e := f(t.Context(), 1); got != v || !errors.Is(e, err) {
				t.Errorf("got %q, %v; want %q, %v", got, e, v, err)
			}
		}
		want(a, "a1", nil)
		_, restore := substitute(t, r)
		want(b, "b1", nil)
		want(a, "", region.ErrConfig)
		if err := restore(); err != nil {
			t.Error(err)
		}
		want(b, "", region.ErrConfig)
		want(a, "a1", nil)
		restore, err := r.Substitute(func(c *region.Config) { c.Expiration = time.Hour })
		if err != nil {
			t.Fatal(err)
		}
		want(b, "", region.ErrConfig)
		want(a, "a1", nil)
		if err := restore(); err != nil {
			t.Error(err)
		}
	})
}
