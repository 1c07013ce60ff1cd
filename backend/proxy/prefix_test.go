package proxy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/region"
)

func TestPrefixMovesEverything(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		s := &spy{}
		r := over(t, store, proxy.Prefix("app"), proxy.Prefix("eu"), spying(s))
		for op, call := range operations(t.Context(), wrapped(s, proxy.Prefix("app"), proxy.Prefix("eu"))) {
			if err := call(); err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
		must(t, r, "k", &creator{}, "v1", region.WithTags("t"))
		ops, regions := s.seen()
		if want := []string{"Acquire", "Delete", "Get", "GetMulti", "Renew", "Set", "Stamps", "Wait"}; !slices.Equal(ops, want) {
			t.Errorf("the backend has seen %q, want %q", ops, want)
		}
		if want := []string{"eu~app~users"}; !slices.Equal(regions, want) {
			t.Errorf("the backend was asked about the regions %q, want %q", regions, want)
		}
	})
}

func TestSpacesDoNotMeet(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		stacks := [][]wrapper{
			nil, {proxy.Prefix("a")}, {proxy.Prefix("b")}, {proxy.Prefix("a"), proxy.Prefix("b")}, {proxy.Prefix("b"), proxy.Prefix("a")},
			{proxy.Prefix("a/b")}, {proxy.Prefix("users")}, {proxy.Prefix(strings.Repeat("a", 64))},
		}
		var regions []*region.Region
		for i, wrap := range stacks {
			r := over(t, store, wrap...)
			for _, other := range regions {
				holds(t, other, "k", "v1")
			}
			holds(t, r, "k", "")
			// A creation here keeps nobody waiting elsewhere.
			c := blocking()
			waiting := call(t, r, "k", c, region.WithTags("t"))
			if c.want(t, 1); t.Failed() {
				t.Fatalf("space %d: the creator waits for that of another space", i)
			}
			for _, other := range regions {
				isFree(t, wrapped(store, stacks[slices.Index(regions, other)]...), "k", true)
			}
			isFree(t, wrapped(store, wrap...), "k", false)
			close(c.gate)
			got(t, waiting, "v1")
			regions = append(regions, r)
		}
		for i, r := range regions {
			invalidate := []func() error{
				func() error { return r.Delete(t.Context(), "k") },
				func() error { return r.Invalidate(t.Context(), region.Hard) },
				func() error { return r.InvalidateTags(t.Context(), "t") },
			}[i%3]
			if err := invalidate(); err != nil {
				t.Error(err)
			}
			holds(t, r, "k", "")
			for _, later := range regions[i+1:] {
				holds(t, later, "k", "v1")
			}
		}
	})
}

// Two processes with one prefix are one fleet.
func TestAPrefixIsShared(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		a, b, c := over(t, store, proxy.Prefix("p")), over(t, store, proxy.Prefix("p")), blocking()
		first, second := call(t, a, "k", c), call(t, b, "k", c)
		close(c.gate)
		got(t, first, "v1")
		got(t, second, "v1")
		c.want(t, 1)
		if err := a.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		holds(t, b, "k", "")
	})
}
