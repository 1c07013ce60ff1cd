package region_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/region"
)

// The promise: binaries of two releases, side by side, create each value once each.
func TestTwoReleasesCreateOnceEach(t *testing.T) {
	for name, next := range successors {
		t.Run(name, func(t *testing.T) {
			eachDeploy(t, func(t *testing.T, d *deploy) {
				old, now := d.v1(), next(d)
				for cycle := range int64(4) {
					for i := range 6 {
						first, second := old, now
						if i%2 == int(cycle%2) { // also the new one is the first
							first, second = now, old
						}
						first.gets("k", 1)
						second.gets("k", 1)
					}
					old.created(cycle + 1)
					now.created(cycle + 1)
					time.Sleep(d.cfg.Expiration + d.cfg.StaleFor + time.Second)
				}
				old.clean()
				now.clean()
				if old.r.Stats().Foreign+now.r.Stats().Foreign == 0 {
					t.Error("nothing tells that a deploy is under way")
				}
			})
		})
	}
}

// It holds also for values that become stale, whoever comes first then.
func TestTwoReleasesCreateOnceEachWhenValuesAreStale(t *testing.T) {
	for _, order := range []string{"old new", "new old", "new new old", "old old new"} {
		eachDeploy(t, func(t *testing.T, d *deploy) {
			old, now := d.v1(), d.added()
			for cycle := range int64(5) {
				for range 3 {
					for _, who := range order {
						switch who {
						case 'o':
							old.gets("k", 1)
						case 'n':
							now.gets("k", 1)
						}
					}
					time.Sleep(d.cfg.Expiration / 5)
				}
				old.created(cycle + 1)
				now.created(cycle + 1)
				time.Sleep(d.cfg.Expiration / 2)
			}
		})
	}
}

func TestThreeReleasesCreateOnceEach(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		all := []*binary{d.v1(), d.added(), d.changed(), d.added()}
		for range 5 {
			for _, b := range all {
				b.gets("k", 1)
			}
		}
		all[0].created(1)
		all[1].created(1)
		all[2].created(1)
		all[3].created(0) // a second process of a release
	})
}

func TestAHerdOfTwoReleasesCreatesOnceEach(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		all := []*binary{d.v1(), d.added(), d.v1(), d.added()}
		gate := make(chan struct{})
		var calls []<-chan answer
		for _, b := range all {
			b.gate = gate
		}
		for range 20 {
			for _, b := range all {
				calls = append(calls, b.comes("k"))
			}
		}
		synctest.Wait()
		close(gate)
		allGot(t, calls, "1")
		if a, b := all[0].made.Load()+all[2].made.Load(), all[1].made.Load()+all[3].made.Load(); a != 1 || b != 1 {
			t.Errorf("the creators ran %d and %d times, want 1 and 1", a, b)
		}
		for _, b := range all {
			b.clean()
		}
	})
}

