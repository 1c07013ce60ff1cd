package region_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/region"
)

func TestExpire(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		r, by := open(t, cfg), open(t, cfg)
		c := counting()
		for _, key := range []string{"k", "other"} {
			must(t, r, key, c, "v"+map[string]string{"k": "1", "other": "2"}[key], region.WithTags("t"))
		}
		stale := func(want string) {
			t.Helper()
			v, ok, err := region.Get[string](ctx, r, "k", region.AllowStale())
			if err != nil || ok != (want != "") || v != want {
				t.Errorf("Get with AllowStale = %q, %v, %v; want %q", v, ok, err, want)
			}
		}
		for range 2 { // the second time it is stale already
			if err := by.Expire(ctx, "k", "k", "nobody's", "k"); err != nil {
				t.Fatal(err)
			}
			holds(t, r, "k", "")
			holds(t, by, "k", "")
			holds(t, r, "other", "v2")
			stale("v1")
		}
		// It is served while it is created anew, as after its expiration.
		anew := blocking()
		anew.value = func(int64) (string, error) { return "v3", nil }
		first := herd(t, 1, r, "k", anew, region.WithTags("t"))
		must(t, r, "k", counting(), "v1")
		anew.release()
		allGot(t, first, "v3")
		holds(t, by, "k", "v3")

		// It is dead when it would have been without, but for what is random in it.
		if err := r.Expire(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(cfg.Expiration + cfg.StaleFor - time.Second)
		stale("v3")
		time.Sleep(2 * time.Second)
		stale("")
		if err := r.Expire(ctx, "k"); err != nil { // what is dead stays so
			t.Fatal(err)
		}
		stale("")

		// Hard invalidations and tags count for what has expired.
		must(t, r, "k", counting(), "v1", region.WithTags("t"))
		if err := errors.Join(r.Expire(ctx, "k"), by.InvalidateTags(ctx, "t")); err != nil {
			t.Fatal(err)
		}
		stale("")
		must(t, r, "k", counting(), "v1", region.WithTags("t"))
		if err := errors.Join(by.Invalidate(ctx, region.Hard), r.Expire(ctx, "k")); err != nil {
			t.Fatal(err)
		}
		stale("")
	})
}

// What is dead for one caller may be fresh for another, who has a longer expiration or
// another clock.
func TestExpireOfAValueThatOthersTakeForFresh(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		for _, cfg.StaleFor = range []time.Duration{region.NoStale, time.Minute} {
			r := open(t, cfg)
			long := region.WithExpiration(10 * time.Hour)
			if _, err := region.GetOrCreate(t.Context(), r, fmt.Sprint(cfg.StaleFor), counting().create, long); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if err := r.Expire(t.Context(), fmt.Sprint(cfg.StaleFor)); err != nil {
				t.Fatal(err)
			}
			if v, ok, err := region.Get[string](t.Context(), r, fmt.Sprint(cfg.StaleFor), long); ok || err != nil {
				t.Errorf("StaleFor %v: %q, %v, %v; want a miss", cfg.StaleFor, v, ok, err)
			}
		}
	})
}

func TestExpireOfAValueForEver(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.Expiration, cfg.StaleFor = region.Forever, 0
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		if err := r.Expire(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Hour)
		holds(t, r, "k", "")
		if v, ok, _ := region.Get[string](t.Context(), r, "k", region.AllowStale()); !ok || v != "v1" {
			t.Errorf("%q, %v; want it, stale", v, ok)
		}
	})
}

// The creator of a value that expires began before, so that the value is not fresh.
func TestExpireDuringACreation(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprint("stored: ", stored), func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				r, by := open(t, cfg), open(t, cfg)
				if stored {
					must(t, r, "k", counting(), "v1")
					time.Sleep(cfg.Expiration + time.Second)
				}
				old, fresh := blocking(), counting()
				old.value = func(int64) (string, error) { return "old row", nil }
				fresh.value = func(int64) (string, error) { return "new row", nil }
				before := herd(t, 1, r, "k", old)
				if err := by.Expire(t.Context(), "k"); err != nil {
					t.Fatal(err)
				}
				old.release()
				allGot(t, before, "old row")
				must(t, by, "k", fresh, "new row")
				holds(t, r, "k", "new row")
			})
		})
	}
}

