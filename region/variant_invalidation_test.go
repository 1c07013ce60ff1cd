package region_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/region"
)

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

// What is stored under the key comes or goes between the look and the lease.
func TestAValueMovesToWhereItBelongs(t *testing.T) {
	for name, c := range map[string]struct {
		before, meanwhile func(old *binary)
	}{
		"another release has stored its own": {
			func(*binary) {},
			func(old *binary) { old.gets("k", 1) },
		},
		"that of another release is gone": {
			func(old *binary) { old.gets("k", 1) },
			func(old *binary) { old.r.Delete(old.t.Context(), "k") },
		},
		"that of another release has expired": {
			func(old *binary) { old.gets("k", 1) },
			func(old *binary) { old.r.Expire(old.t.Context(), "k") },
		},
		"another one has taken its place": {
			func(old *binary) { old.gets("k", 1) },
			func(old *binary) { old.gets("k", 1, region.WithExpiration(0)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachDeploy(t, func(t *testing.T, d *deploy) {
				old, once := d.v1(), false
				now := d.added(func(cfg *region.Config) {
					cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend {
						return &probe{Backend: b, before: func(op string) {
							if op == "acquire" && !once {
								once = true
								c.meanwhile(old)
							}
						}}
					})
				})
				c.before(old)
				now.gets("k", 1)
				for range 3 {
					now.gets("k", 1)
					now.created(1)
				}
				made := old.made.Load()
				for range 3 {
					old.gets("k", 1)
				}
				if n := old.made.Load() - made; n > 1 || n == 1 && name[:3] == "ano" {
					t.Errorf("the other release's creator ran %d times more", n)
				}
				old.gets("k", 1, region.WithExpiration(0)) // nobody has kept the lease
				now.gets("k", 1, region.WithExpiration(0))
				now.clean()
			})
		})
	}
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
