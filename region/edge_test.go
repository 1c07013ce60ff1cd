package region_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/null"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

func noPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("%s panics: %v", what, v)
		}
	}()
	f()
}

// A proxy that panics where its caller stands is the caller's affair, and no reason
// for Close to wait.
func TestCloseDoesNotWaitForACallThatPanicked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "get" {
				panic("proxy")
			}
		}}))
		r := open(t, cfg)
		for _, call := range []func(){
			func() { region.GetOrCreate(t.Context(), r, "k", counting().create) },
			func() { region.GetOrCreateMulti(t.Context(), r, []string{"k"}, (&loader{}).create) },
			func() { region.Get[string](t.Context(), r, "k") },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic did not reach the caller")
					}
				}()
				call()
			}()
		}
		began := time.Now()
		if err := r.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("Close = %v after %v", err, time.Since(began))
		}
	})
}

// slowBackend hangs but obeys its ctx, as a client of a server that has gone silent does.
type slowBackend struct {
	backend.Backend
	on atomic.Bool
}

func (s *slowBackend) hang(ctx context.Context) error {
	if s.on.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}
func (s *slowBackend) Get(ctx context.Context, k backend.Key, g []backend.Guard) (backend.Found, error) {
	if err := s.hang(ctx); err != nil {
		return backend.Found{}, err
	}
	return s.Backend.Get(ctx, k, g)
}
func (s *slowBackend) Set(ctx context.Context, i []backend.Item, g []backend.Guard) ([]backend.Stamps, error) {
	if err := s.hang(ctx); err != nil {
		return nil, err
	}
	return s.Backend.Set(ctx, i, g)
}
func (s *slowBackend) Delete(ctx context.Context, k []backend.Key) error {
	if err := s.hang(ctx); err != nil {
		return err
	}
	return s.Backend.Delete(ctx, k)
}
func (s *slowBackend) Stamps(ctx context.Context, g []backend.Guard) ([]backend.Stamps, error) {
	if err := s.hang(ctx); err != nil {
		return nil, err
	}
	return s.Backend.Stamps(ctx, g)
}

type boxed struct {
	backend.Backend
	extra any
}

var late *struct{ ttl time.Duration }

// logged collects what is logged meanwhile.
func logged(t *testing.T) *bytes.Buffer {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return &log
}

type badEntryPanics struct{}

func (badEntryPanics) ObserveBadEntry(region.BadEntryEvent) { panic("observer") }

type creationPanics struct{}

func (creationPanics) ObserveCreation(region.CreationEvent) { panic("observer") }

func TestABatchTellsOfRememberedNotFounds(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = time.Minute
		r := open(t, cfg)
		_, err := region.GetOrCreate(t.Context(), r, "a", func(context.Context) (string, error) { return "", region.ErrNotFound })
		if !errors.Is(err, region.ErrNotFound) {
			t.Fatal(err)
		}
		m, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, func(_ context.Context, ks []string) (map[string]string, error) {
			out := map[string]string{}
			for _, k := range ks {
				out[k] = "v"
			}
			return out, nil
		})
		if err == nil && len(m) != 2 {
			t.Errorf("got %v and no error", m)
		}
	})
}

// ErrNotFound from the creator of a batch may be about anything.
func TestAllowMissingHidesNoFailure(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		calls := 0
		m, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, func(context.Context, []string) (map[string]string, error) {
			calls++
			return map[string]string{"a": "v"}, fmt.Errorf("load the tenant of a: %w", region.ErrNotFound)
		}, region.AllowMissing())
		if err == nil {
			t.Errorf("the creator failed, the call returned %v, nil", m)
		}
	})
}