// Nothing comes back that was deleted while it was made stale, and nothing newer is
// replaced.
func TestExpireLosesAgainstWriters(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, r *region.Region) (want string, err error){
		"Delete": func(ctx context.Context, r *region.Region) (string, error) { return "", r.Delete(ctx, "k") },
		"Set": func(ctx context.Context, r *region.Region) (string, error) {
			return "set", region.Set(ctx, r, "k", "set")
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				ctx := t.Context()
				by := open(t, cfg)
				storing, store := make(chan struct{}, 1), make(chan struct{})
				cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
					if op == "set" {
						select {
						case storing <- struct{}{}:
							<-store
						default:
						}
					}
				}}))
				must(t, by, "k", counting(), "v1")
				r := open(t, cfg)
				done := make(chan error)
				go func() { done <- r.Expire(ctx, "k") }()
				<-storing // it has read the old value, and is about to store it again
				want, err := write(ctx, by)
				if err != nil {
					t.Fatal(err)
				}
				close(store)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				v, ok, err := region.Get[string](ctx, by, "k", region.AllowStale())
				if err != nil || ok != (want != "") || v != want {
					t.Errorf("%q, %v, %v; want %q", v, ok, err, want)
				}
			})
		})
	}
}

// Somebody else takes the lease away between the two steps, as another Expire does: this
// one must not return before the value is stale.
func TestExpireThatLosesItsLease(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		by := open(t, cfg)
		var once sync.Once
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "set" {
				once.Do(func() {
					void := []backend.Item{{Key: backend.Key{Region: "test", Name: "k"}}}
					if _, err := cfg.Backend.Set(ctx, void, nil); err != nil {
						t.Error(err)
					}
				})
			}
		}}))
		must(t, by, "k", counting(), "v1")
		r := open(t, cfg)
		if err := r.Expire(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		holds(t, by, "k", "")
		if v, ok, _ := region.Get[string](ctx, by, "k", region.AllowStale()); !ok || v != "v1" {
			t.Errorf("%q, %v; want it stale", v, ok)
		}
	})
}

// Whoever holds the lease does not keep Expire from its end, nor do its own leases stay.
func TestExpireWhileTheLeaseIsHeld(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		grants, _, err := cfg.Backend.Acquire(ctx, []backend.Key{{Region: "test", Name: "k"}}, nil)
		if err != nil || grants[0].Lease == nil {
			t.Fatal(grants, err)
		}
		if err := r.Expire(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "")
		grants, _, err = cfg.Backend.Acquire(ctx, []backend.Key{{Region: "test", Name: "k"}}, nil)
		if err != nil || grants[0].Lease == nil {
			t.Fatal("the lease is still held", err)
		}
		if err := grants[0].Lease.Release(ctx); err != nil {
			t.Fatal(err)
		}
		many := make([]string, 1000)
		for i := range many {
			many[i] = fmt.Sprint("key ", i)
			if err := region.Set(ctx, r, many[i], "v"); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Expire(ctx, many...); err != nil {
			t.Fatal(err)
		}
		if found, err := region.GetMulti[string](ctx, r, many); len(found) > 0 || err != nil {
			t.Errorf("%d of 1,000 are still fresh, %v", len(found), err)
		}
		if found, err := region.GetMulti[string](ctx, r, many, region.AllowStale()); len(found) != 1000 || err != nil {
			t.Errorf("%d of 1,000 are still there, %v", len(found), err)
		}
		synctest.Wait()
	})
}

func TestExpireLeavesAloneWhatItCannotRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := kinds["bytes"]()
		r := open(t, cfg)
		items := []backend.Item{{Key: backend.Key{Region: "test", Name: "k"}, Entry: &backend.Entry{Data: []byte("somebody else's")}}}
		if _, err := cfg.Backend.Set(ctx, items, nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Expire(ctx, "k"); err != nil {
			t.Error(err)
		}
		found, err := cfg.Backend.Get(ctx, items[0].Key, nil)
		if err != nil || found.Entry == nil || string(found.Entry.Data) != "somebody else's" {
			t.Errorf("%v, %v", found.Entry, err)
		}
	})
}
