package regiontest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func one(context.Context) (int, error) { return 1, nil }

func ask(t *testing.T, r *region.Region, key string, opts ...region.CallOption) {
	t.Helper()
	if v, err := region.GetOrCreate(t.Context(), r, key, one, opts...); v != 1 || err != nil {
		t.Fatal(v, err)
	}
}

func TestRegionsAreIsolated(t *testing.T) {
	shared := memory.New(memory.Config{})
	defer shared.Close()
	on := func(c *region.Config) { c.Backend, c.KeepBackendOpen = shared, true }
	a, b := regiontest.New(t, on), regiontest.New(t, on, nil)
	ask(t, a, "k")
	if _, ok, err := region.Get[int](t.Context(), b, "k"); ok || err != nil {
		t.Errorf("the other region has the value: %v, %v", ok, err)
	}
	t.Run("names, with 'any' <bytes> "+strings.Repeat("x", 300), func(t *testing.T) { ask(t, regiontest.New(t), "k") })
}

func TestConfigureAgainAndAgain(t *testing.T) {
	users := region.Declare("regiontest.users")
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			regiontest.Configure(t, users, func(c *region.Config) { c.Expiration = time.Minute })
			did := regiontest.Watch(t, users)
			ask(t, users, "k")
			ask(t, users, "k")
			did.Creations(1)
			did.Hits(1)
		})
	}
}

func TestFresh(t *testing.T) {
	for name, copied := range map[string]bool{"values": false, "bytes": true} {
		t.Run(name, func(t *testing.T) {
			r := regiontest.New(t, func(c *region.Config) { c.Backend = memory.New(memory.Config{Copy: copied}) })
			did := regiontest.Watch(t, r)
			ask(t, r, "k")
			ask(t, r, "k")
			did.Creations(1)
			regiontest.Fresh(t, r)
			if _, ok, err := region.Get[int](t.Context(), r, "k", region.AllowStale()); ok || err != nil {
				t.Errorf("an old value is there: %v, %v", ok, err)
			}
			ask(t, r, "k")
			ask(t, r, "k")
			did.Creations(2)
			did.Hits(2)
			did.Invalidations(1)
			did.NoErrors()
		})
	}
}

// obedient is a backend that does nothing when its context has ended, as those are that
// talk to a server.
type obedient struct{ backend.Backend }

func (o obedient) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return o.Backend.Renew(ctx, guards, soft)
}

// In a cleanup the test's context has ended.
func TestFreshInACleanup(t *testing.T) {
	r := regiontest.New(t, func(c *region.Config) { c.Backend = &obedient{memory.New(memory.Config{})} })
	did := regiontest.Watch(t, r)
	t.Run("inner", func(t *testing.T) {
		t.Cleanup(func() { regiontest.Fresh(t, r) })
	})
	did.Invalidations(1)
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := regiontest.New(t, func(c *region.Config) { c.Refresh = region.Background })
		did := regiontest.Watch(t, r)
		ask(t, r, "k")
		did.Creations(1)
		did.Misses(1)
		did.Hits(0)
		time.Sleep(time.Hour + time.Second)
		ask(t, r, "k") // stale, and created anew
		synctest.Wait()
		did.StaleHits(1)
		did.Creations(2)
		did.Again()
		did.Creations(0)
		fails := func(context.Context) (int, error) { return 0, errors.New("no") }
		if _, err := region.GetOrCreate(t.Context(), r, "l", fails); err == nil {
			t.Error("no error")
		}
		did.FailedCreations(1)
		if err := r.Delete(t.Context(), "k", "l"); err != nil {
			t.Error(err)
		}
		did.Invalidations(2)
	})
}

// fake records what a test is told.
type fake struct {
	testing.TB
	failed, ended bool
	said, name    string
	ctx           context.Context
	cleanups      []func()
}

func (f *fake) Helper()                  {}
func (f *fake) Name() string             { return cmp.Or(f.name, "fake") }
func (f *fake) Cleanup(c func())         { f.cleanups = append(f.cleanups, c) }
func (f *fake) Context() context.Context { return cmp.Or(f.ctx, context.Background()) }
func (f *fake) Errorf(format string, args ...any) {
	f.failed, f.said = true, fmt.Sprintf(format, args...)
}
func (f *fake) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	f.ended = true
	panic(f)
}

// end is what happens when a test has ended.
func (f *fake) end() {
	for _, c := range slices.Backward(f.cleanups) {
		c()
	}
}

// told runs part of a test that is expected to fail.
func told(t *testing.T, part func(f *fake), words ...string) {
	t.Helper()
	f := new(fake)
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(f) {
				panic(p)
			}
		}()
		part(f)
	}()
	f.end()
	if !f.failed {
		t.Errorf("it did not fail; want words such as %q", words)
	}
	for _, word := range words {
		if !strings.Contains(f.said, word) {
			t.Errorf("it says %q, without %q", f.said, word)
		}
	}
}

func TestFailures(t *testing.T) {
	r := regiontest.New(t)
	ask(t, r, "k")
	for name, c := range map[string]struct {
		part  func(f *fake)
		words []string
	}{
		"Creations":       {func(f *fake) { w := regiontest.Watch(f, r); ask(t, r, "new"); w.Creations(2) }, []string{"1 values were created, want 2", r.Name()}},
		"FailedCreations": {func(f *fake) { regiontest.Watch(f, r).FailedCreations(1) }, []string{"want 1"}},
		"Hits":            {func(f *fake) { w := regiontest.Watch(f, r); ask(t, r, "k"); w.Hits(0) }, []string{"1 reads", "want 0"}},
		"StaleHits":       {func(f *fake) { regiontest.Watch(f, r).StaleHits(1) }, []string{"0 reads"}},
		"Misses":          {func(f *fake) { regiontest.Watch(f, r).Misses(1) }, []string{"0 reads"}},
		"Invalidations":   {func(f *fake) { regiontest.Watch(f, r).Invalidations(1) }, []string{"0 invalidations"}},
		"a bad configuration": {func(f *fake) { regiontest.New(f, func(c *region.Config) { c.Expiration = -7 }) },
			[]string{"Expiration"}},
		"configured already": {func(f *fake) { regiontest.Configure(f, r) }, []string{"configured already"}},
		"Fresh of a closed region": {func(f *fake) {
			r := regiontest.New(f)
			r.Close()
			regiontest.Fresh(f, r)
		}, []string{"closed"}},
	} {
		t.Run(name, func(t *testing.T) { told(t, c.part, c.words...) })
	}
	told(t, func(f *fake) {
		broken := regiontest.New(t, func(c *region.Config) { c.Backend = memory.New(memory.Config{Copy: true}) })
		w := regiontest.Watch(f, broken)
		ask(t, broken, "k")
		if _, ok, err := region.Get[string](t.Context(), broken, "k"); ok || err != nil {
			t.Error(ok, err)
		}
		w.NoErrors()
	}, "1 reads found values of another type or codec")
}
