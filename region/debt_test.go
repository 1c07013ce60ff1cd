package region_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// outage makes the operations of a backend fail that are named, while it is on.
type outage struct {
	ops  string
	on   atomic.Bool
	seen atomic.Int64 // how many failed
}

var errDown = errors.New("the server is down")

func (o *outage) probe() *probe {
	return &probe{fail: func(op string) error {
		if o.on.Load() && strings.Contains(o.ops, op) {
			o.seen.Add(1)
			return errDown
		}
		return nil
	}}
}

// An invalidation that has failed holds in this process at once, and everywhere as soon
// as the backend is back.
func TestAnInvalidationThatFailedIsMadeUpFor(t *testing.T) {
	load := func(_ context.Context, id int) (string, error) { return "new", nil }
	for name, c := range map[string]struct {
		invalidate func(ctx context.Context, r *region.Region) error
		soft       bool
		spares     bool // the other key
	}{
		"Delete":          {func(ctx context.Context, r *region.Region) error { return r.Delete(ctx, "k") }, false, true},
		"Expire":          {func(ctx context.Context, r *region.Region) error { return r.Expire(ctx, "k") }, true, true},
		"Invalidate hard": {func(ctx context.Context, r *region.Region) error { return r.Invalidate(ctx, region.Hard) }, false, false},
		"Invalidate soft": {func(ctx context.Context, r *region.Region) error { return r.Invalidate(ctx, region.Soft) }, true, false},
		"InvalidateTags":  {func(ctx context.Context, r *region.Region) error { return r.InvalidateTags(ctx, "t", "u") }, false, true},
		"SoftTags":        {func(ctx context.Context, r *region.Region) error { return region.SoftTags(ctx, r, "t") }, true, true},
		"InvalidateAll": {func(ctx context.Context, r *region.Region) error {
			return decorate.CacheOnArguments(r, load, region.Namespace("f")).InvalidateAll(ctx)
		}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				ctx := t.Context()
				elsewhere := open(t, cfg)
				down := &outage{ops: "renew delete acquire"}
				rec := new(recorder)
				cfg.Wrap, cfg.Observer = append(cfg.Wrap, probing(down.probe())), rec
				r := open(t, cfg)
				key := "k"
				must(t, r, "k", counting(), "v1", region.WithTags("t"))
				must(t, r, "other", counting(), "v1", region.WithTags("x"))
				if name == "InvalidateAll" {
					f := decorate.CacheOnArguments(elsewhere, func(context.Context, int) (string, error) { return "v1", nil }, region.Namespace("f"))
					var err error
					if key, err = f.Key(1); err != nil {
						t.Fatal(err)
					}
					if _, err := f.Call(ctx, 1); err != nil {
						t.Fatal(err)
					}
				}
				holds(t, r, key, "v1")

				down.on.Store(true)
				err := c.invalidate(ctx, r)
				if !errors.Is(err, errDown) || !errors.Is(err, region.ErrPending) {
					t.Fatalf("while the backend is down: %v, want its error and ErrPending", err)
				}
				if n := len(rec.invalidations); n != 1 || !errors.Is(rec.invalidations[0].Err, errDown) {
					t.Errorf("the observer was told of %v", rec.invalidations)
				}
				holds(t, r, key, "")
				stale, ok, err := region.Get[string](ctx, r, key, region.AllowStale())
				if err != nil || ok != c.soft || ok && stale != "v1" {
					t.Errorf("Get with AllowStale = %q, %v, %v; want a value: %v", stale, ok, err, c.soft)
				}
				if many, err := region.GetMulti[string](ctx, r, []string{key, "other"}); len(many) != map[bool]int{true: 1}[c.spares] || err != nil {
					t.Errorf("GetMulti finds %v, %v; want the other value: %v", many, err, c.spares)
				}
				holds(t, elsewhere, key, "v1") // it knows of nothing
				if owed := r.Stats().Owed; owed == 0 || owed > 2 {
					t.Errorf("Stats says that %d invalidations are owed", owed)
				}
				before := down.seen.Load()
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := down.seen.Load() - before; n < 5 || n > 50 {
					t.Errorf("it was tried again %d times in a minute", n)
				}
				holds(t, r, key, "")

				down.on.Store(false)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				holds(t, elsewhere, key, "")
				if owed := r.Stats().Owed; owed != 0 {
					t.Errorf("Stats says that %d invalidations are owed after all", owed)
				}
				if n := len(rec.invalidations); n != 2 || !rec.invalidations[1].Late || rec.invalidations[1].Err != nil {
					t.Errorf("the observer was told %+v, want a second event that is Late", rec.invalidations)
				}
				must(t, r, "k", &creator{value: func(int64) (string, error) { return "v2", nil }}, map[bool]string{true: "v2", false: "v2"}[key == "k"], region.WithTags("t"))
			})
		})
	}
}

