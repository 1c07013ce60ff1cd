package region_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/null"
	"github.com/dogpile-go/dogpile/region"
)

func TestPerCallExpiration(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		time.Sleep(30 * time.Second)
		must(t, r, "k", c, "v1")
		must(t, r, "k", c, "v2", region.WithExpiration(10*time.Second))
		time.Sleep(10 * time.Minute)
		must(t, r, "k", c, "v2", region.WithExpiration(region.Forever))
		must(t, r, "k", c, "v3", region.WithExpiration(0))
		must(t, r, "k", c, "v3")
		time.Sleep(30 * time.Second)
		if _, ok, _ := region.Get[string](t.Context(), r, "k", region.WithExpiration(time.Second)); ok {
			t.Error("Get does not judge by the call's expiration")
		}
		if err := region.Set(t.Context(), r, "long", "v", region.WithExpiration(time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Minute)
		if _, ok, _ := region.Get[string](t.Context(), r, "long", region.AllowStale(), region.WithExpiration(time.Hour)); !ok {
			t.Error("Set does not keep by the call's expiration")
		}
	})
}

func TestExpirationZeroWaitsForACreationAfterItCame(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, old := open(t, cfg), blocking()
		running := herd(t, 1, r, "k", old)
		c := blocking()
		c.value = func(int64) (string, error) { return "new", nil }
		refreshing := herd(t, 3, r, "k", c, region.WithExpiration(0))
		c.want(t, 0)
		old.release()
		allGot(t, running, "v1")
		synctest.Wait()
		c.want(t, 1)
		c.release()
		allGot(t, refreshing, "new")
		c.want(t, 1)
	})
}

// A refresh does not take what its flight has only read.
func TestARefreshIsNotContentWithAnothersValue(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		elsewhere, r := open(t, cfg), open(t, cfg)
		old := blocking()
		creating := herd(t, 1, elsewhere, "k", old)
		waiting := herd(t, 1, r, "k", counting()) // its flight waits for the lease
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new", nil }
		refreshing := herd(t, 1, r, "k", fresh, region.WithExpiration(0))
		old.release()
		allGot(t, creating, "v1")
		allGot(t, waiting, "v1")
		allGot(t, refreshing, "new")
	})
}

func TestTheShorterOfTwoExpirationsCounts(t *testing.T) {
	for name, test := range map[string]struct{ own, call time.Duration }{
		"the call's":  {10 * time.Minute, time.Minute},
		"the value's": {time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				r := open(t, cfg)
				if err := region.Set(t.Context(), r, "k", "v", region.WithExpiration(test.own)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if _, ok, _ := region.Get[string](t.Context(), r, "k", region.WithExpiration(test.call)); ok {
					t.Error("it is still fresh")
				}
			})
		})
	}
}

func TestSetWithExpirationIsTheValuesOwn(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) { // Expiration: one minute, StaleFor: one hour
		r := open(t, cfg)
		region.Set(t.Context(), r, "short", "v", region.WithExpiration(time.Second))
		region.Set(t.Context(), r, "long", "v", region.WithExpiration(time.Hour))
		time.Sleep(30 * time.Second)
		holds(t, r, "short", "")
		time.Sleep(time.Minute)
		holds(t, r, "long", "v")
	})
}

var late *struct{ ttl time.Duration }

func TestAnExpirationIsEvaluatedAtCallsOnly(t *testing.T) {
	r := region.Declare("edge-late")
	noPanic(t, "binding", func() {
		region.Cached(r, load1, region.Namespace("a"), region.WithExpirationFunc(func() time.Duration { return late.ttl }))
	})
	configured := false
	f := region.Cached(r, load1, region.Namespace("b"), region.WithExpirationFunc(func() time.Duration {
		if !configured {
			return -5
		}
		return time.Minute
	}))
	configured = true
	if err := r.Configure(region.Config{Backend: null.New(), Expiration: time.Minute}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := f(t.Context(), 1); err != nil {
		t.Errorf("a value from before main has broken the wrapper for ever: %v", err)
	}
}

// spyTTL notes how long each item is to be kept.
type spyTTL struct {
	backend.Backend
	ttl atomic.Int64
}

func (s *spyTTL) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	s.ttl.Store(int64(items[0].TTL))
	return s.Backend.Set(ctx, items, guards)
}

func TestValuesAreKeptUntilTheyAreDead(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) { // Expiration a minute, StaleFor an hour
		cfg.NotFoundFor = 5 * time.Second
		spy := &spyTTL{}
		cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { spy.Backend = b; return spy })
		r, ctx := open(t, cfg), t.Context()
		create := func(say func(*region.Creation), err error, opts ...region.CallOption) func(key string) {
			return func(key string) {
				region.GetOrCreate(ctx, r, key, func(ctx context.Context) (string, error) {
					say(region.FromContext(ctx))
					return "v", err
				}, opts...)
			}
		}
		nothing := func(*region.Creation) {}
		for name, test := range map[string]struct {
			store func(key string)
			want  time.Duration
		}{
			"the region's":          {create(nothing, nil), time.Minute + time.Hour},
			"the call's":            {create(nothing, nil, region.WithExpiration(2*time.Minute)), 2*time.Minute + time.Hour},
			"zero keeps as always":  {create(nothing, nil, region.WithExpiration(0)), time.Minute + time.Hour},
			"the creator's":         {create(func(c *region.Creation) { c.SetExpiration(3 * time.Minute) }, nil), 3*time.Minute + time.Hour},
			"the creator's forever": {create(func(c *region.Creation) { c.SetExpiration(region.Forever) }, nil), 0},
			"not found":             {create(nothing, region.ErrNotFound), 5 * time.Second},
			"Set":                   {func(key string) { region.Set(ctx, r, key, "v") }, time.Minute + time.Hour},
			"Set with its own":      {func(key string) { region.Set(ctx, r, key, "v", region.WithExpiration(time.Second)) }, time.Second + time.Hour},
			"Set for ever":          {func(key string) { region.Set(ctx, r, key, "v", region.WithExpiration(region.Forever)) }, 0},
		} {
			test.store(name)
			got := time.Duration(spy.ttl.Load())
			if got < test.want || got > test.want+test.want/20+time.Second || test.want == 0 && got != 0 {
				t.Errorf("%s: kept for %v, want %v and up to a twentieth", name, got, test.want)
			}
		}
	})
}

// clocked is a backend whose server has a clock of its own.
type clocked struct {
	backend.Backend
	ahead time.Duration
}

func (c *clocked) Now() time.Time { return time.Now().Add(c.ahead) }

func TestAgesAreInTheBackendsTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		server := &clocked{Backend: memory.New(memory.Config{Copy: true}), ahead: 15 * time.Minute}
		r := open(t, region.Config{Backend: server, Expiration: time.Minute})
		must(t, r, "k", counting(), "v1")
		holds(t, r, "k", "v1")
		server.ahead += 2 * time.Minute
		holds(t, r, "k", "")
		server.ahead -= time.Hour // set back: it does not live for ever for that
		holds(t, r, "k", "v1")
	})
}
