package region_test

import (
	"context"
	"fmt"
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
	put := func(key, text string) { m.values[key] = modelValue{text: text, created: time.Now()} }
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
