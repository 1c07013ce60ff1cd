package region_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/null"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

func TestProxiesSeeEveryOperationTheFirstIsOutermost(t *testing.T) {
	backends := map[string]func() backend.Backend{
		"values": func() backend.Backend { return memory.New(memory.Config{}) },
		"bytes":  func() backend.Backend { return memory.New(memory.Config{Copy: true}) },
		"null":   func() backend.Backend { return null.New() },
	}
	for name, open1 := range backends {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var mu sync.Mutex
				var seen []string
				spy := func(who string) func(backend.Backend) backend.Backend {
					return probing(&probe{before: func(op string) {
						mu.Lock()
						defer mu.Unlock()
						seen = append(seen, who+" "+op)
					}})
				}
				cfg := region.Config{Backend: open1(), Expiration: time.Minute,
					Wrap: []func(backend.Backend) backend.Backend{spy("outer"), spy("inner")}}
				r := open(t, cfg)
				expect := func(ops ...string) {
					t.Helper()
					synctest.Wait()
					mu.Lock()
					defer mu.Unlock()
					var want []string
					for _, op := range ops {
						want = append(want, "outer "+op, "inner "+op)
					}
					if !slices.Equal(seen, want) {
						t.Errorf("the proxies saw %q, want %q", seen, want)
					}
					seen = nil
				}
				must(t, r, "k", counting(), "v1")
				expect("get", "acquire", "set")
				region.Get[string](t.Context(), r, "k")
				expect("get")
				region.GetMulti[string](t.Context(), r, []string{"k", "l"})
				expect("get")
				region.Set(t.Context(), r, "k", "v")
				expect("stamps", "set")
				r.Delete(t.Context(), "k")
				expect("delete")
				r.Invalidate(t.Context(), region.Hard)
				expect("renew")
			})
		})
	}
}

func TestAMutexOfOnesOwnDecidesWhoCreates(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		mutex := local.New()
		defer mutex.Close()
		cfg.Mutex = mutex
		a, b, c := open(t, cfg), open(t, cfg), blocking()
		calls := append(herd(t, 20, a, "k", c), herd(t, 20, b, "k", c)...)
		if _, err := mutex.TryAcquire(t.Context(), "test:k"); err == nil {
			t.Error("the mutex is free while a creator runs")
		}
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
		lease, err := mutex.TryAcquire(t.Context(), "test:k")
		if err != nil {
			t.Errorf("the mutex is held after the creation: %v", err)
		} else {
			lease.Release(t.Context())
		}
		holds(t, b, "k", "v1")
	})
}

func TestAMutexThatIsNotSharedCostsCreationsNotCorrectness(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		c := blocking()
		var calls []<-chan answer
		for range 3 {
			mutex := local.New() // each process has its own
			defer mutex.Close()
			cfg.Mutex = mutex
			calls = append(calls, herd(t, 1, open(t, cfg), "k", c)...)
		}
		c.want(t, 3)
		c.release()
		for _, call := range calls {
			if a := <-call; a.err != nil {
				t.Error(a.err)
			}
		}
	})
}

func TestEvents(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		rec := &recorder{}
		cfg.Observer = rec
		r, c := open(t, cfg), blocking()
		calls := herd(t, 3, r, "k", c)
		time.Sleep(time.Second)
		c.release()
		allGot(t, calls, "v1")
		time.Sleep(2 * time.Minute)
		failure := errors.New("down")
		region.GetOrCreate(t.Context(), r, "k", (&creator{value: func(int64) (string, error) { return "", failure }}).create)
		r.Delete(t.Context(), "k", "l")
		r.Invalidate(t.Context(), region.Soft)

		if len(rec.creations) != 2 {
			t.Fatalf("creations %+v, want two", rec.creations)
		}
		first, second := rec.creations[0], rec.creations[1]
		if first.Region != "test" || !slices.Equal(first.Keys, []string{"k"}) || first.Took != time.Second || first.Stale || first.Err != nil {
			t.Errorf("the first creation: %+v", first)
		}
		if !second.Stale || !errors.Is(second.Err, failure) {
			t.Errorf("the second creation: %+v", second)
		}
		if len(rec.waits) != 2 || rec.waits[0].Took != time.Second || rec.waits[0].Key != "k" || rec.waits[0].Err != nil {
			t.Errorf("waits %+v, want two of a second", rec.waits)
		}
		if len(rec.invalidations) != 2 || !slices.Equal(rec.invalidations[0].Keys, []string{"k", "l"}) || rec.invalidations[1].Mode != region.Soft {
			t.Errorf("invalidations %+v", rec.invalidations)
		}
		s := r.Stats()
		want := region.Stats{Misses: 4, Creations: 1, FailedCreations: 1, CreationTime: time.Second, Waits: 2, Invalidations: 3}
		if s != want {
			t.Errorf("stats %+v, want %+v", s, want)
		}
		if ratio := (region.Stats{Hits: 2, StaleHits: 1, Misses: 1}).HitRatio(); ratio != 0.75 {
			t.Errorf("HitRatio = %v, want 0.75", ratio)
		}
		if ratio := (region.Stats{}).HitRatio(); ratio != 0 {
			t.Errorf("HitRatio of nothing = %v, want 0", ratio)
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

// mistaken is a proxy that was given a mistake.
type mistaken struct {
	backend.Backend
	err error
}

func (m *mistaken) Err() error { return m.err }

func TestAProxyTellsOfItsMistake(t *testing.T) {
	store := memory.New(memory.Config{})
	defer store.Close()
	err := errors.New("a mistake")
	wrap := func(err error) func(backend.Backend) backend.Backend {
		return func(b backend.Backend) backend.Backend { return &mistaken{b, err} }
	}
	cfg := region.Config{Backend: store, KeepBackendOpen: true, Expiration: time.Minute}
	cfg.Wrap = []func(backend.Backend) backend.Backend{wrap(nil), wrap(err), wrap(nil)}
	if _, got := region.New("test", cfg); !errors.Is(got, err) || !errors.Is(got, region.ErrConfig) || !strings.Contains(got.Error(), "Wrap[1]") {
		t.Errorf("New = %v, want region.ErrConfig, Wrap[1] and %v", got, err)
	}
	cfg.Wrap = cfg.Wrap[:1]
	open(t, cfg)
}
