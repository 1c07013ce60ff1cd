package region_test

import (
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

func TestHardInvalidationKills(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, other, c := open(t, cfg), open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		if err := other.Invalidate(t.Context(), region.Hard); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := region.Get[string](t.Context(), r, "k", region.AllowStale()); ok {
			t.Error("a killed value is served as a stale one")
		}
		must(t, r, "k", c, "v2")
		must(t, r, "k", c, "v2")
	})
}

func TestSoftInvalidationMakesStale(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, other := open(t, cfg), open(t, cfg)
		must(t, r, "k", counting(), "v1")
		if err := other.Invalidate(t.Context(), region.Soft); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "")
		c := blocking()
		c.value = func(int64) (string, error) { return "new", nil }
		winner := herd(t, 1, r, "k", c)
		allGot(t, herd(t, 20, r, "k", c), "v1")
		c.release()
		allGot(t, winner, "new")
		holds(t, r, "k", "new")
	})
}

func TestSoftAfterHardRevivesNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		for _, mode := range []region.Invalidation{region.Hard, region.Soft} {
			if err := r.Invalidate(t.Context(), mode); err != nil {
				t.Fatal(err)
			}
		}
		if v, ok, _ := region.Get[string](t.Context(), r, "k", region.AllowStale()); ok {
			t.Errorf("%q has come back", v)
		}
	})
}

func TestSoftInvalidationNeedsNoExpiration(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.Expiration, cfg.StaleFor = region.Forever, 0
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		time.Sleep(10 * time.Hour)
		must(t, r, "k", counting(), "v1")
		if err := r.Invalidate(t.Context(), region.Soft); err != nil {
			t.Fatal(err)
		}
		if v, ok, _ := region.Get[string](t.Context(), r, "k", region.AllowStale()); !ok || v != "v1" {
			t.Errorf("got %q, %v; want the value, stale", v, ok)
		}
	})
}

func TestInvalidateRefusesOtherModes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, kinds["values"]())
		for _, mode := range []region.Invalidation{0, 3, -1} {
			if err := r.Invalidate(t.Context(), mode); !errors.Is(err, region.ErrConfig) {
				t.Errorf("Invalidate(%v) = %v, want ErrConfig", mode, err)
			}
		}
	})
}

// invalidations are the ways to end a value, through whichever region.
var invalidations = map[string]func(t *testing.T, r *region.Region) error{
	"Delete":          func(t *testing.T, r *region.Region) error { return r.Delete(t.Context(), "k") },
	"Invalidate hard": func(t *testing.T, r *region.Region) error { return r.Invalidate(t.Context(), region.Hard) },
}

// This is law I1: the creator began before the invalidation and is still running
// when somebody asks after it.
func TestAnInvalidationDuringACreationIsNotLost(t *testing.T) {
	for name, invalidate := range invalidations {
		for where, remote := range map[string]bool{"here": false, "elsewhere": true} {
			t.Run(name+" "+where, func(t *testing.T) {
				eachKind(t, func(t *testing.T, cfg region.Config) {
					r, by := open(t, cfg), open(t, cfg)
					if !remote {
						by = r
					}
					old := blocking()
					old.value = func(int64) (string, error) { return "old row", nil }
					before := herd(t, 1, r, "k", old)
					if err := invalidate(t, by); err != nil {
						t.Fatal(err)
					}
					fresh := counting()
					fresh.value = func(int64) (string, error) { return "new row", nil }
					after := herd(t, 5, r, "k", fresh)
					old.release()
					allGot(t, before, "old row") // who asked before may have it
					allGot(t, after, "new row")
					holds(t, r, "k", "new row")
					fresh.want(t, 1)
				})
			})
		}
	}
}

func TestASoftInvalidationDuringACreationLeavesItsValueStale(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, by, c := open(t, cfg), open(t, cfg), blocking()
		calls := herd(t, 1, r, "k", c)
		if err := by.Invalidate(t.Context(), region.Soft); err != nil {
			t.Fatal(err)
		}
		c.release()
		allGot(t, calls, "v1")
		holds(t, r, "k", "")
		if v, ok, _ := region.Get[string](t.Context(), r, "k", region.AllowStale()); v != "v1" || !ok {
			t.Errorf("got %q, %v; want v1, stale", v, ok)
		}
	})
}

// Whoever comes after an invalidation made here does not even wait for the creation
// that began before it.
func TestAnInvalidationHereEndsTheFlight(t *testing.T) {
	here := map[string]func(t *testing.T, r *region.Region) error{
		"Invalidate soft": func(t *testing.T, r *region.Region) error { return r.Invalidate(t.Context(), region.Soft) },
	}
	maps.Copy(here, invalidations)
	for name, invalidate := range here {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				// Without a mutex in common, nobody waits for a lease either.
				cfg := config(memory.Config{})
				r, old := open(t, cfg), blocking()
				before := herd(t, 1, r, "k", old)
				if err := invalidate(t, r); err != nil {
					t.Fatal(err)
				}
				if name == "Invalidate hard" || name == "Invalidate soft" {
					// The lease is still held: end it, as its expiry would.
					if err := cfg.Backend.Delete(t.Context(), []backend.Key{{Region: "test", Name: "k"}}); err != nil {
						t.Fatal(err)
					}
				}
				must(t, r, "k", counting(), "v1")
				old.release()
				allGot(t, before, "v1")
			})
		})
	}
}

