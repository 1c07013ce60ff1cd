package region_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dogpile-go/dogpile/region"
)

// model is what a region over any backend has to look like from outside: for each
// key the value, when it was created, and what has happened to it since.
type model struct {
	expiration, staleFor time.Duration
	values               map[string]modelValue
}

type modelValue struct {
	text    string
	created time.Time
	soft    bool // invalidated softly since
	tags    []string
}

func (m *model) fresh(key string) bool {
	v, ok := m.values[key]
	return ok && !v.soft && time.Since(v.created) <= m.expiration
}

func (m *model) usable(key string) bool {
	v, ok := m.values[key]
	return ok && time.Since(v.created) <= m.expiration+m.staleFor
}

// TestRegionsBehaveLikeTheirModel runs random sequences of calls, through two
// regions that share a backend as two processes do, beside the model.
func TestRegionsBehaveLikeTheirModel(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				synctest.Test(t, func(t *testing.T) { walk(t, rt, kind()) })
			})
		})
	}
}

func walk(t *testing.T, rt *rapid.T, cfg region.Config) {
	cfg.Expiration, cfg.StaleFor = 10*time.Second, 20*time.Second
	processes := []*region.Region{open(t, cfg), open(t, cfg)}
	m := model{expiration: cfg.Expiration, staleFor: cfg.StaleFor, values: map[string]modelValue{}}
	created := 0
	ctx := t.Context()

	process := rapid.SampledFrom(processes)
	key := rapid.SampledFrom([]string{"", "a", "b", "c"})
	keys := rapid.SliceOfN(key, 0, 6)
	next := func() string { created++; return fmt.Sprint("v", created) }
	put := func(key, text string, tags ...string) {
		m.values[key] = modelValue{text: text, created: time.Now(), tags: tags}
	}
	tag := rapid.SampledFrom([]string{"red", "green", "blue"})
	tags := rapid.SliceOfN(tag, 1, 3)
	lacks := func(k string, want []string) bool {
		for _, tag := range want {
			if !slices.Contains(m.values[k].tags, tag) {
				return true
			}
		}
		return false
	}
	// affected are the values that have one of some tags.
	affected := func(some []string) (names []string) {
		for k, v := range m.values {
			if slices.ContainsFunc(some, func(tag string) bool { return slices.Contains(v.tags, tag) }) {
				names = append(names, k)
			}
		}
		return names
	}
	soften := func(names []string) {
		for _, k := range names {
			if v, there := m.values[k]; there {
				v.soft = true
				m.values[k] = v
			}
		}
	}
	check := func(what string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("%s = %v, want %v", what, got, want)
		}
	}
	noError := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}

	rt.Repeat(map[string]func(*rapid.T){
		"get": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			v, ok, err := region.Get[string](ctx, process.Draw(rt, "process"), k)
			noError(err)
			check("ok", ok, m.fresh(k))
			if ok {
				check("value", v, m.values[k].text)
			}
		},
		"get allowing stale": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			v, ok, err := region.Get[string](ctx, process.Draw(rt, "process"), k, region.AllowStale())
			noError(err)
			check("ok", ok, m.usable(k))
			if ok {
				check("value", v, m.values[k].text)
			}
		},
		"get many": func(rt *rapid.T) {
			ks := keys.Draw(rt, "keys")
			got, err := region.GetMulti[string](ctx, process.Draw(rt, "process"), ks)
			noError(err)
			want := map[string]string{}
			for _, k := range ks {
				if m.fresh(k) {
					want[k] = m.values[k].text
				}
			}
			check("values", got, want)
		},
		"get or create": func(rt *rapid.T) {
			k := key.Draw(rt, "key")
			ran := ""
			v, err := region.GetOrCreate(ctx, process.Draw(rt, "process"), k, func(context.Context) (string, error) {
				ran = next()
				return ran, nil
			})
			noError(err)
			check("created", ran != "", !m.fresh(k))
			if ran != "" {
				put(k, ran)
			}
			check("value", v, m.values[k].text)
		},
		"get or create many": func(rt *rapid.T) {
			ks := keys.Draw(rt, "keys")
			var asked []string
			made := map[string]string{}
			got, err := region.GetOrCreateMulti(ctx, process.Draw(rt, "process"), ks, func(_ context.Context, missing []string) (map[string]string, error) {
				asked = missing
				for _, k := range missing {
					made[k] = next()
				}
				return made, nil
			})
			noError(err)
			var want []string
			seen := map[string]bool{}
			for _, k := range ks {
				if !seen[k] && !m.fresh(k) {
					want = append(want, k)
				}
				seen[k] = true
			}
			check("asked", fmt.Sprintf("%q", asked), fmt.Sprintf("%q", want))
			for k, v := range made {
				put(k, v)
			}
			check("number", len(got), len(seen))
			for k := range seen {
				check("value", got[k], m.values[k].text)
			}
		},
		"get or create with tags": func(rt *rapid.T) {
			k, named, added := key.Draw(rt, "key"), tags.Draw(rt, "tags"), rapid.SliceOfN(tag, 0, 2).Draw(rt, "added")
			ran := ""
			v, err := region.GetOrCreate(ctx, process.Draw(rt, "process"), k, func(ctx context.Context) (string, error) {
				ran = next()
				region.FromContext(ctx).AddTags(added...)
				return ran, nil
			}, region.WithTags(named...))
			noError(err)
			check("created", ran != "", !m.fresh(k) || lacks(k, named))
			if ran != "" {
				put(k, ran, append(slices.Clone(named), added...)...)
			}
			check("value", v, m.values[k].text)
		},
		"get with tags": func(rt *rapid.T) {
			k, named := key.Draw(rt, "key"), tags.Draw(rt, "tags")
			v, ok, err := region.Get[string](ctx, process.Draw(rt, "process"), k, region.WithTags(named...))
			noError(err)
			check("ok", ok, m.fresh(k) && !lacks(k, named))
			if ok {
				check("value", v, m.values[k].text)
			}
		},
		"get or create many with tags": func(rt *rapid.T) {
			ks, named := keys.Draw(rt, "keys"), tags.Draw(rt, "tags")
			made := map[string]string{}
			got, err := region.GetOrCreateMulti(ctx, process.Draw(rt, "process"), ks, func(ctx context.Context, missing []string) (map[string]string, error) {
				for _, k := range missing {
					made[k] = next()
				}
				region.FromContext(ctx).AddTags("many")
				return made, nil
			}, region.WithTags(named...))
			noError(err)
			for _, k := range ks {
				check("created", made[k] != "", !m.fresh(k) || lacks(k, named))
			}
			for k, v := range made {
				put(k, v, append(slices.Clone(named), "many")...)
			}
			for k := range got {
				check("value", got[k], m.values[k].text)
			}
		},
		"set with tags": func(rt *rapid.T) {
			k, v, named := key.Draw(rt, "key"), next(), tags.Draw(rt, "tags")
			noError(region.Set(ctx, process.Draw(rt, "process"), k, v, region.WithTags(named...)))
			put(k, v, named...)
		},
		"invalidate tags": func(rt *rapid.T) {
			some := append(tags.Draw(rt, "tags"), rapid.SampledFrom([]string{"many", "nobody's"}).Draw(rt, "another"))
			noError(process.Draw(rt, "process").InvalidateTags(ctx, some...))
			for _, k := range affected(some) {
				delete(m.values, k)
			}
		},
		"soft tags": func(rt *rapid.T) {
			some := tags.Draw(rt, "tags")
			noError(region.SoftTags(ctx, process.Draw(rt, "process"), some...))
			soften(affected(some))
		},
		"expire": func(rt *rapid.T) {
			ks := keys.Draw(rt, "keys")
			noError(process.Draw(rt, "process").Expire(ctx, ks...))
			soften(ks)
		},
		"set": func(rt *rapid.T) {
			k, v := key.Draw(rt, "key"), next()
			noError(region.Set(ctx, process.Draw(rt, "process"), k, v))
			put(k, v)
		},
		"delete": func(rt *rapid.T) {
			ks := keys.Draw(rt, "keys")
			noError(process.Draw(rt, "process").Delete(ctx, ks...))
			for _, k := range ks {
				delete(m.values, k)
			}
		},
		"invalidate hard": func(rt *rapid.T) {
			noError(process.Draw(rt, "process").Invalidate(ctx, region.Hard))
			clear(m.values)
		},
		"invalidate soft": func(rt *rapid.T) {
			noError(process.Draw(rt, "process").Invalidate(ctx, region.Soft))
			for k, v := range m.values {
				v.soft = true
				m.values[k] = v
			}
		},
		"wait": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.Int64Range(0, 15_000).Draw(rt, "ms")) * time.Millisecond)
		},
	})
}
