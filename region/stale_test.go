package region_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

func TestAStaleValueIsServedWhileOneCallerCreates(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, other := open(t, cfg), open(t, cfg)
		must(t, r, "k", counting(), "v1")
		time.Sleep(2 * time.Minute)

		c := blocking()
		winner := herd(t, 1, r, "k", c)
		for _, r := range []*region.Region{r, other} {
			allGot(t, herd(t, 50, r, "k", c), "v1") // at once: nothing is released yet
		}
		c.want(t, 1)
		c.release()
		allGot(t, winner, "v1") // the creator's first value, which is the new one
		if s := r.Stats(); s.StaleHits != 50 {
			t.Errorf("%d stale hits, want 50", s.StaleHits)
		}
		if s := other.Stats(); s.StaleHits != 50 {
			t.Errorf("%d stale hits in the other process, want 50", s.StaleHits)
		}
	})
}

func TestTheWinnerWaitsInTheForeground(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		time.Sleep(2 * time.Minute)
		must(t, r, "k", c, "v2")
	})
}

func TestNobodyWaitsForARefreshInTheBackground(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.Refresh = region.Background
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		time.Sleep(2 * time.Minute)

		c := blocking()
		c.value = func(int64) (string, error) { return "new", nil }
		ctx, cancel := context.WithCancel(t.Context())
		if got, err := region.GetOrCreate(ctx, r, "k", c.create); got != "v1" || err != nil {
			t.Fatalf("got %q, %v; want the stale value at once", got, err)
		}
		cancel() // the creation does not hang on its caller
		synctest.Wait()
		must(t, r, "k", c, "v1")
		c.release()
		synctest.Wait()
		must(t, r, "k", c, "new")
		c.want(t, 1)
	})
}

func TestADeadValueIsNotServed(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.StaleFor = time.Minute
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		time.Sleep(2*time.Minute + time.Second)
		c := blocking()
		c.value = func(int64) (string, error) { return "new", nil }
		calls := herd(t, 20, r, "k", c)
		c.release()
		allGot(t, calls, "new")
		c.want(t, 1)
	})
}

func TestStaleForDefaultsToExpirationAndCanBeNone(t *testing.T) {
	for name, test := range map[string]struct {
		staleFor  time.Duration
		age       time.Duration
		wantStale bool
	}{
		"default, within":       {0, 2 * time.Minute, true},
		"default, beyond":       {0, 2*time.Minute + 1, false},
		"none":                  {region.NoStale, time.Minute + 1, false},
		"for ever":              {region.Forever, 10 * time.Hour, true},
		"none, but still fresh": {region.NoStale, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				cfg.StaleFor = test.staleFor
				r := open(t, cfg)
				must(t, r, "k", counting(), "v1")
				time.Sleep(test.age)
				_, fresh, _ := region.Get[string](t.Context(), r, "k")
				_, found, err := region.Get[string](t.Context(), r, "k", region.AllowStale())
				if err != nil || found && !fresh != test.wantStale {
					t.Errorf("fresh=%v, found=%v, %v; want stale=%v", fresh, found, err, test.wantStale)
				}
			})
		})
	}
}
