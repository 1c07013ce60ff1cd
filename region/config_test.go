package region_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/null"
	"github.com/dogpile-go/dogpile/region"
)

func TestABadConfigNamesEverythingThatIsWrong(t *testing.T) {
	good := func() region.Config { return region.Config{Backend: null.New(), Expiration: time.Minute} }
	for name, test := range map[string]struct {
		spoil func(*region.Config)
		want  []string
	}{
		"no backend":        {func(c *region.Config) { c.Backend = nil }, []string{"Backend", "memory.New"}},
		"nil pointer":       {func(c *region.Config) { c.Backend = (*null.Backend)(nil) }, []string{"Backend"}},
		"broken backend":    {func(c *region.Config) { c.Backend = memory.New(memory.Config{MaxEntries: -1}) }, []string{"Backend", "MaxEntries"}},
		"no expiration":     {func(c *region.Config) { c.Expiration = 0 }, []string{"Expiration", "region.Forever"}},
		"negative":          {func(c *region.Config) { c.Expiration = -2 }, []string{"Expiration", "negative"}},
		"negative StaleFor": {func(c *region.Config) { c.StaleFor = -5 }, []string{"StaleFor"}},
		"negative others":   {func(c *region.Config) { c.NotFoundFor, c.MaxWait, c.CreateTimeout, c.CloseTimeout = -1, -2, -2, -1 }, []string{"NotFoundFor", "MaxWait", "CreateTimeout", "CloseTimeout"}},
		"refresh":           {func(c *region.Config) { c.Refresh = 7 }, []string{"Refresh"}},
		"nil proxy":         {func(c *region.Config) { c.Wrap = []func(backend.Backend) backend.Backend{nil} }, []string{"Wrap[0]"}},
		"proxy returns nil": {func(c *region.Config) {
			c.Wrap = []func(backend.Backend) backend.Backend{func(backend.Backend) backend.Backend { return nil }}
		}, []string{"Wrap[0]"}},
		"useless observer": {func(c *region.Config) { c.Observer = 1 }, []string{"Observer"}},
		"several at once":  {func(c *region.Config) { *c = region.Config{Refresh: -1} }, []string{"Backend", "Expiration", "Refresh"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			test.spoil(&cfg)
			r, err := region.New("bad", cfg)
			if !errors.Is(err, region.ErrConfig) || r != nil {
				t.Fatalf("got %v, %v; want ErrConfig", r, err)
			}
			for _, want := range append(test.want, `"bad"`) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"users", "a", "A-z_0.9/x", strings.Repeat("n", 128)} {
		r, err := region.New(name, region.Config{Backend: null.New(), Expiration: time.Minute})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		r.Close()
	}
	for _, name := range []string{"", "a:b", "a b", "ü", "a\x00", strings.Repeat("n", 129)} {
		if _, err := region.New(name, region.Config{Backend: null.New(), Expiration: time.Minute}); !errors.Is(err, region.ErrConfig) {
			t.Errorf("%q: %v, want ErrConfig", name, err)
		}
	}
}

var lives atomic.Int64

func TestTheLifeOfADeclaredRegion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		name := fmt.Sprint("life-", lives.Add(1)) // the test may run more than once in a process
		r := region.Declare(name)
		if region.Declare(name) != r || !slices.Contains(region.Declared(), name) {
			t.Error("Declare makes two regions of one name, or forgets it")
		}
		if r.Name() != name {
			t.Errorf("its name is %q", r.Name())
		}
		everyOperationReturns(t, r, region.ErrNotConfigured)
		unused := region.Config{Backend: null.New(), Expiration: time.Minute}
		if err := r.Reconfigure(unused); !errors.Is(err, region.ErrNotConfigured) {
			t.Errorf("Reconfigure before Configure: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close before Configure: %v", err)
		}
		if err := r.Configure(region.Config{}); !errors.Is(err, region.ErrConfig) {
			t.Errorf("a bad Configure: %v", err)
		}
		everyOperationReturns(t, r, region.ErrNotConfigured)
		for range 2 {
			if err := r.Configure(config(memory.Config{})); err != nil {
				t.Fatal(err)
			}
			if err := r.Configure(unused); !errors.Is(err, region.ErrAlreadyConfigured) {
				t.Errorf("a second Configure: %v", err)
			}
			must(t, r, "k", counting(), "v1")
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("a second Close: %v", err)
			}
			everyOperationReturns(t, r, region.ErrClosed)
		}
		everyOperationReturns(t, nil, region.ErrNotConfigured)
	})
}

