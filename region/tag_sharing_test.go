package region_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// This is law I1 for tags: a creation is under way when a tag is invalidated, here or
// elsewhere, that the call has named or that the creator adds in the end.
func TestATagInvalidatedDuringACreation(t *testing.T) {
	for _, added := range []bool{false, true} {
		for where, remote := range map[string]bool{"here": false, "elsewhere": true} {
			for mode, invalidate := range map[string]func(ctx context.Context, r *region.Region) error{
				"hard": func(ctx context.Context, r *region.Region) error { return r.InvalidateTags(ctx, "t") },
				"soft": func(ctx context.Context, r *region.Region) error { return region.SoftTags(ctx, r, "t") },
			} {
				t.Run(map[bool]string{false: "named, ", true: "added, "}[added]+mode+", "+where, func(t *testing.T) {
					eachKind(t, func(t *testing.T, cfg region.Config) {
						cfg.StaleFor = region.NoStale // or a soft one leaves something to serve
						r, by := open(t, cfg), open(t, cfg)
						if !remote {
							by = r
						}
						var opts []region.CallOption
						if !added {
							opts = append(opts, region.WithTags("t"))
						}
						release := make(chan struct{})
						ask := func(row string, wait bool) <-chan answer {
							done := make(chan answer, 1)
							go func() {
								v, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
									if wait {
										<-release
									}
									if added {
										region.FromContext(ctx).AddTags("t")
									}
									return row, nil
								}, opts...)
								done <- answer{v, err}
							}()
							synctest.Wait()
							return done
						}
						before := []<-chan answer{ask("old row", true)}
						if err := invalidate(t.Context(), by); err != nil {
							t.Fatal(err)
						}
						after := []<-chan answer{ask("new row", false), ask("new row", false)}
						close(release)
						allGot(t, before, "old row")
						allGot(t, after, "new row")
						holds(t, by, "k", "new row")
					})
				})
			}
		}
	}
}

// Somebody elsewhere publishes a value without the tag of one of those who wait for it.
func TestAValueFromElsewhereWithoutTheTag(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		elsewhere, r := open(t, cfg), open(t, cfg)
		old, fresh := blocking(), counting()
		old.value = func(int64) (string, error) { return "old row", nil }
		fresh.value = func(int64) (string, error) { return "new row", nil }
		before := herd(t, 1, elsewhere, "k", old, region.WithTags("a"))
		if err := elsewhere.InvalidateTags(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		leads := herd(t, 1, r, "k", fresh, region.WithTags("a"))
		joins := herd(t, 2, r, "k", fresh, region.WithTags("b"))
		old.release()
		allGot(t, before, "old row")
		<-leads[0] // either will do
		allGot(t, joins, "new row")
	})
}

// A hit in passing looks whether the value has the tags, too.
func TestAHitWithoutTheTags(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		r := open(t, config(memory.Config{}))
		load := func(context.Context, int) (string, error) { return "loaded", nil }
		f := decorate.CacheOnArguments(r, load, region.Namespace("f"))
		tagged := region.Cached(r, load, region.Namespace("g"), region.WithTags("t"))
		key, err := f.Key(1)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for _, k := range []string{key, "g" + key[1:]} {
				if err := region.Set(ctx, r, k, "set by key"); err != nil {
					t.Fatal(err)
				}
			}
			if v, err := f.Call(ctx, 1); v != "loaded" || err != nil {
				t.Errorf("the function: %q, %v; want it loaded, because InvalidateAll would not reach what was set", v, err)
			}
			if v, err := tagged(ctx, 1); v != "loaded" || err != nil {
				t.Errorf("the function with a tag: %q, %v; want it loaded", v, err)
			}
		}
	})
}

// keeper records of which guards the stamps have to be kept.
type keeper struct {
	backend.Backend
	kept []string
}

func (k *keeper) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	for _, g := range guards {
		k.kept = append(k.kept, g.Tag)
	}
	return k.Backend.Set(ctx, items, guards)
}

func TestBackendsAreToldWhatToKeep(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		k := new(keeper)
		cfg := config(memory.Config{Copy: true})
		cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { k.Backend = b; return k })
		r := open(t, cfg)
		want := func(tags ...string) {
			t.Helper()
			for _, tag := range tags {
				if !slices.Contains(k.kept, tag) {
					t.Errorf("told to keep %q, want %q among them", k.kept, tag)
				}
			}
			k.kept = nil
		}
		if err := region.Set(ctx, r, "k", "v", region.WithTags("set")); err != nil {
			t.Fatal(err)
		}
		want("#set")
		must(t, r, "l", counting(), "v1", region.WithTags("called"))
		want("#called")
		if _, err := region.GetOrCreate(ctx, r, "m", func(ctx context.Context) (string, error) {
			region.FromContext(ctx).AddTags("added")
			return "v", nil
		}); err != nil {
			t.Fatal(err)
		}
		want("#added")
	})
}