// A read that began while an invalidation was owed does not count, even if everything is
// paid by the time it has its answer.
func TestAReadFromTheTimeOfADebt(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		down := &outage{ops: "delete"}
		reading, read := make(chan struct{}, 10), make(chan struct{})
		slow := down.probe()
		var hold atomic.Bool
		slow.after = func(op string) {
			if op == "get" && hold.Load() {
				reading <- struct{}{}
				<-read
			}
		}
		cfg.Wrap = append(cfg.Wrap, probing(slow))
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		down.on.Store(true)
		if err := r.Delete(ctx, "k"); err == nil {
			t.Fatal("no error")
		}
		hold.Store(true)
		got := make(chan bool)
		go func() {
			_, ok, err := region.Get[string](ctx, r, "k")
			if err != nil {
				t.Error(err)
			}
			got <- ok
		}()
		<-reading // it has its answer, the old value
		down.on.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if owed := r.Stats().Owed; owed != 0 {
			t.Fatalf("%d owed", owed)
		}
		close(read)
		if ok := <-got; ok {
			t.Error("the old value was returned")
		}
	})
}

// A creation that was under way when an invalidation failed does not bring the old value
// back.
func TestACreationFromBeforeADebt(t *testing.T) {
	for name, invalidate := range map[string]func(ctx context.Context, r *region.Region) error{
		"Delete":         func(ctx context.Context, r *region.Region) error { return r.Delete(ctx, "k") },
		"InvalidateTags": func(ctx context.Context, r *region.Region) error { return r.InvalidateTags(ctx, "t") },
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				down := &outage{ops: "renew delete"}
				cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
				r, old, fresh := open(t, cfg), blocking(), counting()
				old.value = func(int64) (string, error) { return "old row", nil }
				fresh.value = func(int64) (string, error) { return "new row", nil }
				before := herd(t, 1, r, "k", old, region.WithTags("t"))
				down.on.Store(true)
				if err := invalidate(t.Context(), r); err == nil {
					t.Fatal("no error")
				}
				after := herd(t, 3, r, "k", fresh, region.WithTags("t"))
				old.release()
				allGot(t, before, "old row")
				allGot(t, after, "new row")
				must(t, r, "k", fresh, "new row", region.WithTags("t"))
				down.on.Store(false)
				time.Sleep(time.Minute)
				must(t, r, "k", fresh, "new row", region.WithTags("t"))
				n := fresh.calls.Load()
				must(t, r, "k", fresh, "new row", region.WithTags("t"))
				fresh.want(t, n)
			})
		})
	}
}

// However much is owed, it takes bounded room: in the end the whole region is invalid.
func TestDebtsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := kinds["bytes"]()
		down := &outage{ops: "delete renew"}
		var renewed, deleted atomic.Int64
		p := down.probe()
		p.before = func(op string) {
			switch {
			case down.on.Load():
			case op == "renew":
				renewed.Add(1)
			case op == "delete":
				deleted.Add(1)
			}
		}
		cfg.Wrap = append(cfg.Wrap, probing(p))
		r := open(t, cfg)
		must(t, r, "untouched", counting(), "v1")
		down.on.Store(true)
		for i := range 300 {
			keys := make([]string, 100)
			for j := range keys {
				keys[j] = fmt.Sprint("key ", i, " ", j)
			}
			if err := r.Delete(t.Context(), keys...); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
			if owed := r.Stats().Owed; owed > 10_000 {
				t.Fatalf("%d are owed", owed)
			}
			if i == 50 {
				holds(t, r, "untouched", "v1")
			}
		}
		holds(t, r, "untouched", "")
		down.on.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if renewed.Load() != 1 || r.Stats().Owed != 0 {
			t.Errorf("%d renewals, %d owed; want the region to be invalidated once", renewed.Load(), r.Stats().Owed)
		}
	})
}

func TestDebtsAtTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		recovers bool
		end      func(r *region.Region, cfg region.Config) error
		err      bool
		owed     int64
	}{
		"Close, in vain":        {false, func(r *region.Region, _ region.Config) error { return r.Close() }, true, 0},
		"Close":                 {true, func(r *region.Region, _ region.Config) error { return r.Close() }, false, 0},
		"Reconfigure, the same": {false, func(r *region.Region, cfg region.Config) error { return r.Reconfigure(cfg) }, false, 1},
		"Reconfigure, another backend": {false, func(r *region.Region, cfg region.Config) error {
			cfg.Backend, cfg.KeepBackendOpen = kinds["bytes"]().Backend, false
			return r.Reconfigure(cfg)
		}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				cfg.KeepBackendOpen = true
				defer cfg.Backend.Close()
				down := &outage{ops: "delete"}
				cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
				other, err := region.New("test", cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
				r, err := region.New("test", cfg)
				if err != nil {
					t.Fatal(err)
				}
				must(t, r, "k", counting(), "v1")
				down.on.Store(true)
				if err := r.Delete(t.Context(), "k"); err == nil {
					t.Fatal("no error")
				}
				down.on.Store(!c.recovers)
				err = c.end(r, cfg)
				if got := errors.Is(err, region.ErrPending) && errors.Is(err, errDown); got != c.err {
					t.Errorf("%v; want ErrPending: %v", err, c.err)
				}
				if got := r.Stats().Owed; got != c.owed {
					t.Errorf("%d owed, want %d", got, c.owed)
				}
				if c.recovers {
					holds(t, other, "k", "")
				}
				if c.owed > 0 {
					holds(t, r, "k", "")
					down.on.Store(false)
					time.Sleep(time.Minute)
					synctest.Wait()
					holds(t, other, "k", "")
				}
				down.on.Store(false)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Of what is owed twice the harder counts, and what gets through has the rest tried at once.
func TestDebtsAddUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := kinds["bytes"]()
		down := &outage{ops: "renew delete acquire"}
		cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
		r := open(t, cfg)
		for _, order := range [][]func() error{
			{func() error { return r.Expire(ctx, "k") }, func() error { return r.Delete(ctx, "k") }},
			{func() error { return r.Delete(ctx, "k") }, func() error { return r.Expire(ctx, "k") }},
			{func() error { return r.Invalidate(ctx, region.Soft) }, func() error { return r.Invalidate(ctx, region.Hard) }},
			{func() error { return r.Invalidate(ctx, region.Hard) }, func() error { return r.Invalidate(ctx, region.Soft) }},
			{func() error { return r.InvalidateTags(ctx, "t") }, func() error { return region.SoftTags(ctx, r, "t") }},
			{func() error { return region.SoftTags(ctx, r, "t") }, func() error { return r.InvalidateTags(ctx, "t") }},
		} {
			if _, err := region.GetOrCreate(ctx, r, "k", counting().create, region.WithTags("t")); err != nil {
				t.Fatal(err)
			}
			down.on.Store(true)
			for _, invalidate := range order {
				if err := invalidate(); !errors.Is(err, region.ErrPending) {
					t.Fatal(err)
				}
			}
			if v, ok, err := region.Get[string](ctx, r, "k", region.AllowStale()); ok || err != nil {
				t.Errorf("%q, %v, %v; want it dead", v, ok, err)
			}
			down.on.Store(false)
			if err := r.Delete(ctx, "something else"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if owed := r.Stats().Owed; owed != 0 {
				t.Errorf("%d are owed after an invalidation got through, want none", owed)
			}
			if v, ok, err := region.Get[string](ctx, r, "k", region.AllowStale()); ok || err != nil {
				t.Errorf("paid: %q, %v, %v; want it dead", v, ok, err)
			}
		}
	})
}

// What a caller has given up is not forgotten.
func TestAnInvalidationWhoseCallerHasLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := kinds["bytes"]()
		slow := &slowBackend{Backend: cfg.Backend}
		cfg.Wrap = append(cfg.Wrap, func(backend.Backend) backend.Backend { return slow })
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		slow.on.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Delete(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, region.ErrPending) {
			t.Errorf("%v, want the deadline and ErrPending", err)
		}
		slow.on.Store(false)
		holds(t, r, "k", "")
		time.Sleep(time.Minute)
		if v, ok, err := region.Get[string](t.Context(), r, "k", region.AllowStale()); ok || err != nil {
			t.Errorf("%q, %v, %v after a minute; want it deleted", v, ok, err)
		}
		if r.Stats().Owed != 0 {
			t.Error("it is still owed")
		}
	})
}
