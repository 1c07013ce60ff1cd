package region_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dogpile-go/dogpile/region"
)

// TestReleasesSideBySide runs random sequences of calls through processes of three
// releases. Nobody gets what was created before the last invalidation, and from one event
// that may end values to the next a release creates each value once at most.
func TestReleasesSideBySide(t *testing.T) {
	for _, kind := range byteKinds {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				synctest.Test(t, func(t *testing.T) { walkReleases(t, rt, kinds[kind]()) })
			})
		})
	}
}

func walkReleases(t *testing.T, rt *rapid.T, cfg region.Config) {
	cfg.Expiration, cfg.StaleFor = 10*time.Second, region.NoStale
	if rapid.Bool().Draw(rt, "stale values are served") {
		cfg.StaleFor = 15 * time.Second
	}
	d := newDeploy(t, cfg)
	releases := [][]*binary{{d.v1(), d.v1()}, {d.added(), d.added()}, {d.changed()}}
	keys := []string{"a", "b"}
	floor := map[string]int64{}      // the row that whoever calls must see at least
	made := map[string]map[int]int{} // by key and release: creators since the last event
	happened := func(keys ...string) {
		for _, key := range keys {
			made[key] = map[int]int{}
		}
	}
	happened(keys...)
	for release, processes := range releases {
		for _, b := range processes {
			b.said = func(ctx context.Context) error {
				for _, key := range ctx.Value(asked{}).([]string) {
					made[key][release]++
				}
				return nil
			}
		}
	}
	ctx, tag := t.Context(), region.WithTags("t")
	process := rapid.Custom(func(rt *rapid.T) *binary {
		return rapid.SampledFrom(rapid.SampledFrom(releases).Draw(rt, "release")).Draw(rt, "process")
	})
	key := rapid.SampledFrom(keys)
	sees := func(key string, row int64, err error) {
		if err != nil || row < floor[key] {
			rt.Fatalf("a call for %q got row %d, %v; want %d at least", key, row, err, floor[key])
		}
		for release, n := range made[key] {
			if n > 1 {
				rt.Fatalf("release %d has created %q %d times since anything happened to it", release, key, n)
			}
		}
	}
	// changes is what ends values of keys, hard.
	changes := func(err error, keys ...string) {
		if err != nil {
			rt.Fatal(err)
		}
		for _, key := range keys {
			floor[key] = d.row.Load()
		}
		happened(keys...)
	}
	rt.Repeat(map[string]func(*rapid.T){
		"call": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			row, err := process.Draw(rt, "process").call(context.WithValue(ctx, asked{}, []string{k}), k, tag)
			sees(k, row, err)
		},
		"get": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			row, ok, err := process.Draw(rt, "process").get(ctx, k, tag)
			if ok || err != nil {
				sees(k, row, err)
			}
		},
		"set": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			changes(process.Draw(rt, "process").set(ctx, k, d.row.Add(1), tag), k)
		},
		"delete": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			d.row.Add(1)
			changes(process.Draw(rt, "process").r.Delete(ctx, k), k)
		},
		"expire": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			if d.cfg.StaleFor == region.NoStale {
				d.row.Add(1)
				changes(process.Draw(rt, "process").r.Expire(ctx, k), k)
			} else if err := process.Draw(rt, "process").r.Expire(ctx, k); err != nil {
				rt.Fatal(err)
			}
			happened(k)
		},
		"invalidate": func(rt *rapid.T) {
			d.row.Add(1)
			changes(process.Draw(rt, "process").r.Invalidate(ctx, region.Hard), keys...)
		},
		"invalidate tags": func(rt *rapid.T) {
			d.row.Add(1)
			changes(process.Draw(rt, "process").r.InvalidateTags(ctx, "t"), keys...)
		},
		"soft": func(rt *rapid.T) {
			if err := process.Draw(rt, "process").r.Invalidate(ctx, region.Soft); err != nil {
				rt.Fatal(err)
			}
			happened(keys...)
		},
		"refresh": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			happened(k)
			row, err := process.Draw(rt, "process").call(context.WithValue(ctx, asked{}, []string{k}), k, tag, region.WithExpiration(0))
			sees(k, row, err)
			happened(k)
		},
		"wait": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.Int64Range(0, 12_000).Draw(rt, "ms")) * time.Millisecond)
			happened(keys...)
		},
	})
}

// asked is under which the context of a creator has the keys that it is asked for.
type asked struct{}
