package region_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

// Who has waited for a creation of another release goes for its own at once.
func TestWaitingForAnotherReleaseTakesNoDetour(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		acquired := 0
		old := d.v1()
		now := d.added(func(cfg *region.Config) {
			cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend {
				return &probe{Backend: b, before: func(op string) {
					if op == "acquire" {
						acquired++
					}
				}}
			})
		})
		old.gate = make(chan struct{})
		first := old.comes("k")
		synctest.Wait()
		second := now.comes("k")
		synctest.Wait()
		close(old.gate)
		allGot(t, []<-chan answer{first, second}, "1")
		if acquired != 2 {
			t.Errorf("leases were asked for %d times, want 2: the key's, and the variant's", acquired)
		}
	})
}

func TestSharersOfAVariantShareNothingElse(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		d.v1().gets("k", 1)
		r, gate, got := open(t, d.cfg), make(chan struct{}), make(chan user, 10)
		for range cap(got) {
			go func() {
				u, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (user, error) {
					<-gate
					return user{ID: 1, Tags: []string{"a"}}, nil
				})
				if err != nil {
					t.Error(err)
				}
				got <- u
			}()
		}
		synctest.Wait()
		close(gate)
		for range cap(got) {
			u := <-got
			if len(u.Tags) != 1 || u.Tags[0] != "a" {
				t.Fatalf("a caller got %+v, which another one has written into", u)
			}
			u.Tags[0] = "changed"
		}
	})
}

// What is wrong with a variant is a miss and an event.
func TestADamagedVariantIsCreatedAnew(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		rec := &recorder{}
		d.cfg.Observer = rec
		var variant backend.Key
		old := d.v1()
		now := d.added(func(cfg *region.Config) {
			cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend {
				return &noting{Backend: b, last: &variant}
			})
		})
		old.gets("k", 1)
		now.gets("k", 1)
		main, err := d.cfg.Backend.Get(t.Context(), backend.Key{Region: "test", Name: "k"}, nil)
		if err != nil || variant.Region == "test" {
			t.Fatal(err, variant)
		}
		items := []backend.Item{{Key: variant, Entry: main.Entry}}
		if _, err := d.cfg.Backend.Set(t.Context(), items, nil); err != nil {
			t.Fatal(err)
		}
		now.gets("k", 1)
		now.gets("k", 1)
		now.created(2)
		if len(rec.badEntries) == 0 || rec.badEntries[0].Key != "k" || !errors.Is(rec.badEntries[0].Err, envelope.ErrOtherKey) {
			t.Errorf("events %+v; want one that says what is wrong with the variant of k", rec.badEntries)
		}
	})
}

// noting notes the key that was stored last.
type noting struct {
	backend.Backend
	last *backend.Key
}

func (n *noting) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	*n.last = items[0].Key
	return n.Backend.Set(ctx, items, guards)
}

// What is dead or damaged is replaced as ever, whatever it had been.
func TestADeadEntryOfAnotherReleaseIsReplaced(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old, now := d.v1(), d.added()
		for name, kill := range map[string]func(){
			"too old":     func() { time.Sleep(d.cfg.Expiration + d.cfg.StaleFor + time.Millisecond) },
			"invalidated": func() { old.r.Invalidate(t.Context(), region.Hard) },
			"damaged": func() {
				key := backend.Key{Region: "test", Name: "k"}
				found, err := d.cfg.Backend.Get(t.Context(), key, nil)
				if err != nil {
					t.Fatal(err)
				}
				data := append([]byte{}, found.Entry.Data...)
				data[len(data)-1] ^= 1
				if _, err := d.cfg.Backend.Set(t.Context(), []backend.Item{{Key: key, Entry: &backend.Entry{Data: data}}}, nil); err != nil {
					t.Fatal(err)
				}
			},
		} {
			if err := old.set(t.Context(), "k", 1); err != nil {
				t.Fatal(err)
			}
			kill()
			now.gets("k", 1)
			if n := d.trips(func() { now.gets("k", 1) }); n != 1 {
				t.Errorf("%s: a hit takes %d trips, want 1", name, n)
			}
		}
	})
}

func TestABackendThatFailsAtVariantsIsAMiss(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old := d.v1()
		old.gets("k", 1)
		down, reads := errors.New("down"), 0
		now := d.added(func(cfg *region.Config) {
			cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend {
				return &probe{Backend: b, fail: func(op string) error {
					if op == "get" {
						if reads++; reads%2 == 0 {
							return down
						}
					}
					return nil
				}}
			})
		})
		if _, ok, err := now.get(t.Context(), "k"); ok || !errors.Is(err, down) {
			t.Errorf("Get = %v, %v; want the failure", ok, err)
		}
		now.gets("k", 1)
		if _, err := now.multi(t.Context(), []string{"k", "l"}); err != nil {
			t.Error(err)
		}
	})
}

// The limits of a call hold for one who waits for a variant, too.
func TestWaitingForAVariantEnds(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		d.cfg.MaxWait, d.cfg.CreateTimeout = 10*time.Second, 20*time.Second
		old, now, other := d.v1(), d.added(), d.added()
		old.gets("k", 1)
		now.gate = make(chan struct{})
		defer close(now.gate)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		holder := now.comes("k")
		synctest.Wait()
		if _, err := other.call(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v, want the deadline", err)
		}
		if a := <-holder; !errors.Is(a.err, region.ErrMaxWait) {
			t.Errorf("the creator's caller got %v, want ErrMaxWait", a.err)
		}
		other.gets("k", 1) // the lease is free
	})
}

// A mutex of one's own decides about variants as well.
func TestVariantsUnderAMutex(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		d.cfg.Mutex = local.New()
		d.v1().gets("k", 1)
		all := []*binary{d.added(), d.added()}
		gate := make(chan struct{})
		var calls []<-chan answer
		for _, b := range all {
			b.gate = gate
			calls = append(calls, b.comes("k"))
		}
		synctest.Wait()
		close(gate)
		allGot(t, calls, "1")
		if n := all[0].made.Load() + all[1].made.Load(); n != 1 {
			t.Errorf("the creators ran %d times, want once", n)
		}
	})
}
