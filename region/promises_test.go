package region_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/codec/json"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

// Config.Mutex lets this process create though the backend's lease is held by
// somebody else: then nothing is stored, and nothing is proved.
func TestWhatTheBackendsLeaseForbidsIsNeitherStoredNorShared(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by := open(t, cfg)
		if _, _, err := cfg.Backend.Acquire(t.Context(), []backend.Key{{Region: "test", Name: "k"}}, nil); err != nil {
			t.Fatal(err)
		}
		cfg.Mutex = local.New()
		r, old := open(t, cfg), blocking()
		old.value = func(int64) (string, error) { return "old row", nil }
		before := herd(t, 1, r, "k", old)
		if err := by.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new row", nil }
		after := herd(t, 3, r, "k", fresh)
		old.release()
		allGot(t, before, "old row")
		allGot(t, after, "new row")
		holds(t, r, "k", "new row")
	})
}

// The same, but the value is there by then: it is found although no lease was granted
// under which it would have been re-read.
func TestWhoIsGrantedTheMutexAloneLooksAgainToo(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by, c := open(t, cfg), counting()
		inner := cfg.Backend
		cfg.Mutex = local.New()
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "acquire" {
				must(t, by, "k", c, "v1")
				if _, _, err := inner.Acquire(t.Context(), []backend.Key{{Region: "test", Name: "k"}}, nil); err != nil {
					t.Error(err)
				}
			}
		}}))
		must(t, open(t, cfg), "k", c, "v1")
		c.want(t, 1)
	})
}

// Neither does a broken mutex keep the backend's leases from being waited for.
func TestAMutexThatFailsIsNotWaitedFor(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		elsewhere, c := open(t, cfg), blocking()
		first := herd(t, 1, elsewhere, "k", c)
		cfg.Mutex = brokenMutex{local.New()}
		second := herd(t, 3, open(t, cfg), "k", c)
		c.want(t, 1)
		c.release()
		allGot(t, append(first, second...), "v1")
		c.want(t, 1)
	})
}

// A caller whose context ends while the backend is asked whether anything was
// invalidated gets that end, and no value that was not proved.
func TestTheDeadlineEndsTheQuestionToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		by := open(t, cfg)
		failure := errors.New("blip")
		slow := &slowBackend{}
		cfg.Wrap = append(cfg.Wrap,
			func(b backend.Backend) backend.Backend { slow.Backend = b; return slow },
			probing(&probe{fail: func(op string) error {
				if op == "set" {
					slow.on.Store(true) // from now on Get hangs
					return failure
				}
				return nil
			}}))
		r, old := open(t, cfg), blocking()
		before := herd(t, 1, r, "k", old)
		if err := by.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		after := background(ctx, r, "k", counting())
		synctest.Wait()
		old.release()
		allGot(t, before, "v1")
		if a := <-after; !errors.Is(a.err, context.DeadlineExceeded) {
			t.Errorf("who came after the Delete got %q, %v; want its deadline", a.value, a.err)
		}
		slow.on.Store(false)
	})
}

func TestAValueIsStoredThoughItsLastCallerLeavesMeanwhile(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx, cancel := context.WithCancel(t.Context())
		cfg.Wrap = append(cfg.Wrap, contextual, probing(&probe{before: func(op string) {
			if op == "set" {
				cancel()
				time.Sleep(time.Second) // until the caller has gone
			}
		}}))
		r := open(t, cfg)
		if a := <-background(ctx, r, "k", counting()); !errors.Is(a.err, context.Canceled) {
			t.Errorf("the caller got %q, %v", a.value, a.err)
		}
		time.Sleep(2 * time.Second)
		holds(t, r, "k", "v1")
		must(t, r, "k", counting(), "v1") // and the lease is free
	})
}

// contextual puts a backend under a proxy that heeds the contexts it is given.
func contextual(b backend.Backend) backend.Backend { return heedful{b} }

type heedful struct{ backend.Backend }

func (h heedful) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	stamps, err := h.Backend.Set(ctx, items, guards)
	if ctx.Err() != nil {
		for _, item := range items { // as if it had not been sent
			h.Backend.Delete(context.Background(), []backend.Key{item.Key})
		}
		return nil, ctx.Err()
	}
	return stamps, err
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

