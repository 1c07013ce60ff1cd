package regiontest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regiontest"
)

// production configures a declared region as a program does, with one value in it.
func production(t *testing.T, name string) (*region.Region, backend.Backend) {
	t.Helper()
	r, b, mutex := region.Declare(name), memory.New(memory.Config{}), local.New()
	if err := r.Configure(region.Config{Backend: b, Mutex: mutex, KeepBackendOpen: true, Expiration: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), b.Close(), mutex.Close()); err != nil {
			t.Error(err)
		}
	})
	ask(t, r, "k")
	return r, b
}

// has reports whether the region has a value for k.
func has(t *testing.T, r *region.Region, want bool) {
	t.Helper()
	if _, ok, err := region.Get[int](t.Context(), r, "k"); ok != want || err != nil {
		t.Errorf("Get = %v, %v; want %v", ok, err, want)
	}
}

func isClosed(t *testing.T, b backend.Backend, want bool) {
	t.Helper()
	_, err := b.Stamps(context.Background(), nil)
	if closed := errors.Is(err, backend.ErrClosed); closed != want {
		t.Errorf("the backend is closed: %v, want %v", closed, want)
	}
}

func TestSwap(t *testing.T) {
	users, former := production(t, "regiontest.swap")
	spare := memory.New(memory.Config{})
	defer spare.Close()
	for name, part := range map[string]func(t *testing.T){
		"another backend": func(t *testing.T) {
			b := memory.New(memory.Config{})
			t.Cleanup(func() { isClosed(t, b, true) }) // after the region has given it back
			regiontest.Swap(t, region.Named("regiontest.swap"), b)
			has(t, users, false)
			ask(t, users, "k")
			has(t, users, true)
			regiontest.Fresh(t, users)
			has(t, users, false)
			if err := users.Delete(t.Context(), "k"); err != nil {
				t.Error(err)
			}
			isClosed(t, former, false)
		},
		"no backend": func(t *testing.T) {
			regiontest.Swap(t, users, nil, nil)
			has(t, users, false)
		},
		"in a bubble": func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				regiontest.Swap(t, users, memory.New(memory.Config{Copy: true}))
				ask(t, users, "k")
				time.Sleep(59 * time.Second) // the expiration is the region's still
				has(t, users, true)
				time.Sleep(2 * time.Second)
				has(t, users, false)
			})
		},
		"another configuration": func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mutex any = "not looked at"
				regiontest.Swap(t, users, nil, func(c *region.Config) { mutex, c.Expiration = c.Mutex, time.Second })
				ask(t, users, "k")
				time.Sleep(2 * time.Second)
				has(t, users, false)
				if mutex != nil {
					t.Error("the mutex of the former backend is used")
				}
			})
		},
		"a backend that stays open": func(t *testing.T) {
			regiontest.Swap(t, users, spare, func(c *region.Config) { c.KeepBackendOpen = true })
		},
		"the region is closed": func(t *testing.T) {
			regiontest.Swap(t, users, nil)
			if err := users.Close(); err != nil {
				t.Error(err)
			}
		},
		"twice": func(t *testing.T) {
			regiontest.Swap(t, users, nil)
			ask(t, users, "k")
			t.Run("and by a subtest", func(t *testing.T) {
				regiontest.Swap(t, users, nil)
				has(t, users, false)
				regiontest.Swap(t, users, nil)
				has(t, users, false)
			})
			has(t, users, true)
		},
	} {
		t.Run(name, part)
		has(t, users, true)
		isClosed(t, former, false)
	}
	isClosed(t, spare, false)
}

func TestSwapOfARegionThatIsNotConfigured(t *testing.T) {
	r := region.Declare("regiontest.unconfigured")
	for _, copied := range []bool{false, true} {
		b := memory.New(memory.Config{Copy: copied})
		t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				regiontest.Swap(t, r, b)
				ask(t, r, "k")
				time.Sleep(59 * time.Minute)
				has(t, r, true)
			})
		})
		isClosed(t, b, true)
		if _, _, err := region.Get[int](t.Context(), r, "k"); !errors.Is(err, region.ErrNotConfigured) {
			t.Errorf("Get = %v, want region.ErrNotConfigured as before", err)
		}
	}
}

// No backend is left behind where configure brings one along: a bubble would not end.
func TestSwapWhoseConfigureHasABackend(t *testing.T) {
	r := region.Declare("regiontest.brought")
	synctest.Test(t, func(t *testing.T) {
		regiontest.Swap(t, r, nil, func(cfg *region.Config) { cfg.Backend = memory.New(memory.Config{}) })
		ask(t, r, "k")
	})
}

func TestSwapOfADisabledRegion(t *testing.T) {
	r := region.Declare("regiontest.disabled")
	regiontest.Configure(t, r, func(c *region.Config) { c.Disabled = true })
	t.Run("", func(t *testing.T) {
		regiontest.Swap(t, r, nil)
		ask(t, r, "k")
		has(t, r, true)
	})
	ask(t, r, "k")
	has(t, r, false)
}

func TestSwapAfterConfigure(t *testing.T) {
	r := region.Declare("regiontest.configured")
	regiontest.Configure(t, r)
	ask(t, r, "k")
	t.Run("", func(t *testing.T) {
		regiontest.Swap(t, r, nil)
		has(t, r, false)
	})
	has(t, r, true)
}

// Parallel tests that want one region.
func TestWhoHasARegion(t *testing.T) {
	users, _ := production(t, "regiontest.parallel")
	regiontest.Swap(t, users, nil)
	words := []string{`the region "regiontest.parallel" belongs to the test ` + t.Name(), "regiontest.New"}
	told(t, func(f *fake) { regiontest.Swap(f, users, nil) }, append(words, "regiontest.Swap")...)
	told(t, func(f *fake) { regiontest.Configure(f, users) }, append(words, "regiontest.Configure")...)
	// Two subtests side by side: the first has it until it ends.
	t.Run("first", func(t *testing.T) {
		regiontest.Swap(t, users, nil)
		told(t, func(f *fake) { f.name = "TestWhoHasARegion/second"; regiontest.Swap(f, users, nil) }, "belongs to the test "+t.Name())
		told(t, func(f *fake) { f.name = t.Name() + "'s sibling"; regiontest.Swap(f, users, nil) }, "belongs to the test "+t.Name())
	})
	t.Run("second", func(t *testing.T) { regiontest.Swap(t, users, nil) })
}

func TestSwapThatFails(t *testing.T) {
	users, _ := production(t, "regiontest.fails")
	told(t, func(f *fake) { regiontest.Swap(f, region.Named("regiontest.nobody's"), nil) }, "the region is nil", "regiontest.fails")
	told(t, func(f *fake) { regiontest.Swap(f, users, nil, func(c *region.Config) { c.Expiration = -7 }) }, "regiontest.Swap", "Expiration")
	has(t, users, true)
	t.Run("", func(t *testing.T) { regiontest.Swap(t, users, nil) }) // it is free

	// What goes wrong at the end.
	failing := &unclosable{memory.New(memory.Config{})}
	told(t, func(f *fake) { regiontest.Swap(f, users, failing) }, "regiontest.Swap", "will not close")
	has(t, users, true)
}

type unclosable struct{ backend.Backend }

func (u *unclosable) Close() error {
	return errors.Join(u.Backend.Close(), errors.New("will not close"))
}
