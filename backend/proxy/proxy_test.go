package proxy_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/region"
)

// faithful are the proxies that keep the whole contract, as they are configured here, over
// a backend that keeps bytes or one that does not.
func faithful(bytes bool) []wrapper {
	list := []wrapper{
		proxy.Prefix("staging/eu-1"),
		proxy.Prefix("b"),
		proxy.Logging(proxy.LoggingConfig{Logger: slog.New(slog.DiscardHandler), Keys: true, Slow: time.Nanosecond}),
		proxy.Chaos(proxy.ChaosConfig{}),
	}
	if bytes {
		list = append(list, proxy.SizeLimit(1<<20))
	}
	return list
}

func wrapped(b backend.Backend, wrap ...wrapper) backend.Backend {
	for _, w := range slices.Backward(wrap) {
		b = w(b)
	}
	return b
}

func TestConformance(t *testing.T) {
	for kind, cfg := range map[string]memory.Config{"Values": {}, "Copies": {Copy: true}} {
		all := faithful(cfg.Copy)
		stacks := map[string][]wrapper{"All": all, "AllBackward": slices.Clone(all)}
		slices.Reverse(stacks["AllBackward"])
		for i, name := range []string{"LongPrefix", "Prefix", "Logging", "Chaos", "SizeLimit"}[:len(all)] {
			stacks[name] = all[i : i+1]
		}
		for name, wrap := range stacks {
			open := func(*testing.T) backend.Backend { return wrapped(memory.New(cfg), wrap...) }
			t.Run(name+kind, func(t *testing.T) { backendtest.Run(t, open, backendtest.InBubble()) })
		}
	}
}

// Files are shared by processes, and their leases know the keys that they were taken for.
func TestConformanceOfTwoSidesOnFiles(t *testing.T) {
	t.Parallel() // because time passes
	backendtest.RunPair(t, func(t *testing.T) (a, b backend.Backend) {
		dir := t.TempDir()
		return wrapped(file.New(dir, file.Config{}), faithful(true)...), wrapped(file.New(dir, file.Config{}), faithful(true)...)
	})
}

// permutations calls f with every order of list.
func permutations(list []wrapper, f func([]wrapper)) {
	var choose func(chosen, rest []wrapper)
	choose = func(chosen, rest []wrapper) {
		if len(rest) == 0 {
			f(chosen)
		}
		for i := range rest {
			choose(append(slices.Clip(chosen), rest[i]), slices.Delete(slices.Clone(rest), i, i+1))
		}
	}
	choose(nil, list)
}

func TestARegionOverProxiesInAnyOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		n := 0
		permutations(faithful(store.Bytes()), func(wrap []wrapper) {
			n++
			a, c := with(t, region.Config{Backend: store, Wrap: append([]wrapper{proxy.Prefix(fmt.Sprint(n))}, wrap...)}), &creator{}
			defer a.Close()
			tag := region.WithTags("t")
			must(t, a, "k", c, "v1", tag)
			must(t, a, "k", c, "v1", tag)
			for i, invalidate := range []func() error{
				func() error { return a.Delete(t.Context(), "k") },
				func() error { return a.Invalidate(t.Context(), region.Hard) },
				func() error { return a.InvalidateTags(t.Context(), "t") },
				func() error { return a.Expire(t.Context(), "k") },
			} {
				if err := invalidate(); err != nil {
					t.Errorf("invalidation %d: %v", i, err)
				}
				want := fmt.Sprint("v", i+2)
				must(t, a, "k", c, want, tag)
				must(t, a, "k", c, want, tag)
			}
			if err := region.Set(t.Context(), a, "l", "set"); err != nil {
				t.Error(err)
			}
			holds(t, a, "l", "set")
		})
		if want := map[bool]int{true: 120, false: 24}[store.Bytes()]; n != want {
			t.Errorf("%d orders were tried, want %d", n, want)
		}
	})
}

