package region_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regiontest"
)

// found returns what a backend has under a key.
func found(t *testing.T, b backend.Backend, of, name string) string {
	t.Helper()
	got, err := b.Get(t.Context(), backend.Key{Region: of, Name: name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Entry == nil {
		return ""
	}
	return string(got.Entry.Data)
}

// Values are in the view and nothing else is; turns to warm are in the backend.
func TestWhereASharedRegionStores(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		both := cfg.Backend.(*lent)
		r := open(t, cfg)
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int) (int, error) { return id, nil }, region.WithKeyForm(spaced))
		report, err := decorate.Warm(t.Context(), f, slices.Values([]int{1, 2}), decorate.WarmOptions{Name: "w"})
		if report.Created != 2 || err != nil {
			t.Errorf("warming created %d values, %v; want 2", report.Created, err)
		}
		if data := found(t, both.view, "test", "app:load|1"); data == "" {
			t.Error("the value is not in the view")
		}
		if data := found(t, both.Backend, "test", "app:load|1"); data != "" {
			t.Errorf("in the backend itself is %q", data)
		}
	})
}

// A region that is disabled stores nothing, and deletes what others share.
func TestASharedRegionThatIsDisabled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		view := cfg.Backend.(*lent).view
		must(t, open(t, cfg), "k", counting(), "v1")
		off := cfg
		off.Disabled = true
		r := openAs(t, "test", off)
		must(t, r, "k", counting(), "v1")
		must(t, r, "other", counting(), "v1")
		if data := found(t, view, "test", "other"); data != "" {
			t.Errorf("a disabled region has stored %q", data)
		}
		if err := r.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		if data := found(t, view, "test", "k"); data != "" {
			t.Errorf("a disabled region has left %q, which it was to delete", data)
		}
		if err := r.Invalidate(t.Context(), region.Hard); !errors.Is(err, region.ErrInterop) {
			t.Errorf("Invalidate returned %v; want ErrInterop", err)
		}
	})
}

// What a creator does not want to be stored needs no place in the format.
func TestASharedValueThatIsNotWanted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		var saw watching
		cfg.Observer = &saw
		r := open(t, cfg)
		v, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
			region.FromContext(ctx).DoNotCache()
			region.FromContext(ctx).AddTags("t")
			return "v", nil
		})
		if v != "v" || err != nil || len(saw.unstored) > 0 {
			t.Errorf("the call returned %q, %v, and told of %v; want v, and nothing told", v, err, saw.unstored)
		}
		holds(t, r, "k", "")
	})
}

// What a call asks of tags is refused wherever it asks.
func TestTagsOfASharedRegion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, sharing())
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int) (int, error) { return id, nil },
			region.Namespace("f"), region.WithTags("t"))
		_, warm := decorate.Warm(t.Context(), f, slices.Values([]int{1}), decorate.WarmOptions{})
		_, many := region.GetMulti[int](t.Context(), r, []string{"k"}, region.WithTags("t"))
		for name, err := range map[string]error{"Warm": warm, "GetMulti": many} {
			if !errors.Is(err, region.ErrInterop) {
				t.Errorf("%s returned %v; want ErrInterop", name, err)
			}
		}
	})
}

// panicking is a format that panics.
type panicking struct{ plainText }

func (panicking) Parse([]byte) (time.Time, []byte, error) { panic("no") }

func TestAFormatThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		cfg.Interop = panicking{}
		var saw watching
		cfg.Observer = &saw
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		holds(t, r, "k", "")
		if len(saw.bad) != 1 {
			t.Errorf("the region told of %v; want one bad entry", saw.bad)
		}
	})
}

// A region that begins to share does not take over what it owes to its stored stamps.
func TestDebtsBeforeARegionIsShared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		cfg.Interop = nil
		down := &outage{ops: "renew"}
		cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
		r := open(t, cfg)
		down.on.Store(true)
		if err := r.Invalidate(t.Context(), region.Hard); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		cfg.Interop = plainText{}
		cfg.Wrap = nil
		if err := r.Reconfigure(cfg); !errors.Is(err, region.ErrPending) {
			t.Errorf("Reconfigure returned %v; want to be told that an invalidation is lost", err)
		}
		if owed := r.Stats().Owed; owed != 0 {
			t.Errorf("%d invalidations are owed; want none", owed)
		}
		must(t, r, "k", counting(), "v1")
		holds(t, r, "k", "v1")
	})
}

// A test may give a shared region a backend that the other library cannot reach.
func TestSwapOfASharedRegion(t *testing.T) {
	r := open(t, sharing())
	t.Run("swapped", func(t *testing.T) {
		regiontest.Swap(t, r, nil)
		must(t, r, "k", counting(), "v1")
		if err := r.Invalidate(t.Context(), region.Hard); err != nil {
			t.Error(err)
		}
	})
	if err := r.Invalidate(t.Context(), region.Hard); !errors.Is(err, region.ErrInterop) {
		t.Errorf("Invalidate returned %v; want ErrInterop again", err)
	}
}

// Waiting for others is bounded, and what may be the reason is said.
func TestWaitingForALockOfOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		cfg.MaxWait = time.Second
		view := cfg.Backend.(*lent).view
		r := open(t, cfg)
		grants, _, err := view.Acquire(t.Context(), []backend.Key{{Region: "test", Name: "k"}}, nil)
		if err != nil || grants[0].Lease == nil {
			t.Fatal(err)
		}
		_, err = region.GetOrCreate(t.Context(), r, "k", counting().create)
		if !errors.Is(err, region.ErrMaxWait) || !strings.Contains(fmt.Sprint(err), `"lock:"`) {
			t.Errorf("got %v; want ErrMaxWait that names the lock prefix", err)
		}
		if err := grants[0].Lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// watching notes what a region tells.
type watching struct {
	mu       sync.Mutex
	bad      []error
	unstored []error
}

func (w *watching) ObserveBadEntry(e region.BadEntryEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = append(w.bad, e.Err)
}

func (w *watching) ObserveUnstored(e region.UnstoredEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unstored = append(w.unstored, e.Err)
}