// While a deploy is rolling a hit of those whose value came second takes another trip to
// the backend, and nobody else's does.
func TestHitsOfVariantsTakeTwoTrips(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old, now := d.v1(), d.added()
		keys := []string{"a", "b", "c", "d"}
		for _, b := range []*binary{old, now} {
			if got, err := b.multi(t.Context(), keys); len(got) != len(keys) || err != nil {
				t.Fatal(got, err)
			}
			b.created(1)
		}
		for _, c := range []struct {
			b    *binary
			want int64
		}{{old, 1}, {now, 2}} {
			if n := d.trips(func() { c.b.gets("a", 1) }); n != c.want {
				t.Errorf("a hit takes %d trips, want %d", n, c.want)
			}
			if n := d.trips(func() {
				if v, ok, err := c.b.get(t.Context(), "b"); v != 1 || !ok || err != nil {
					t.Errorf("Get = %v, %v, %v; want 1", v, ok, err)
				}
			}); n != c.want {
				t.Errorf("a Get takes %d trips, want %d", n, c.want)
			}
			if n := d.trips(func() {
				if got, err := c.b.multi(t.Context(), keys); len(got) != len(keys) || err != nil {
					t.Errorf("%v, %v; want all of %q", got, err, keys)
				}
			}); n != c.want {
				t.Errorf("a hit of many takes %d trips, want %d", n, c.want)
			}
			if n := d.trips(func() {
				if got, err := c.b.reads(t.Context(), keys); len(got) != len(keys) || err != nil {
					t.Errorf("%v, %v; want all of %q", got, err, keys)
				}
			}); n != c.want {
				t.Errorf("a Get of many takes %d trips, want %d", n, c.want)
			}
		}
		old.created(1)
		now.created(1)

		// When the old ones are gone the new ones take over.
		time.Sleep(d.cfg.Expiration + time.Second)
		now.gets("a", 1)
		if n := d.trips(func() { now.gets("a", 1) }); n != 1 {
			t.Errorf("a hit takes %d trips after the deploy, want 1", n)
		}
		now.created(2)
	})
}

// A miss that ends in a variant takes a constant number of trips, for many keys as for one.
func TestManyVariantsAreCreatedTogether(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old, now := d.v1(), d.added()
		var keys []string
		for i := range 100 {
			keys = append(keys, fmt.Sprint(i))
		}
		if _, err := old.multi(t.Context(), keys[:50]); err != nil {
			t.Fatal(err)
		}
		n := d.trips(func() {
			if got, err := now.multi(t.Context(), keys); len(got) != len(keys) || err != nil {
				t.Errorf("got %d values, %v; want all", len(got), err)
			}
		})
		now.created(1)
		// Both looks, the leases, the main entries again, the storing, and the proof.
		if n > 6 {
			t.Errorf("it took %d trips, want 6", n)
		}
		if _, err := old.multi(t.Context(), keys); err != nil {
			t.Error(err)
		}
		old.created(2) // the other half are its variants
	})
}

// waysToInvalidate are told the row, and then tell the region in one way or another.
var waysToInvalidate = map[string]func(ctx context.Context, b *binary, row int64) error{
	"Delete":          func(ctx context.Context, b *binary, _ int64) error { return b.r.Delete(ctx, "k") },
	"Set":             func(ctx context.Context, b *binary, row int64) error { return b.set(ctx, "k", row, b.tags...) },
	"Expire":          func(ctx context.Context, b *binary, _ int64) error { return b.r.Expire(ctx, "k") },
	"Invalidate hard": func(ctx context.Context, b *binary, _ int64) error { return b.r.Invalidate(ctx, region.Hard) },
	"Invalidate soft": func(ctx context.Context, b *binary, _ int64) error { return b.r.Invalidate(ctx, region.Soft) },
	"tags":            func(ctx context.Context, b *binary, _ int64) error { return b.r.InvalidateTags(ctx, "t", "late") },
	"soft tags":       func(ctx context.Context, b *binary, _ int64) error { return region.SoftTags(ctx, b.r, "t", "late") },
}

// tagging are the ways in which a value gets the tags of those invalidations.
var tagging = map[string]struct {
	opts []region.CallOption
	set  []region.SetOption
	said func(ctx context.Context) error
}{
	"tag of the call":    {opts: []region.CallOption{region.WithTags("t")}, set: []region.SetOption{region.WithTags("t")}},
	"tag of the creator": {said: func(ctx context.Context) error { region.FromContext(ctx).AddTags("late"); return nil }},
}