func TestNotFoundIsNeverStale(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = time.Minute
		r, none := open(t, cfg), counting()
		none.value = func(int64) (string, error) { return "", region.ErrNotFound }
		if a := <-background(t.Context(), r, "k", none); !errors.Is(a.err, region.ErrNotFound) {
			t.Fatal(a.err)
		}
		if err := r.Invalidate(t.Context(), region.Soft); err != nil {
			t.Fatal(err)
		}
		c := blocking()
		calls := herd(t, 5, r, "k", c) // all of them wait: there is nothing to serve
		c.release()
		allGot(t, calls, "v1")
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

type undecodable struct{ N int }

func (undecodable) MarshalJSON() ([]byte, error) { return []byte("1"), nil }
func (*undecodable) UnmarshalJSON([]byte) error  { panic("no") }

func TestAValueWhoseDecodingPanicsIsAMissAndAnEvent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		cfg.Codec = json.New()
		r := open(t, cfg)
		if err := region.Set(t.Context(), r, "k", undecodable{}); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := region.Get[undecodable](t.Context(), r, "k"); ok || err != nil {
			t.Errorf("Get = %v, %v; want a miss", ok, err)
		}
		if s := r.Stats(); s.BadEntries != 1 {
			t.Errorf("%d bad entries, want 1", s.BadEntries)
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

func TestTheCreatorOfABatchMayDoWhatItLikesWithItsKeys(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		rec := &recorder{}
		cfg.Observer = rec
		r := open(t, cfg)
		got, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, func(_ context.Context, missing []string) (map[string]string, error) {
			m := values(missing...)
			clear(missing)
			return m, nil
		})
		if err != nil || !maps.Equal(got, values("a", "b")) {
			t.Errorf("got %v, %v", got, err)
		}
		if keys := rec.creations[0].Keys; !slices.Equal(keys, []string{"a", "b"}) {
			t.Errorf("the event says %q", keys)
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

func TestReconfigureSendsCallersToTheNewBackend(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.CloseTimeout = time.Second
		r, c := open(t, cfg), blocking()
		calls := herd(t, 3, r, "k", c)
		batch := make(chan error, 1)
		l := &loader{gate: c.gate}
		go func() {
			_, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, l.create)
			batch <- err
		}()
		synctest.Wait()
		if err := r.Reconfigure(config(memory.Config{})); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		c.release()
		allGot(t, calls, "v2") // the first creation was cancelled
		if err := <-batch; err != nil {
			t.Error(err)
		}
		holds(t, r, "k", "v2")
	})
}

// The error of another region, which a creator passes on, is an error like any other.
func TestACreatorsErrReconfiguredIsNotTheRegionsOwn(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		c.value = func(int64) (string, error) { return "", fmt.Errorf("another region: %w", region.ErrReconfigured) }
		if a := <-background(t.Context(), r, "k", c); !errors.Is(a.err, region.ErrReconfigured) {
			t.Errorf("got %v", a.err)
		}
		c.want(t, 1)
	})
}

func TestReconfigureLeavesKeySpacesWithTheirWrappers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		r := open(t, cfg)
		a, b := region.Cached(r, (&repo{"a"}).load), region.Cached(r, (&repo{"b"}).load)
		if v, err := a(t.Context(), 1); v != "a1" || err != nil {
			t.Fatal(v, err)
		}
		if err := r.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		if v, err := b(t.Context(), 1); !errors.Is(err, region.ErrConfig) {
			t.Errorf("the second wrapper got %q, %v; want ErrConfig", v, err)
		}
		if v, err := a(t.Context(), 1); v != "a1" || err != nil {
			t.Errorf("the first wrapper got %q, %v", v, err)
		}
	})
}

// counted embeds the backend's own type, with all that it can do besides.
type counted struct {
	*memory.Backend
	gets int
}

func (c *counted) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	c.gets++
	return c.Backend.Get(ctx, key, guards)
}

func TestAProxyOfTheBackendsOwnTypeSeesEveryReadToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := memory.New(memory.Config{})
		proxy := &counted{Backend: store}
		r := open(t, region.Config{Backend: store, Expiration: time.Minute,
			Wrap: []func(backend.Backend) backend.Backend{func(backend.Backend) backend.Backend { return proxy }}})
		must(t, r, "k", counting(), "v1")
		proxy.gets = 0
		for range 3 {
			must(t, r, "k", counting(), "v1")
		}
		if proxy.gets != 3 {
			t.Errorf("the proxy saw %d of 3 reads", proxy.gets)
		}
	})
}

func TestWritesEndAtMaxWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.MaxWait = time.Second
		slow := &slowBackend{}
		cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { slow.Backend = b; return slow })
		r := open(t, cfg)
		slow.on.Store(true)
		for what, err := range map[string]error{"Set": region.Set(t.Context(), r, "k", "v"), "Delete": r.Delete(t.Context(), "k")} {
			if !errors.Is(err, region.ErrMaxWait) {
				t.Errorf("%s = %v, want ErrMaxWait", what, err)
			}
		}
		if s := r.Stats(); s.Errors != 0 {
			t.Errorf("%d failures of the backend were counted", s.Errors)
		}
		slow.on.Store(false)
	})
}

func TestAFreshValueDoesNotHideReentrancy(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		f := region.Bind1(r, load1)
		key, err := f.Key(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Call(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		var byKey, bound, batch error
		_, err = region.GetOrCreate(t.Context(), r, key, func(ctx context.Context) (string, error) {
			_, byKey = region.GetOrCreate(ctx, r, key, counting().create)
			_, bound = f.Call(ctx, 1)
			_, batch = region.GetOrCreateMulti(ctx, r, []string{"other", key}, (&loader{}).create)
			return "refreshed", nil
		}, region.WithExpiration(0))
		if err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{"GetOrCreate": byKey, "a bound function": bound, "a batch": batch} {
			if !errors.Is(err, region.ErrReentrant) {
				t.Errorf("%s got %v, want ErrReentrant", what, err)
			}
		}
	})
}
