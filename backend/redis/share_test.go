package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// The names on the server are those of the layout, whatever is in a key.
func TestShareNames(t *testing.T) {
	v := newView(t, codec.Layout{}, "")
	for _, name := range []string{"", "k" + space(), "{a}{b}" + space(), "\x00\xff *\r\n" + space(), strings.Repeat("long", 1<<14) + space()} {
		g := v.acquire(name)
		v.holds(name, g.Lease.Token())
		if ttl := v.server.Do(t, "PTTL", v.lock(name)).(int64); ttl <= 0 || ttl > 10_000 {
			t.Errorf("the lock of %.20q has a PTTL of %d ms, want that of the lease", name, ttl)
		}
		v.publish(g, name, "value")
		v.holds(name, nil)
		if got := v.server.Do(t, "GET", name); got != "value" {
			t.Errorf("the value of %.20q is %v on the server, want it as it is", name, got)
		}
		if ttl := v.server.Do(t, "PTTL", name).(int64); ttl <= 3_500_000 || ttl > 3_600_000 {
			t.Errorf("the value of %.20q has a PTTL of %d ms, want an hour", name, ttl)
		}
		v.finds(name, "value")
		v.set(name, "newer")
		v.finds(name, "newer")
		if err := v.store(backend.Item{Key: keyOf(name), Entry: &backend.Entry{Data: []byte("for ever")}}); err != nil {
			t.Error(err)
		}
		if ttl := v.server.Do(t, "PTTL", name); ttl != int64(-1) {
			t.Errorf("the value of %.20q has a PTTL of %v ms, want none", name, ttl)
		}
		v.delete(name)
		v.finds(name, "")
	}
}

// A view leaves no other key than values, and locks while they are held.
func TestShareLeavesNoOtherKeys(t *testing.T) {
	server := redistest.Start(t)
	v := openView(t, server, server.Addr, codec.Layout{LockPrefix: "_lock"}, "")
	v.foreign("theirs", 0)
	for _, key := range []string{"k", "theirs"} {
		v.set(key, "1")
		v.set(key, "2")
	}
	v.publish(v.acquire("k"), "k", "3")
	v.delete("k", "theirs", "none")
	v.set("k", "4")
	v.acquire("held")
	if err := v.owner.Close(); err != nil {
		t.Fatal(err)
	}
	keys := fmt.Sprint(server.Do(t, "KEYS", "*"))
	if keys != "[k _locktheirs]" && keys != "[_locktheirs k]" {
		t.Errorf("after Close there are the keys %s, want [k _locktheirs]", keys)
	}
}

