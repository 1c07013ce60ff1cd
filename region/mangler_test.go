package region_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/mangle"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

func mangling(cfg region.Config, mangler func(string) string) region.Config {
	cfg.KeyMangler = mangler
	return cfg
}

// keysSeen is a backend that remembers the names that it is asked for, and may have a
// mangler of its own.
type keysSeen struct {
	backend.Backend
	own func(string) string

	mu    sync.Mutex
	names map[string]bool
}

func (k *keysSeen) KeyMangler() func(string) string { return k.own }

func (k *keysSeen) saw(keys ...backend.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range keys {
		if k.names == nil {
			k.names = map[string]bool{}
		}
		k.names[key.Name] = true
	}
}

func (k *keysSeen) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	k.saw(key)
	return k.Backend.Get(ctx, key, guards)
}

func (k *keysSeen) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	k.saw(keys...)
	return k.Backend.GetMulti(ctx, keys, guards)
}

func (k *keysSeen) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	k.saw(keys...)
	return k.Backend.Acquire(ctx, keys, guards)
}

func (k *keysSeen) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	for i := range items {
		k.saw(items[i].Key)
	}
	return k.Backend.Set(ctx, items, guards)
}

func (k *keysSeen) Delete(ctx context.Context, keys []backend.Key) error {
	k.saw(keys...)
	return k.Backend.Delete(ctx, keys)
}

// keysAsked remembers the keys for which a mutex is asked.
type keysAsked struct {
	lock.Locker
	mu   sync.Mutex
	keys map[string]bool
}

func (k *keysAsked) TryAcquire(ctx context.Context, key string) (lock.Lease, error) {
	k.mu.Lock()
	k.keys[key] = true
	k.mu.Unlock()
	return k.Locker.TryAcquire(ctx, key)
}

// useAll makes every kind of call, for keys that begin with k.
func useAll(t *testing.T, r *region.Region) {
	ctx := t.Context()
	must(t, r, "k1", counting(), "v1", region.WithTags("t"))
	must(t, r, "k1", counting(), "v1", region.WithTags("t"))
	holds(t, r, "k1", "v1")
	all, err := region.GetOrCreateMulti(ctx, r, []string{"k1", "k2", "k3"}, func(_ context.Context, missing []string) (map[string]string, error) {
		values := map[string]string{}
		for _, key := range missing {
			values[key] = "made for " + key
		}
		return values, nil
	})
	if want := map[string]string{"k1": "v1", "k2": "made for k2", "k3": "made for k3"}; err != nil || !maps.Equal(all, want) {
		t.Errorf("GetOrCreateMulti = %v, %v; want %v", all, err, want)
	}
	found, err := region.GetMulti[string](ctx, r, []string{"k1", "k2", "k9"})
	if want := map[string]string{"k1": "v1", "k2": "made for k2"}; err != nil || !maps.Equal(found, want) {
		t.Errorf("GetMulti = %v, %v; want %v", found, err, want)
	}
	if err := errors.Join(region.Set(ctx, r, "k4", "set"), r.Expire(ctx, "k2")); err != nil {
		t.Error(err)
	}
	holds(t, r, "k4", "set")
	holds(t, r, "k2", "")
	must(t, r, "k2", counting(), "v1")
	if err := errors.Join(r.Delete(ctx, "k4", "k3"), r.InvalidateTags(ctx, "t")); err != nil {
		t.Error(err)
	}
	holds(t, r, "k4", "")
	holds(t, r, "k1", "")
	holds(t, r, "k2", "v1")
	err = r.Invalidate(ctx, region.Hard)
	holds(t, r, "k2", "")
	fails := func(context.Context) (string, error) { return "", errors.New("no") }
	if _, err2 := region.GetOrCreate(ctx, r, "k5", fails); err != nil || err2 == nil || !strings.Contains(err2.Error(), `"k5"`) {
		t.Errorf("Invalidate = %v; GetOrCreate = %v, want an error with the key", err, err2)
	}
}

func TestOnlyTheBackendSeesMangledKeys(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		seen, told := &keysSeen{Backend: cfg.Backend, own: mangle.Prefix("own-")}, &recorder{}
		outer := &keysSeen{}
		cfg.Backend, cfg.Observer = seen, told
		cfg.KeyMangler = mangle.Prefix("mangled-")
		cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { outer.Backend = b; return outer })
		mutex := &keysAsked{Locker: local.New(), keys: map[string]bool{}}
		defer mutex.Close()
		cfg.Mutex = mutex
		useAll(t, open(t, cfg))
		for name := range seen.names {
			if !strings.HasPrefix(name, "own-mangled-k") {
				t.Errorf("the backend is asked for %q, want own-mangled-k…: the configured mangler, and then the backend's", name)
			}
		}
		for name := range outer.names {
			if !strings.HasPrefix(name, "k") {
				t.Errorf("a proxy sees the key %q, want the one that the caller knows", name)
			}
		}
		for key := range mutex.keys {
			if !strings.HasPrefix(key, "test:k") {
				t.Errorf("the mutex is asked for %q, want the key that the caller knows", key)
			}
		}
		if len(seen.names) < 5 || len(outer.names) < 5 || len(mutex.keys) < 4 {
			t.Errorf("seen: %v, %v and %v, want all keys", seen.names, outer.names, mutex.keys)
		}
		var keys []string
		for _, e := range told.creations {
			keys = append(keys, e.Keys...)
		}
		for _, e := range told.invalidations {
			keys = append(keys, e.Keys...)
		}
		for _, key := range keys {
			if !strings.HasPrefix(key, "k") {
				t.Errorf("an observer is told of %q, want the key that the caller knows", key)
			}
		}
	})
}