func TestCloseCancelsCallsThatHang(t *testing.T) {
	for name, use := range map[string]func(r *region.Region) error{
		"Get": func(r *region.Region) error {
			_, _, err := region.Get[string](context.Background(), r, "k")
			return err
		},
		"GetOrCreate": func(r *region.Region) error {
			_, err := region.GetOrCreate(context.Background(), r, "k", counting().create)
			return err
		},
		"Set":    func(r *region.Region) error { return region.Set(context.Background(), r, "k", "v") },
		"Delete": func(r *region.Region) error { return r.Delete(context.Background(), "k") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				cfg := config(memory.Config{})
				cfg.CloseTimeout = time.Second
				slow := &slowBackend{}
				cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { slow.Backend = b; return slow })
				r, err := region.New("test", cfg)
				if err != nil {
					t.Fatal(err)
				}
				slow.on.Store(true)
				done := make(chan error, 1)
				began := time.Now()
				go func() { done <- use(r) }()
				synctest.Wait()
				cerr := r.Close()
				closed := time.Since(began)
				select {
				case <-done:
				default:
					t.Errorf("Close returned %v after %v while the call is still under way", cerr, closed)
				}
			})
		})
	}
}

func TestReconfigureLosesNoCaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.CloseTimeout = time.Second
		r := open(t, cfg)
		slow := blocking()
		calls := herd(t, 2, r, "k", slow)
		if err := r.Reconfigure(config(memory.Config{})); err != nil {
			t.Fatal(err)
		}
		for _, c := range calls {
			if a := <-c; errors.Is(a.err, region.ErrClosed) {
				t.Errorf("the region is in use, the caller got: %v", a.err)
			}
		}
	})
}

func TestANilRegionIsNotConfigured(t *testing.T) {
	var r *region.Region
	ctx := t.Context()
	noPanic(t, "GetOrCreate with a nil creator", func() { region.GetOrCreate[string](ctx, r, "k", nil) })
	noPanic(t, "GetOrCreateMulti with a nil creator", func() { region.GetOrCreateMulti[string](ctx, r, nil, nil) })
	noPanic(t, "GetOrCreate with a bad option", func() { region.GetOrCreate(ctx, r, "k", counting().create, region.WithExpiration(-5)) })
	noPanic(t, "Configure", func() { r.Configure(region.Config{}) })
	noPanic(t, "Reconfigure", func() { r.Reconfigure(region.Config{}) })
	noPanic(t, "Close", func() { r.Close() })
	noPanic(t, "Stats", func() { r.Stats() })
	noPanic(t, "Name", func() { r.Name() })
	noPanic(t, "Delete", func() { r.Delete(ctx, "k") })
	noPanic(t, "Invalidate", func() { r.Invalidate(ctx, region.Hard) })
}

func TestARegionWithoutANameCannotBeConfigured(t *testing.T) {
	r := new(region.Region)
	err := r.Configure(region.Config{Backend: null.New(), Expiration: time.Minute})
	if !errors.Is(err, region.ErrConfig) {
		t.Errorf("Configure of a region without a name: %v", err)
	}
	r.Close()
}

func TestConfigureDoesNotPanic(t *testing.T) {
	b := null.New()
	noPanic(t, "a Backend that is comparable by type only", func() {
		region.New("x", region.Config{Backend: boxed{b, []int{1}}, Expiration: time.Minute})
	})
	noPanic(t, "Wrap that returns a typed nil", func() {
		region.New("x", region.Config{Backend: b, Expiration: time.Minute, Wrap: []func(backend.Backend) backend.Backend{
			func(backend.Backend) backend.Backend { return (*null.Backend)(nil) }}})
	})
	noPanic(t, "Wrap that panics", func() {
		region.New("x", region.Config{Backend: b, Expiration: time.Minute, Wrap: []func(backend.Backend) backend.Backend{
			func(backend.Backend) backend.Backend { panic("wrap") }}})
	})
	for name, cfg := range map[string]region.Config{
		"Mutex":    {Backend: b, Expiration: time.Minute, Mutex: (*local.Locker)(nil)},
		"Observer": {Backend: b, Expiration: time.Minute, Observer: (*recorder)(nil)},
	} {
		r, err := region.New("x", cfg)
		if err == nil {
			noPanic(t, "typed nil "+name, func() {
				_, err = region.GetOrCreate(t.Context(), r, "k", counting().create)
			})
			t.Errorf("typed nil %s was accepted; GetOrCreate: %.60q", name, fmt.Sprint(err))
			r.Close()
		}
	}
}

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