func TestShareRefusals(t *testing.T) {
	server := redistest.Shared(t)
	good := codec.Layout{LockPrefix: "_lock" + space()}
	b := redis.New(server.Client(t), redis.Config{Prefix: space()})
	for name, c := range map[string]struct {
		b      *redis.Backend
		layout codec.Layout
	}{
		"no prefix":           {b, codec.Layout{StealAfter: time.Hour}},
		"negative StealAfter": {b, codec.Layout{LockPrefix: "_lock", StealAfter: -1}},
		"no client":           {redis.New(nil, redis.Config{}), good},
		"cluster":             {redis.New(redistest.SharedCluster(t).Client(t), redis.Config{Prefix: space()}), good},
	} {
		t.Cleanup(func() { c.b.Close() })
		if v, err := c.b.Share(c.layout); v != nil || !errors.Is(err, redis.ErrConfig) {
			t.Errorf("%s: Share = %v, %v; want redis.ErrConfig", name, v, err)
		}
	}
	first, err := b.Share(good)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Share(good)
	if err != nil || again != first {
		t.Errorf("Share of an equal layout = %p, %v; want %p", again, err, first)
	}
	other := good
	other.StealAfter = time.Hour
	if different, err := b.Share(other); err != nil || different == first {
		t.Errorf("Share of another layout = %p, %v; want another view", different, err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("Close of a view = %v", err)
	}
	if _, err := first.Get(t.Context(), keyOf("k"), nil); err != nil {
		t.Errorf("Get after Close of the view = %v; want it to do nothing", err)
	}
	if !first.Bytes() {
		t.Error("Bytes is false, want true")
	}
	if err := first.Renew(t.Context(), []backend.Guard{{Region: "r"}}, false); !errors.Is(err, backend.ErrNoStamps) {
		t.Errorf("Renew = %v, want backend.ErrNoStamps", err)
	}
	if stamps, err := first.Stamps(t.Context(), []backend.Guard{{Region: "r"}}); stamps != nil || err != nil {
		t.Errorf("Stamps = %v, %v; want nil, nil", stamps, err)
	}
	if off := first.(backend.Clock).Now().Sub(b.Now()).Abs(); off > time.Second {
		t.Errorf("the view's clock is %v off the backend's", off)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	keys := []backend.Key{keyOf("k")}
	_, get := first.Get(t.Context(), keys[0], nil)
	_, _, multi := first.GetMulti(t.Context(), keys, nil)
	_, _, acquire := first.Acquire(t.Context(), keys, nil)
	_, set := first.Set(t.Context(), []backend.Item{{Key: keys[0]}}, nil)
	_, stamps := first.Stamps(t.Context(), nil)
	_, share := b.Share(good)
	for name, err := range map[string]error{
		"Get": get, "GetMulti": multi, "Acquire": acquire, "Set": set, "Stamps": stamps, "Share": share,
		"Wait": first.Wait(t.Context(), keys), "Delete": first.Delete(t.Context(), keys), "Renew": first.Renew(t.Context(), nil, true),
	} {
		if !errors.Is(err, backend.ErrClosed) {
			t.Errorf("%s after Close of the backend = %v, want backend.ErrClosed", name, err)
		}
	}
}

// A creation of ours ends by Set and Delete anywhere.
func TestShareVoids(t *testing.T) {
	first := newView(t, codec.Layout{}, "")
	second := first.another(first.server.Addr, "")
	for name, void := range map[string]func(name string) (want string){
		"Delete": func(name string) string { second.delete(name); return "" },
		"Set":    func(name string) string { second.set(name, "set"); return "set" },
		"void": func(name string) string {
			if err := second.store(backend.Item{Key: keyOf(name)}); err != nil {
				t.Error(err)
			}
			return ""
		},
		"another program": func(name string) string {
			first.server.Do(t, "SET", first.lock(name), "theirs", "PX", 60_000)
			return ""
		},
	} {
		key := space()
		g := first.acquire(key)
		want := void(key)
		if err := first.publication(g, key, "too late"); !errors.Is(err, backend.ErrLeaseLost) {
			t.Errorf("%s: publication = %v, want backend.ErrLeaseLost", name, err)
		}
		first.finds(key, want)
		if name == "another program" {
			first.holds(key, "theirs")
			continue
		}
		first.holds(key, nil)
		g = first.acquire(key)
		void(key)
		if err := g.Lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// A lease that is released, or lost to another program, takes nothing with it.
	key := space()
	g := first.acquire(key)
	first.server.Do(t, "SET", first.lock(key), "theirs")
	if err := g.Lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
	first.holds(key, "theirs")
}

// A master that sentinels watch over can be shared as a single server can.
func TestShareSentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	b := redis.New(sentinel.Client(t), redis.Config{})
	t.Cleanup(func() { b.Close() })
	shared, err := b.Share(codec.Layout{LockPrefix: "_lock"})
	if err != nil {
		t.Fatal(err)
	}
	v := view{shared, t, b, sentinel.Master(t), codec.Layout{LockPrefix: "_lock"}}
	g := v.acquire("k")
	v.holds("k", g.Lease.Token())
	v.publish(g, "k", "value")
	v.finds("k", "value")
	v.set("k", "newer")
	v.finds("k", "newer")
}

// A hit is one command.
func TestShareHitIsOneCommand(t *testing.T) {
	server := redistest.Start(t)
	v := openView(t, server, server.Addr, codec.Layout{LockPrefix: "_lock"}, "")
	v.set("k", "value")
	before := server.CommandsByName(t)
	const hits = 100
	for range hits {
		if found, err := v.Get(t.Context(), keyOf("k"), []backend.Guard{{Region: "r"}, {Region: "r", Tag: "t"}}); err != nil || found.Entry == nil {
			t.Fatalf("Get = %v, %v", found.Entry, err)
		}
	}
	for name, n := range server.CommandsByName(t) {
		if n -= before[name]; name == "mget" && n != hits || name != "mget" && name != "info" && n > 2 {
			t.Errorf("%d hits took %d times %s, want an MGET each and nothing else", hits, n, name)
		}
	}
}

func BenchmarkShareHit(b *testing.B) {
	server := redistest.Shared(b)
	owner := redis.New(server.Client(b), redis.Config{Prefix: space()})
	defer owner.Close()
	v, err := owner.Share(codec.Layout{LockPrefix: "_lock" + space()})
	if err != nil {
		b.Fatal(err)
	}
	guards := []backend.Guard{{Region: "bench"}}
	for name, side := range map[string]backend.Backend{"native": owner, "view": v} {
		key := backend.Key{Region: "bench", Name: space()}
		items := []backend.Item{{Key: key, Entry: &backend.Entry{Data: make([]byte, 100)}}}
		if _, err := side.Set(b.Context(), items, nil); err != nil || items[0].Err != nil {
			b.Fatal(err, items[0].Err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found, err := side.Get(b.Context(), key, guards); err != nil || found.Entry == nil {
					b.Fatal(found, err)
				}
			}
		})
	}
}