func everyOperationReturns(t *testing.T, r *region.Region, want error) {
	t.Helper()
	ctx, c, l := t.Context(), counting(), &loader{}
	_, goc := region.GetOrCreate(ctx, r, "k", c.create)
	_, gocm := region.GetOrCreateMulti(ctx, r, []string{"k"}, l.create)
	_, _, get := region.Get[string](ctx, r, "k")
	_, getm := region.GetMulti[string](ctx, r, []string{"k"})
	for what, err := range map[string]error{
		"GetOrCreate": goc, "GetOrCreateMulti": gocm, "Get": get, "GetMulti": getm,
		"Set": region.Set(ctx, r, "k", "v"), "SetMulti": region.SetMulti(ctx, r, values("k")),
		"Delete": r.Delete(ctx, "k"), "Invalidate": r.Invalidate(ctx, region.Hard),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	c.want(t, 0)
	l.want(t)
}

func TestBadCallsAreClearErrors(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, ctx := open(t, cfg), t.Context()
		if _, err := region.GetOrCreate[int](ctx, r, "k", nil); !errors.Is(err, region.ErrNilCreator) {
			t.Errorf("a nil creator: %v", err)
		}
		if _, err := region.GetOrCreateMulti[int](ctx, r, []string{"k"}, nil); !errors.Is(err, region.ErrNilCreator) {
			t.Errorf("a nil batch creator: %v", err)
		}
		if _, err := region.GetOrCreate(ctx, r, "k", counting().create, region.WithExpiration(-2)); !errors.Is(err, region.ErrConfig) {
			t.Errorf("a negative expiration: %v", err)
		}
		if err := region.Set(ctx, r, "k", 1, region.WithExpiration(-2)); !errors.Is(err, region.ErrConfig) {
			t.Errorf("a negative expiration of Set: %v", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		c := counting()
		if _, err := region.GetOrCreate(ended, r, "k", c.create); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context: %v", err)
		}
		c.want(t, 0)
	})
}

func TestAnyKeyWorks(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		for _, key := range []string{"", strings.Repeat("k", 64<<10), "\x00", "a b\r\n", "\xff", ":", "test:k"} {
			must(t, r, key, counting(), "v1")
			must(t, r, key, counting(), "v1")
			must(t, r, key+"x", counting(), "v1")
		}
	})
}

func TestCloseWaitsForCreations(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		calls := herd(t, 5, r, "k", c)
		closed := make(chan error, 1)
		go func() { closed <- r.Close() }()
		synctest.Wait()
		everyOperationReturns(t, r, region.ErrClosed)
		select {
		case err := <-closed:
			t.Fatalf("Close returned (%v) while a creation ran", err)
		default:
		}
		c.release()
		allGot(t, calls, "v1")
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseCancelsWhatTakesTooLong(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.CloseTimeout = time.Second
		r, c := open(t, cfg), blocking()
		calls := herd(t, 5, r, "k", c)
		began := time.Now()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v, want 1s", took)
		}
		for _, call := range calls {
			if a := <-call; !errors.Is(a.err, region.ErrClosed) {
				t.Errorf("a waiter got %q, %v; want ErrClosed", a.value, a.err)
			}
		}
	})
}

func TestCloseTellsOfCreatorsThatCannotBeStopped(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, err := region.New("test", cfg)
		if err != nil {
			t.Fatal(err)
		}
		hang := make(chan struct{})
		go region.GetOrCreate(t.Context(), r, "k", func(context.Context) (int, error) { <-hang; return 0, nil })
		synctest.Wait()
		if err := r.Close(); err == nil || !strings.Contains(err.Error(), "1 creator") {
			t.Errorf("Close = %v; want it to tell of the creator", err)
		}
		close(hang)
	})
}

func TestTheLastRegionClosesTheBackend(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := config(memory.Config{})
		a, b := open(t, cfg), open(t, cfg)
		must(t, a, "k", counting(), "v1")
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		holds(t, b, "k", "v1")
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cfg.Backend.Stamps(ctx, []backend.Guard{{Region: "test"}}); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("the backend is still open: %v", err)
		}

		kept := config(memory.Config{})
		kept.KeepBackendOpen = true
		c := open(t, kept)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Backend.Stamps(ctx, []backend.Guard{{Region: "test"}}); err != nil {
			t.Errorf("the backend is closed though it was to be kept open: %v", err)
		}
		if err := kept.Backend.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestReconfigureSwapsTheBackendUnderTraffic(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		old := cfg.Backend
		under := herd(t, 5, r, "k", c)
		next := config(memory.Config{})
		swapped := make(chan error, 1)
		go func() { swapped <- r.Reconfigure(next) }()
		synctest.Wait()
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new", nil }
		must(t, r, "k", fresh, "new") // on the new backend, while the old creation runs
		c.release()
		allGot(t, under, "v1")
		if err := <-swapped; err != nil {
			t.Error(err)
		}
		holds(t, r, "k", "new")
		if _, err := old.Stamps(t.Context(), []backend.Guard{{Region: "test"}}); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("the old backend is still open: %v", err)
		}
		if err := r.Reconfigure(region.Config{}); !errors.Is(err, region.ErrConfig) {
			t.Errorf("a bad Reconfigure: %v", err)
		}
		holds(t, r, "k", "new")
	})
}