func TestMistakes(t *testing.T) {
	long := strings.Repeat("p", 65)
	for want, wrap := range map[string]wrapper{
		"1 to 64 bytes, not 0":            proxy.Prefix(""),
		"1 to 64 bytes, not 65":           proxy.Prefix(long),
		"not ':'":                         proxy.Prefix("a:b"),
		"not '~'":                         proxy.Prefix("a~b"),
		"not ' '":                         proxy.Prefix("a b"),
		`not '\n'`:                        proxy.Prefix("a\n"),
		"Slow is -1s":                     proxy.Logging(proxy.LoggingConfig{Slow: -time.Second}),
		"SizeLimit(0)":                    proxy.SizeLimit(0),
		"SizeLimit(-1)":                   proxy.SizeLimit(-1),
		"backend that keeps bytes":        proxy.SizeLimit(100),
		"ErrorRate is 1.5":                proxy.Chaos(proxy.ChaosConfig{ErrorRate: 1.5}),
		"ErrorRate is -0.1":               proxy.Chaos(proxy.ChaosConfig{ErrorRate: -0.1, LostRate: 0.5}),
		"LostRate -0.1":                   proxy.Chaos(proxy.ChaosConfig{ErrorRate: 0.5, LostRate: -0.1}),
		"ErrorRate is 0.6 and LostRate 0": proxy.Chaos(proxy.ChaosConfig{ErrorRate: 0.6, LostRate: 0.6}),
		"LostRate NaN":                    proxy.Chaos(proxy.ChaosConfig{LostRate: math.NaN()}),
		"ErrorRate is NaN":                proxy.Chaos(proxy.ChaosConfig{ErrorRate: math.NaN()}),
		"Latency is -1s":                  proxy.Chaos(proxy.ChaosConfig{Latency: -time.Second, Jitter: time.Hour}),
		"Jitter -1s":                      proxy.Chaos(proxy.ChaosConfig{Latency: time.Hour, Jitter: -time.Second}),
		"beyond all bounds":               proxy.Chaos(proxy.ChaosConfig{Latency: math.MaxInt64, Jitter: 1}),
	} {
		s := &spy{Backend: memory.New(memory.Config{})}
		b := wrap(s)
		err := b.(interface{ Err() error }).Err()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "proxy: ") {
			t.Errorf("Err = %v, want one that says %q", err, want)
			s.Close()
			continue
		}
		for op, call := range operations(t.Context(), b) {
			if got := call(); !errors.Is(got, err) {
				t.Errorf("%s = %v, want %v", op, got, err)
			}
		}
		if ops, _ := s.seen(); len(ops) > 0 {
			t.Errorf("%s: the backend has seen %q, want nothing", want, ops)
		}
		// A region is told, too, whatever else stands around it.
		outer := proxy.Chaos(proxy.ChaosConfig{})(proxy.ReadOnly()(b))
		if _, got := region.New("users", region.Config{Backend: outer, Expiration: time.Minute}); !errors.Is(got, err) || !errors.Is(got, region.ErrConfig) {
			t.Errorf("region.New = %v, want region.ErrConfig and %v", got, err)
		}
		if b.Bytes() || b.Close() != nil {
			t.Error("Bytes or Close are not those of the backend")
		}
		if ops, _ := s.seen(); !slices.Equal(ops, []string{"Close"}) {
			t.Errorf("after Close the backend has seen %q", ops)
		}
	}
}

func TestWithoutABackend(t *testing.T) {
	for _, wrap := range append(faithful(true), proxy.ReadOnly()) {
		b := wrap(nil)
		if _, err := region.New("users", region.Config{Backend: b, Expiration: time.Minute}); err == nil || !strings.Contains(err.Error(), "no backend to wrap") {
			t.Errorf("region.New = %v, want an error that says what is missing", err)
		}
		if _, err := b.Get(t.Context(), user("ann"), nil); err == nil || b.Bytes() || b.Close() != nil {
			t.Errorf("Get, Bytes or Close of no backend; Get = %v", err)
		}
	}
}

// clocked is a backend whose server has a time of its own.
type clocked struct {
	backend.Backend
	ahead time.Duration
}

func (c *clocked) Now() time.Time { return time.Now().Add(c.ahead) }

func TestTheClockOfTheBackendIsNotLost(t *testing.T) {
	for name, config := range map[string]func(backend.Backend) region.Config{
		"as Wrap": func(b backend.Backend) region.Config {
			return region.Config{Backend: b, Wrap: faithful(true)}
		},
		"as Backend": func(b backend.Backend) region.Config {
			return region.Config{Backend: wrapped(b, append(faithful(true), proxy.ReadOnly())...)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &clocked{Backend: newStore(t, memory.Config{Copy: true})}
				writer := c.Backend
				for _, w := range []wrapper{proxy.Prefix("b"), proxy.Prefix("staging/eu-1")} {
					writer = w(writer)
				}
				r := with(t, config(c))
				must(t, over(t, writer), "k", &creator{}, "v1")
				holds(t, r, "k", "v1")
				c.ahead = 2 * time.Minute
				holds(t, r, "k", "")
			})
		})
	}
	if now := wrapped(newStore(t, memory.Config{}), faithful(false)...).(backend.Clock).Now(); time.Since(now).Abs() > time.Minute {
		t.Errorf("over a backend without a clock Now = %v", now)
	}
}

func TestTheMistakeOfTheBackendIsNotLost(t *testing.T) {
	bad := memory.New(memory.Config{MaxEntries: -1, Copy: true})
	for i, wrap := range append(faithful(true), proxy.ReadOnly()) {
		if _, err := region.New("users", region.Config{Backend: wrap(bad), Expiration: time.Minute}); !errors.Is(err, bad.Err()) {
			t.Errorf("proxy %d: region.New = %v, want %v", i, err, bad.Err())
		}
	}
}

// A region counts who uses a backend, and so compares it.
func TestProxiesAreComparable(t *testing.T) {
	all := map[backend.Backend]string{}
	store := newStore(t, memory.Config{Copy: true})
	for i, wrap := range append(faithful(true), proxy.ReadOnly(), proxy.Prefix("")) {
		all[wrap(store)] = fmt.Sprint(i)
		all[wrap(store)] = fmt.Sprint(i, "again")
	}
	if want := 2 * (len(faithful(true)) + 2); len(all) != want {
		t.Errorf("%d of %d proxies are different", len(all), want)
	}
}

func TestAMistakeIsToldWhenTheRegionIsConfigured(t *testing.T) {
	store := newStore(t, memory.Config{})
	_, err := region.New("users", region.Config{Backend: store, KeepBackendOpen: true, Expiration: time.Minute,
		Wrap: []wrapper{proxy.ReadOnly(), proxy.SizeLimit(100), proxy.Prefix("p")}})
	if !errors.Is(err, region.ErrConfig) || !strings.Contains(err.Error(), "Wrap[1]") || !strings.Contains(err.Error(), "keeps bytes") {
		t.Errorf("region.New = %v, want region.ErrConfig for Wrap[1]", err)
	}
}