// Between the proof that nothing was invalidated and the end of the flight nobody
// may come aboard.
func TestNobodyJoinsAFlightWhoseProofIsUnderWay(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by := open(t, cfg)
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new row", nil }
		var once atomic.Bool
		after := make(chan (<-chan answer), 1)
		p := &probe{}
		cfg.Wrap = append(cfg.Wrap, probing(p))
		r := open(t, cfg)
		p.after = func(op string) {
			if op != "set" || once.Swap(true) {
				return
			}
			if err := by.Invalidate(t.Context(), region.Hard); err != nil {
				t.Error(err)
			}
			after <- background(t.Context(), r, "k", fresh)
			time.Sleep(time.Second) // until that call waits for something
		}
		old := counting()
		old.value = func(int64) (string, error) { return "old row", nil }
		must(t, r, "k", old, "old row")
		allGot(t, []<-chan answer{<-after}, "new row")
	})
}

// Who comes before the creator begins may have its value, whatever is invalidated
// later.
func TestWhoCameBeforeTheCreatorBeganGetsItsValue(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by, c := open(t, cfg), blocking()
		onTheWay := make(chan struct{})
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "acquire" {
				<-onTheWay
			}
		}}))
		r := open(t, cfg)
		calls := herd(t, 1, r, "k", c)
		calls = append(calls, herd(t, 5, r, "k", c)...) // while the lease is being asked for
		close(onTheWay)
		synctest.Wait()
		if err := by.Invalidate(t.Context(), region.Hard); err != nil {
			t.Fatal(err)
		}
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
	})
}

// A value that was read before an invalidation must not reach a caller who came
// after it, though both wait for the same flight.
func TestAReadBeforeAnInvalidationIsNotSharedAfterIt(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		creating, by := open(t, cfg), open(t, cfg)
		rec := &recorder{}
		p := &probe{}
		watched := cfg
		watched.Wrap = append(watched.Wrap, probing(p))
		watched.Observer = rec
		r := open(t, watched)

		// r's flight waits for the lease, which the creating region holds.
		old := blocking()
		old.value = func(int64) (string, error) { return "old row", nil }
		first := herd(t, 1, creating, "k", old)
		before := herd(t, 1, r, "k", counting())

		// It wakes, reads the value, and while its answer is on the way the
		// region is invalidated and another caller comes.
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new row", nil }
		var once atomic.Bool
		after := make(chan (<-chan answer), 1)
		p.after = func(op string) {
			if op != "get" || once.Swap(true) {
				return
			}
			if err := by.Invalidate(t.Context(), region.Hard); err != nil {
				t.Error(err)
			}
			after <- background(t.Context(), r, "k", fresh)
			time.Sleep(time.Second)
		}
		old.release()
		allGot(t, first, "old row")
		if a := <-before[0]; a.err != nil {
			t.Error(a.err)
		}
		allGot(t, []<-chan answer{<-after}, "new row")
	})
}

func TestASetDuringACreationIsNotOverwritten(t *testing.T) {
	for where, remote := range map[string]bool{"here": false, "elsewhere": true} {
		t.Run(where, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				r, by, c := open(t, cfg), open(t, cfg), blocking()
				if !remote {
					by = r
				}
				calls := herd(t, 1, r, "k", c)
				if err := region.Set(t.Context(), by, "k", "set"); err != nil {
					t.Fatal(err)
				}
				c.release()
				allGot(t, calls, "v1")
				holds(t, r, "k", "set")
				if s := r.Stats(); s.Unstored != 1 {
					t.Errorf("%d unstored values, want 1", s.Unstored)
				}
			})
		})
	}
}

func TestAnInvalidationDuringASetIsNotLost(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by := open(t, cfg)
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "set" {
				if err := by.Invalidate(t.Context(), region.Hard); err != nil {
					t.Error(err)
				}
			}
		}}))
		r := open(t, cfg)
		if err := region.Set(t.Context(), r, "k", "v"); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "")
	})
}

func TestALeaseThatIsLostMayEndTheCreator(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.CancelOnLeaseLost = true
		r, by, c := open(t, cfg), open(t, cfg), blocking()
		calls := herd(t, 5, r, "k", c)
		if err := by.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.want(t, 2) // the first was cancelled, and its callers have started over
		c.release()
		allGot(t, calls, "v2")
	})
}

func TestRegionsDoNotShareKeysNorInvalidations(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		a, b := openAs(t, "a", cfg), openAs(t, "b", cfg)
		must(t, a, "k", counting(), "v1")
		holds(t, b, "k", "")
		must(t, b, "k", counting(), "v1")
		if err := a.Invalidate(t.Context(), region.Hard); err != nil {
			t.Fatal(err)
		}
		holds(t, a, "k", "")
		holds(t, b, "k", "v1")
		if err := a.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		holds(t, b, "k", "v1")
	})
}