// As in two tests that use one declared region.
func TestAServiceMayBeMadeAnewForEachConfiguration(t *testing.T) {
	users := region.Declare("edge-users")
	for i := range 2 {
		if err := users.Configure(region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Minute}); err != nil {
			t.Fatal(err)
		}
		repo := &repo{fmt.Sprint("db", i)}
		get := region.Cached(users, repo.load)
		if _, err := get(t.Context(), 1); err != nil {
			t.Errorf("test %d: %v", i, err)
		}
		users.Close()
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

func TestEachReadCountsOnce(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		a, b := open(t, cfg), open(t, cfg)
		must(t, a, "k", counting(), "v1")
		time.Sleep(2 * time.Minute) // stale
		c := blocking()
		winner := herd(t, 1, a, "k", c)
		must(t, b, "k", counting(), "v1") // one read in b, answered with the stale value
		if s := b.Stats(); s.Hits+s.StaleHits+s.Misses != 1 {
			t.Errorf("one read: %d hits, %d stale hits, %d misses; hit ratio %v", s.Hits, s.StaleHits, s.Misses, s.HitRatio())
		}
		c.release()
		<-winner[0]
	})
}

func TestWaitingForAnotherProcessIsAWait(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		a := open(t, cfg)
		rec := &recorder{}
		cfg.Observer = rec
		b := open(t, cfg)
		c := blocking()
		first := herd(t, 1, a, "k", c)
		second := herd(t, 1, b, "k", counting())
		time.Sleep(time.Second)
		c.release()
		allGot(t, first, "v1")
		allGot(t, second, "v1")
		if len(rec.waits) != 1 || b.Stats().Waits != 1 {
			t.Errorf("it waited for a second, and %d waits were told, %d counted", len(rec.waits), b.Stats().Waits)
		}
	})
}

func TestAnObserverThatPanicsLeavesNoLease(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := logged(t)
		cfg := config(memory.Config{})
		healthy := open(t, cfg)
		cfg.Observer = badEntryPanics{}
		// Only Acquire finds the bad entry, so that the panic is in the production.
		var armed atomic.Bool
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "acquire" && armed.CompareAndSwap(true, false) {
				region.Set(t.Context(), healthy, "a", 42)
			}
		}}))
		r := open(t, cfg)
		armed.Store(true)
		many := func(_ context.Context, ks []string) (map[string]string, error) {
			out := map[string]string{}
			for _, k := range ks {
				out[k] = "v"
			}
			return out, nil
		}
		_, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, many)
		t.Logf("batch: %.80q", fmt.Sprint(err))
		for i := range 2 {
			began := time.Now()
			_, err = region.GetOrCreate(t.Context(), healthy, "b", counting().create)
			if err != nil {
				t.Errorf("call %d on another key of the batch, after %v: %v", i, time.Since(began), err)
			}
		}
		synctest.Wait()
		if !strings.Contains(log.String(), "an observer of a region panicked") {
			t.Errorf("the log says %q", log)
		}
	})
}

func TestAnObserverThatPanicsIsNotTheCreatorsFault(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := logged(t)
		cfg := config(memory.Config{})
		cfg.Observer = creationPanics{}
		r := open(t, cfg)
		_, err := region.GetOrCreate(t.Context(), r, "k", counting().create)
		if err != nil && strings.Contains(err.Error(), "the creator panicked") {
			t.Errorf("%.80q", err.Error())
		}
		synctest.Wait()
		if !strings.Contains(log.String(), "an observer of a region panicked") {
			t.Errorf("the log says %q", log)
		}
	})
}

func TestAValueIsReturnedThoughStoringItPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "set" {
				panic("proxy")
			}
		}}))
		r := open(t, cfg)
		v, err := region.GetOrCreate(t.Context(), r, "k", counting().create)
		if err != nil {
			t.Errorf("%q, %.80q", v, err.Error())
		}
	})
}

func TestEventsDoNotShareTheCallersSlice(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		rec := &recorder{}
		cfg.Observer = rec
		r := open(t, cfg)
		keys := []string{"a", "b"}
		r.Delete(t.Context(), keys...)
		keys[0] = "changed"
		if !slices.Equal(rec.invalidations[0].Keys, []string{"a", "b"}) {
			t.Errorf("the event says %q now", rec.invalidations[0].Keys)
		}
	})
}
