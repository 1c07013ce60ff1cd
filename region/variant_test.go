package region_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

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
		if n != 6 {
			t.Errorf("it took %d trips, want 6", n)
		}
		old.gets("single", 1)
		if n := d.trips(func() { now.gets("single", 1) }); n != 6 {
			t.Errorf("one takes %d trips, want 6", n)
		}
		if _, err := old.multi(t.Context(), keys); err != nil {
			t.Error(err)
		}
		old.created(3) // the other half are its variants
	})
}

func TestAStaleVariantIsServedWhileItIsCreatedAnew(t *testing.T) {
	for _, refresh := range []region.Refresh{region.Foreground, region.Background} {
		eachDeploy(t, func(t *testing.T, d *deploy) {
			d.cfg.Refresh = refresh
			old, now, other := d.v1(), d.added(), d.added()
			// The variant becomes stale before its main entry does.
			short := func(ctx context.Context) error {
				region.FromContext(ctx).SetExpiration(d.cfg.Expiration / 2)
				old, ok := region.FromContext(ctx).Stale()
				if want := d.row.Load() - 1; ok != (want > 0) || ok && old.(rowAdded).N != want {
					t.Errorf("the creator's old value is %v, %v; want that of row %d", old, ok, want)
				}
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
		"a tag added":   {nil, {region.WithTags("t")}},
		"a tag removed": {{region.WithTags("t")}, nil},
		"other tags":    {{region.WithTags("t")}, {region.WithTags("u")}},
		"less strict":   {nil, {region.WithExpiration(time.Hour)}},
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
		long := region.WithExpiration(12 * time.Hour)
		old.gets("k", 1, long)
		old.gets("late", 1, long)
		now.gets("k", 1, long)
		for range 2 {
			time.Sleep(d.cfg.Expiration + d.cfg.StaleFor + time.Second) // which is nothing to these
			for _, key := range []string{"k", "late"} {
				now.gets(key, 1, long)
				old.gets(key, 1, long)
			}
		}
		old.created(2)
		now.created(2)
	})
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