func TestManglersThatServe(t *testing.T) {
	for name, f := range map[string]mangle.Func{"SHA256Over": mangle.SHA256Over(1), "SHA1": mangle.SHA1, "Prefix": mangle.Prefix("p")} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) { useAll(t, open(t, mangling(cfg, f))) })
		})
	}
}

// The limits of a backend are known through proxies that stand as Config.Backend, too.
func TestTheBackendsOwnMangler(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		for how, wrap := range map[string]func(backend.Backend) backend.Backend{
			"bare":        func(b backend.Backend) backend.Backend { return b },
			"behind one":  proxy.Prefix("p"),
			"behind two":  func(b backend.Backend) backend.Backend { return proxy.Prefix("p")(proxy.Prefix("q")(b)) },
			"behind Wrap": nil,
		} {
			seen := &keysSeen{Backend: cfg.Backend, own: mangle.Prefix("own-")}
			c := cfg
			c.Backend, c.KeepBackendOpen = seen, true
			if wrap == nil {
				c.Wrap = append(c.Wrap, proxy.Prefix("p"))
			} else {
				c.Backend = wrap(seen)
			}
			must(t, open(t, c), how, counting(), "v1")
			if len(seen.names) != 1 || !seen.names["own-"+how] {
				t.Errorf("%s: the backend is asked for %v, want its own key", how, seen.names)
			}
		}
		cfg.Backend.Close()
	})
	if b := proxy.Prefix("p")(memory.New(memory.Config{})); b.(backend.KeyMangler).KeyMangler() != nil {
		t.Error("a proxy has a mangler, though the backend has none")
	} else {
		b.Close()
	}
}

// Whatever keys are made one, nobody gets the value of another.
func TestAManglerThatMakesAllKeysOne(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		told := &recorder{}
		cfg.Observer = told
		cfg = mangling(cfg, func(string) string { return "one" })
		cfg.KeepBackendOpen = true
		r := open(t, cfg)
		defer cfg.Backend.Close()
		ctx := t.Context()
		value := func(key string) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { return "of " + key, nil }
		}
		for range 2 {
			for _, key := range []string{"a", "b"} {
				if v, err := region.GetOrCreate(ctx, r, key, value(key)); err != nil || v != "of "+key {
					t.Errorf("GetOrCreate(%q) = %q, %v", key, v, err)
				}
				holds(t, r, key, "of "+key)
			}
		}
		holds(t, r, "a", "")
		if len(told.badEntries) == 0 || told.badEntries[0].Key != "b" {
			t.Errorf("the observer is told of %+v, want a value found under b that is not its own", told.badEntries)
		}

		keys := []string{"a", "b", "c", "d"}
		all, err := region.GetOrCreateMulti(ctx, r, keys, func(_ context.Context, missing []string) (map[string]string, error) {
			values := map[string]string{}
			for _, key := range missing {
				values[key] = "of " + key
			}
			return values, nil
		})
		if want := map[string]string{"a": "of a", "b": "of b", "c": "of c", "d": "of d"}; err != nil || !maps.Equal(all, want) {
			t.Errorf("GetOrCreateMulti = %v, %v; want %v", all, err, want)
		}
		found, err := region.GetMulti[string](ctx, r, keys)
		for key, v := range found {
			if v != "of "+key {
				t.Errorf("GetMulti has %q for %q", v, key)
			}
		}
		if err != nil || len(found) != 1 {
			t.Errorf("GetMulti = %v, %v; want the value that was stored last", found, err)
		}

		// A creation of another key takes the lease, and nobody is left waiting.
		var calls []<-chan answer
		c := &creator{gate: make(chan struct{})}
		for _, key := range keys {
			c.value = func(n int64) (string, error) { return "new", nil }
			calls = append(calls, background(ctx, r, key, c, region.WithExpiration(0)))
		}
		synctest.Wait()
		if err := r.Delete(ctx, "a"); err != nil {
			t.Error(err)
		}
		c.release()
		allGot(t, calls, "new")

		if err := region.SetMulti(ctx, r, map[string]string{"a": "x", "b": "y"}); err == nil || !strings.Contains(err.Error(), "mangler") {
			t.Errorf("SetMulti of two keys that become one = %v, want an error for one of them", err)
		}
		if err := errors.Join(region.Set(ctx, r, "a", "x"), r.Expire(ctx, "b")); err != nil {
			t.Error(err)
		}
		holds(t, r, "a", "x")
		holds(t, r, "b", "")
		if err := r.Delete(ctx, "b"); err != nil {
			t.Error(err)
		}
		holds(t, r, "a", "") // it had the same place

		// Of many keys only one gets the lease, and the others end it.
		for range len(keys) {
			if err := errors.Join(region.Set(ctx, r, "a", "x"), r.Expire(ctx, keys...)); err != nil {
				t.Errorf("Expire of %v: %v", keys, err)
			}
			holds(t, r, "a", "")
			keys = append(keys[1:], keys[0])
		}
	})
}