func TestWhateverInvalidatesInvalidatesVariants(t *testing.T) {
	for name, invalidate := range waysToInvalidate {
		for how, tags := range tagging {
			t.Run(name+", "+how, func(t *testing.T) {
				eachDeploy(t, func(t *testing.T, d *deploy) {
					d.cfg.StaleFor = region.NoStale
					old, now := d.v1(), d.added()
					old.said, now.said = tags.said, tags.said
					old.tags, now.tags = tags.set, tags.set
					for range 4 {
						for _, writer := range []*binary{old, now} {
							for _, b := range []*binary{old, now, old, now} {
								b.gets("k", d.row.Load(), tags.opts...)
							}
							before := old.made.Load() + now.made.Load()
							row := d.row.Add(1)
							if err := invalidate(t.Context(), writer, row); err != nil {
								t.Fatal(err)
							}
							for _, b := range []*binary{now, old, old, now} {
								b.gets("k", row, tags.opts...)
							}
							if n := old.made.Load() + now.made.Load() - before; n > 2 {
								t.Errorf("%d creators ran for one invalidation, want one of each binary", n)
							}
						}
					}
				})
			})
		}
	}
}

// Soft invalidations and Expire leave a variant's value to be served while another one is
// being created.
func TestSoftInvalidationsMakeVariantsStale(t *testing.T) {
	for _, name := range []string{"Expire", "Invalidate soft", "soft tags"} {
		t.Run(name, func(t *testing.T) {
			eachDeploy(t, func(t *testing.T, d *deploy) {
				old, now := d.v1(), d.added()
				tags := tagging["tag of the call"].opts
				old.gets("k", 1, tags...)
				now.gets("k", 1, tags...)
				d.row.Store(2)
				if err := waysToInvalidate[name](t.Context(), old, 2); err != nil {
					t.Fatal(err)
				}
				if v, ok, err := now.get(t.Context(), "k", region.WithTags("t")); ok || err != nil {
					t.Errorf("Get = %v, %v, %v; want a miss", v, ok, err)
				}
				if v, ok, err := now.get(t.Context(), "k", region.WithTags("t"), region.AllowStale()); v != 1 || !ok || err != nil {
					t.Errorf("Get allowing stale = %v, %v, %v; want the old value", v, ok, err)
				}
				now.gate = make(chan struct{})
				winner := now.comes("k", tags...)
				synctest.Wait()
				now.gets("k", 1, tags...)
				close(now.gate)
				if a := <-winner; a.value != "2" || a.err != nil {
					t.Errorf("the one who created got %+v, want 2", a)
				}
				now.gets("k", 2, tags...)
				old.gets("k", 2, tags...)
				old.created(2)
				now.created(2)
			})
		})
	}
}

func TestAStaleVariantIsServedWhileItIsCreatedAnew(t *testing.T) {
	for _, refresh := range []region.Refresh{region.Foreground, region.Background} {
		eachDeploy(t, func(t *testing.T, d *deploy) {
			d.cfg.Refresh = refresh
			old, now, other := d.v1(), d.added(), d.added()
			// The variant becomes stale before its main entry does.
			short := func(ctx context.Context) error {
				region.FromContext(ctx).SetExpiration(d.cfg.Expiration / 2)
				return nil
			}
			now.said, other.said = short, short
			old.gets("k", 1)
			now.gets("k", 1)
			for _, after := range []time.Duration{d.cfg.Expiration/2 + time.Second, d.cfg.Expiration} {
				time.Sleep(after) // first the variant alone is stale, then both
				was := d.row.Load()
				row := d.row.Add(1)
				made := now.made.Load() + other.made.Load()
				gate := make(chan struct{})
				now.gate, other.gate = gate, gate
				winner := now.comes("k")
				synctest.Wait()
				now.gets("k", was)
				other.gets("k", was)
				want := row
				if refresh == region.Background {
					want = was
				}
				close(gate)
				if a := <-winner; a.value != fmt.Sprint(want) || a.err != nil {
					t.Errorf("the one who created got %+v, want %d", a, want)
				}
				synctest.Wait()
				now.gets("k", row)
				other.gets("k", row)
				if n := now.made.Load() + other.made.Load() - made; n != 1 {
					t.Errorf("%d creators ran, want 1", n)
				}
			}
		})
	}
}

