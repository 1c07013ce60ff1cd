package region_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

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