// A region without the mangler, or with another one, has nothing of one that has it.
func TestManglersAreApart(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.KeepBackendOpen = true
		defer cfg.Backend.Close()
		identity := func(key string) string { return key }
		plain, same, other := open(t, cfg), open(t, mangling(cfg, identity)), open(t, mangling(cfg, func(key string) string { return "k" }))
		set := func(r *region.Region, key, value string) {
			t.Helper()
			if err := region.Set(t.Context(), r, key, value, region.WithTags("t")); err != nil {
				t.Fatal(err)
			}
		}
		set(other, "another key", "other")
		holds(t, plain, "k", "")
		holds(t, same, "k", "")
		must(t, plain, "k", counting(), "v1", region.WithTags("t"))
		set(other, "another key", "other")
		must(t, same, "k", counting(), "v1", region.WithTags("t"))
		holds(t, other, "another key", "")
	})
}

func TestAManglerThatFails(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		told := &recorder{}
		cfg.Observer = told
		r := open(t, mangling(cfg, func(key string) string {
			if key == "bad" {
				panic("what is this?")
			}
			return strings.TrimPrefix(key, "vanishes")
		}))
		for _, key := range []string{"bad", "vanishes"} {
			c := counting()
			must(t, r, key, c, "v1")
			must(t, r, key, c, "v2") // nothing is stored
			for op, err := range map[string]error{
				"Get": func() error { _, _, err := region.Get[string](t.Context(), r, key); return err }(),
				"Set": region.Set(t.Context(), r, key, "x"),
			} {
				if !errors.Is(err, region.ErrKeyMangler) || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
					t.Errorf("%s(%q) = %v, want region.ErrKeyMangler with the key", op, key, err)
				}
			}
		}
		if len(told.backendErrors) == 0 || !errors.Is(told.backendErrors[0].Err, region.ErrKeyMangler) || told.backendErrors[0].Key != "bad" {
			t.Errorf("the observer is told of %+v, want region.ErrKeyMangler for the key", told.backendErrors)
		}
		must(t, r, "good", counting(), "v1")
		holds(t, r, "good", "v1")
	})
}

// A region that is disabled deletes what others have stored, where they have stored it.
func TestADisabledRegionWithAMangler(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg = mangling(cfg, mangle.SHA1)
		others := open(t, cfg)
		cfg.Disabled = true
		r := open(t, cfg)
		must(t, others, "k", counting(), "v1")
		c := counting()
		must(t, r, "k", c, "v1")
		must(t, r, "k", c, "v2")
		holds(t, others, "k", "v1")
		if err := r.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		holds(t, others, "k", "")
	})
}

// A herd on one key is a herd still.
func TestAMangledHerd(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.KeepBackendOpen = true
		defer cfg.Backend.Close()
		cfg = mangling(cfg, mangle.SHA256Over(-1))
		a, b, c := open(t, cfg), open(t, cfg), blocking()
		calls := append(herd(t, 20, a, "k", c), herd(t, 20, b, "k", c)...)
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
		time.Sleep(90 * time.Second) // stale
		c2 := blocking()
		winner := background(t.Context(), a, "k", c2)
		synctest.Wait()
		must(t, b, "k", c2, "v1")
		c2.release()
		allGot(t, []<-chan answer{winner}, "v1")
		c2.want(t, 1)
	})
}

// Weighing sees the values that callers have given.
func TestAMangledValueIsWeighed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var weighed []any
		r := open(t, mangling(config(memory.Config{MaxBytes: 1 << 20, Weigh: func(value any) int {
			weighed = append(weighed, value)
			return 1
		}}), mangle.SHA1))
		must(t, r, "k", counting(), "v1")
		if len(weighed) != 1 || weighed[0] != "v1" {
			t.Errorf("Weigh is asked about %#v, want the value", weighed)
		}
	})
}