// The creator of a variant is at work while something is invalidated elsewhere: those who
// come afterwards do not get what it returns, and it does not stay.
func TestInvalidationsWhileAVariantIsCreated(t *testing.T) {
	for name, invalidate := range waysToInvalidate {
		for how, tags := range tagging {
			t.Run(name+", "+how, func(t *testing.T) {
				eachDeploy(t, func(t *testing.T, d *deploy) {
					d.cfg.StaleFor = region.NoStale
					old, now, other := d.v1(), d.added(), d.added()
					for _, b := range []*binary{old, now, other} {
						b.said = tags.said
					}
					old.gets("k", 1, tags.opts...)
					gate := make(chan struct{})
					now.gate, other.gate = gate, gate
					early := []<-chan answer{now.comes("k", tags.opts...)}
					synctest.Wait()
					d.row.Store(2)
					if err := invalidate(t.Context(), old, 2); err != nil {
						t.Fatal(err)
					}
					late := []<-chan answer{now.comes("k", tags.opts...), now.comes("k", tags.opts...), other.comes("k", tags.opts...)}
					synctest.Wait()
					close(gate)
					allGot(t, early, "1")
					allGot(t, late, "2")
					now.gets("k", 2, tags.opts...)
					other.gets("k", 2, tags.opts...)
					old.gets("k", 2, tags.opts...)
				})
			})
		}
	}
}

// Something is invalidated between the look at the main entry and the lease of the variant
// that is found then.
func TestAVariantThatIsFoundUnderItsLeaseIsOfWhatIsThere(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old, other := d.v1(), d.added()
		old.gets("k", 1)
		var late <-chan answer
		now := d.added(func(cfg *region.Config) {
			cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend {
				return &probe{Backend: b, before: func(op string) {
					if op != "acquire" || late != nil {
						return
					}
					late = make(chan answer)
					other.gets("k", 1) // so there is a variant
					d.row.Store(2)
					if err := old.r.Delete(t.Context(), "k"); err != nil {
						t.Error(err)
					}
				}}
			})
		})
		got, err := now.call(t.Context(), "k")
		if err != nil || got != 2 {
			t.Errorf("got row %d, %v; want 2: what was found had been deleted before the lease was asked for", got, err)
		}
	})
}

