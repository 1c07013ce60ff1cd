package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/region"
)

// book is where records are written to.
type book struct{ bytes.Buffer }

func (b *book) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// records returns what was written since the last time.
func (b *book) records(t *testing.T) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		delete(r, "time")
		all = append(all, r)
	}
	b.Reset()
	return all
}

func TestLoggingTellsOfEveryOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log book
		slow := proxy.Chaos(proxy.ChaosConfig{Latency: time.Millisecond})
		b := wrapped(newStore(t, memory.Config{}), proxy.Logging(proxy.LoggingConfig{Logger: log.logger()}), slow)
		ctx := t.Context()
		ann, both := user("ann"), []backend.Key{user("ann"), user("bob")}
		guards := []backend.Guard{users, {Region: "users", Tag: "secret tag"}}
		grants, _, err := b.Acquire(ctx, []backend.Key{ann}, guards)
		if err != nil {
			t.Fatal(err)
		}
		b.Acquire(ctx, both, nil)
		b.Wait(ctx, []backend.Key{user("cid")})
		items := []backend.Item{{Key: ann, Entry: entry(b, "secret value"), Lease: grants[0].Lease}, {Key: both[1], Lease: grants[0].Lease}}
		b.Set(ctx, items, guards)
		b.Get(ctx, ann, guards)
		b.Get(ctx, user("nobody"), nil)
		b.GetMulti(ctx, both, guards)
		b.Stamps(ctx, guards)
		b.Renew(ctx, guards, true)
		b.Delete(ctx, both)
		b.Close()
		text := log.String()
		var want []map[string]any
		for _, r := range []map[string]any{
			{"op": "Acquire", "keys": 1., "guards": 2., "granted": 1., "found": 0.},
			{"op": "Acquire", "keys": 2., "granted": 1., "found": 0.},
			{"op": "Wait", "keys": 1.},
			{"op": "Set", "keys": 2., "guards": 2., "refused": 1.},
			{"op": "Get", "keys": 1., "guards": 2., "found": 1.},
			{"op": "Get", "keys": 1., "found": 0.},
			{"op": "GetMulti", "keys": 2., "guards": 2., "found": 1.},
			{"op": "Stamps", "guards": 2.},
			{"op": "Renew", "guards": 2., "soft": true},
			{"op": "Delete", "keys": 2.},
			{"op": "Close", "took": 0.},
		} {
			all := map[string]any{"level": "DEBUG", "msg": "backend operation", "took": float64(time.Millisecond), "region": "users"}
			if r["op"] == "Close" {
				delete(all, "region")
			}
			maps.Copy(all, r)
			want = append(want, all)
		}
		got := log.records(t)
		for i, r := range want {
			if r["op"] == "Wait" && got[i]["op"] == "Wait" {
				got[i]["took"] = r["took"]
			}
			if i < len(got) && !maps.Equal(got[i], r) {
				t.Errorf("record %d is\n%v, want\n%v", i, got[i], r)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d records, want %d", len(got), len(want))
		}
		for _, secret := range []string{"secret", "ann", "bob", "cid"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q was logged", secret)
			}
		}
	})
}

func TestLoggingNamesKeysIfItIsToldTo(t *testing.T) {
	var log book
	b := proxy.Logging(proxy.LoggingConfig{Logger: log.logger(), Keys: true})(newStore(t, memory.Config{}))
	long := strings.Repeat("k", 64<<10)
	keys := []backend.Key{user("ann"), user(""), user(long)}
	guards := []backend.Guard{users, {Region: "users", Tag: "t"}, {Region: "users", Tag: long}}
	for len(keys) < 50 {
		keys = append(keys, user("one more"))
		guards = append(guards, backend.Guard{Region: "users", Tag: "another"})
	}
	b.GetMulti(t.Context(), keys, guards)
	b.Set(t.Context(), []backend.Item{{Key: user("bob"), Entry: entry(b, "secret")}}, nil)
	text := log.String()
	got := log.records(t)
	list := func(r map[string]any, attr string) (all []string) {
		names, _ := r[attr].([]any)
		for _, name := range names {
			all = append(all, name.(string))
		}
		return all
	}
	names, tags := list(got[0], "names"), list(got[0], "tags")
	if want := []string{"ann", "", long[:100]}; len(names) != 10 || !slices.Equal(names[:3], want) {
		t.Errorf("names are %.2000q, want ten that begin with %q", names, want)
	}
	if want := []string{"t", long[:100]}; len(tags) != 10 || !slices.Equal(tags[:2], want) {
		t.Errorf("tags are %.2000q, want ten that begin with %q", tags, want)
	}
	if got[0]["keys"] != 50. || got[0]["guards"] != 50. {
		t.Errorf("%v keys and %v guards, want 50 of both", got[0]["keys"], got[0]["guards"])
	}
	if names := list(got[1], "names"); !slices.Equal(names, []string{"bob"}) || strings.Contains(text, "secret") {
		t.Errorf("Set was logged as %v", got[1])
	}
}

func TestLoggingLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log book
		store := newStore(t, memory.Config{Copy: true})
		down, latency := false, time.Duration(0)
		trouble := func(b backend.Backend) backend.Backend {
			failing := proxy.Chaos(proxy.ChaosConfig{ErrorRate: 1, When: func(string) bool { return down }})(b)
			return &delayed{failing, &latency}
		}
		over := func(cfg proxy.LoggingConfig) backend.Backend {
			cfg.Logger = log.logger()
			return wrapped(store, proxy.Logging(cfg), trouble, proxy.SizeLimit(10))
		}
		b := over(proxy.LoggingConfig{Slow: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		get := func() { b.Get(ctx, user("ann"), nil) }
		one := func(what, level, err string, run func()) {
			t.Helper()
			run()
			got := log.records(t)
			if len(got) != 1 || got[0]["level"] != level {
				t.Errorf("%s: the records are %v, want one of level %s", what, got, level)
				return
			}
			if text, _ := got[0]["error"].(string); !strings.Contains(text, err) || err == "" && text != "" {
				t.Errorf("%s: the error is %q, want one that says %q", what, text, err)
			}
		}
		one("what goes well", "DEBUG", "", get)
		latency = time.Second - 1
		one("what is not quite slow", "DEBUG", "", get)
		latency = time.Second
		one("what is slow", "WARN", "", get)
		one("waiting", "DEBUG", "", func() { b.Wait(ctx, []backend.Key{user("ann")}) })
		latency, down = 0, true
		one("a failure", "WARN", "injected failure", get)
		for op, call := range operations(ctx, b) {
			one("a failure of "+op, "WARN", "injected failure", func() { call() })
		}
		down = false
		items := []backend.Item{
			{Key: user("bob"), Entry: entry(b, "Bob"), Lease: gone(t, b)},
			{Key: user("ann"), Entry: entry(b, "much too large")},
		}
		log.Reset()
		one("a lost lease", "DEBUG", "", func() { b.Set(ctx, items[:1], nil) })
		one("a refusal", "WARN", "14 bytes", func() { b.Set(ctx, items, nil) })
		down = true
		cancel()
		one("the end of the context", "DEBUG", "injected failure", get)
		down = false

		b = over(proxy.LoggingConfig{Level: slog.LevelInfo})
		latency = time.Hour
		one("without a limit", "INFO", "", get)
		b, ctx, down = over(proxy.LoggingConfig{Level: slog.LevelError}), t.Context(), true
		one("a failure, where all is loud", "ERROR", "injected failure", get)
	})
}

// gone returns the lease of bob that was given back already.
func gone(t *testing.T, b backend.Backend) lock.Lease {
	t.Helper()
	grants, _, err := b.Acquire(t.Context(), []backend.Key{user("bob")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	grants[0].Lease.Release(t.Context())
	return grants[0].Lease
}

// delayed takes its time, which can be changed.
type delayed struct {
	backend.Backend
	by *time.Duration
}

func (d *delayed) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	time.Sleep(*d.by)
	return d.Backend.Get(ctx, key, guards)
}

func (d *delayed) Wait(ctx context.Context, keys []backend.Key) error {
	time.Sleep(*d.by)
	return d.Backend.Wait(ctx, keys)
}

func TestLoggingGoesToTheDefault(t *testing.T) {
	var log book
	before := slog.Default()
	defer slog.SetDefault(before)
	wrap := proxy.Logging(proxy.LoggingConfig{})
	slog.SetDefault(log.logger()) // later than the wrapper is made, as in main
	r := over(t, newStore(t, memory.Config{}), wrap)
	must(t, r, "k", &creator{}, "v1")
	slog.SetDefault(before)
	var ops []string
	for _, r := range log.records(t) {
		ops = append(ops, r["op"].(string))
	}
	if want := []string{"Get", "Acquire", "Set"}; !slices.Equal(ops, want) {
		t.Errorf("logged were %q, want %q", ops, want)
	}
}

func TestLoggingPassesErrorsOn(t *testing.T) {
	store := newStore(t, memory.Config{})
	b := proxy.Logging(proxy.LoggingConfig{Logger: slog.New(slog.DiscardHandler)})(store)
	store.Close()
	for op, call := range operations(t.Context(), b) {
		if err := call(); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("%s = %v, want backend.ErrClosed", op, err)
		}
	}
	if _, err := region.New("users", region.Config{Backend: store, Expiration: time.Minute, Wrap: []wrapper{proxy.Logging(proxy.LoggingConfig{})}}); err != nil {
		t.Error(err)
	}
}