// Two main entries that are equal in all that matters, with a Delete in between, are two.
func TestAVariantIsNotOfALaterEntryThatLooksTheSame(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old, now := d.v1(), d.added()
		for row := range int64(20) { // in one moment, because time stands still
			d.row.Store(row)
			if err := old.set(t.Context(), "k", 0); err != nil {
				t.Fatal(err)
			}
			now.gets("k", row)
			if err := old.r.Delete(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSetTakesTheKeyOver(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old, now := d.v1(), d.added()
		old.gets("k", 1)
		if err := now.set(t.Context(), "k", 7); err != nil {
			t.Fatal(err)
		}
		if n := d.trips(func() { now.gets("k", 7) }); n != 1 {
			t.Errorf("a hit takes %d trips, want 1", n)
		}
		d.row.Store(2)
		old.gets("k", 2)
		old.gets("k", 2)
		now.gets("k", 7)
		old.created(2)
		now.created(0)
	})
}

func TestNotFoundIsRememberedByEachRelease(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		d.cfg.NotFoundFor = 10 * time.Second
		old, now := d.v1(), d.added()
		none := func(context.Context) error { return region.ErrNotFound }
		wants := func(b *binary, found bool) {
			t.Helper()
			if _, err := b.call(t.Context(), "k"); errors.Is(err, region.ErrNotFound) == found {
				t.Errorf("got %v; want a value: %v", err, found)
			}
		}
		for _, found := range [][2]bool{{false, false}, {true, false}, {false, true}} {
			for i, b := range []*binary{old, now} {
				if b.said = none; found[i] {
					b.said = nil
				}
			}
			a, b := old.made.Load(), now.made.Load()
			for range 4 {
				wants(old, found[0])
				wants(now, found[1])
			}
			old.created(a + 1)
			now.created(b + 1)
			time.Sleep(11 * time.Second)
			// A value beside a "not found" has to be created again with it.
			a, b = old.made.Load(), now.made.Load()
			for range 4 {
				wants(now, found[1])
				wants(old, found[0])
			}
			if old.made.Load() > a+1 || now.made.Load() > b+1 {
				t.Errorf("%v: the creators ran %d and %d times, want once each at most", found, old.made.Load()-a, now.made.Load()-b)
			}
			if err := old.r.Delete(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Calls that differ in what they take, or in their tags, do not take the key from each
// other either.
func TestCallsOfTwoReleasesMayDiffer(t *testing.T) {
	for name, opts := range map[string][2][]region.CallOption{
		"a tag added":    {nil, {region.WithTags("t")}},
		"a tag removed":  {{region.WithTags("t")}, nil},
		"other tags":     {{region.WithTags("t")}, {region.WithTags("u")}},
		"less strict":    {nil, {region.WithExpiration(time.Hour)}},
		"for ever, both": {{region.WithExpiration(region.Forever)}, {region.WithExpiration(region.Forever)}},
	} {
		t.Run(name, func(t *testing.T) {
			eachDeploy(t, func(t *testing.T, d *deploy) {
				old, now := d.v1(), d.added()
				for range 5 {
					old.gets("k", 1, opts[0]...)
					now.gets("k", 1, opts[1]...)
				}
				old.created(1)
				now.created(1)
			})
		})
	}
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old, now := d.v1(), d.added()
		old.gets("k", 1)
		for range 5 {
			now.gets("k", 1, region.WithExpiration(5*time.Second))
			old.gets("k", 1)
			time.Sleep(6 * time.Second)
		}
		old.created(1) // what was fresh to it has stayed
		now.created(5)
		now.gets("k", 1, region.WithExpiration(0)) // which is new to everybody
		if n := d.trips(func() { now.gets("k", 1) }); n != 1 {
			t.Errorf("a hit takes %d trips, want 1", n)
		}
		old.gets("k", 1)
		old.created(2)
		now.created(6)
	})
}

// Nothing is kept beside one another for ever.
func TestVariantsDoNotOutlastADay(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		d.cfg.Expiration = region.Forever
		old, now := d.v1(), d.added()
		old.gets("k", 1)
		now.gets("k", 1)
		time.Sleep(23 * time.Hour)
		now.gets("k", 1)
		now.created(1)
		time.Sleep(2 * time.Hour)
		now.gets("k", 1)
		now.created(2)
		if n := d.trips(func() { now.gets("k", 1) }); n != 1 {
			t.Errorf("a hit takes %d trips, want 1: it has taken the key over", n)
		}
	})
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

// If it cannot be proved at the end that the main entry is still there, later callers ask
// again.
func TestTheProofOfAVariantMayFail(t *testing.T) {
	eachDeploy(t, func(t *testing.T, d *deploy) {
		old := d.v1()
		old.gets("k", 1)
		down, stored := errors.New("down"), false
		now := d.added(func(cfg *region.Config) {
			cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend {
				p := &probe{Backend: b}
				p.after = func(op string) { stored = stored || op == "set" }
				p.fail = func(op string) error {
					if op == "get" && stored {
						stored = false
						return down
					}
					return nil
				}
				return p
			})
		})
		now.gate = make(chan struct{})
		early := now.comes("k")
		synctest.Wait()
		d.row.Store(2)
		if err := old.r.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		late := now.comes("k")
		synctest.Wait()
		close(now.gate)
		allGot(t, []<-chan answer{early}, "1")
		allGot(t, []<-chan answer{late}, "2")
		if s := now.r.Stats(); s.Errors != 1 {
			t.Errorf("%d errors, want 1", s.Errors)
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
