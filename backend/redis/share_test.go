package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// The names on the server are those of the layout, whatever is in a key.
func TestShareNames(t *testing.T) {
	v := newView(t, backend.Layout{}, "")
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
	v := openView(t, server, server.Addr, backend.Layout{LockPrefix: "_lock"}, "")
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
	good := backend.Layout{LockPrefix: "_lock" + space()}
	b := redis.New(server.Client(t), redis.Config{Prefix: space()})
	for name, c := range map[string]struct {
		b      *redis.Backend
		layout backend.Layout
	}{
		"no prefix":           {b, backend.Layout{StealAfter: time.Hour}},
		"negative StealAfter": {b, backend.Layout{LockPrefix: "_lock", StealAfter: -1}},
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

// What another program has under the name of a value or of a lock is no reason to fail.
func TestShareKeysOfAnotherType(t *testing.T) {
	v := newView(t, backend.Layout{StealAfter: time.Millisecond}, "")
	value, lock := space(), space()
	v.server.Do(t, "RPUSH", value, "element")
	v.finds(value, "") // as MGET says
	g := v.acquire(value)
	if g.Entry == nil || !strings.Contains(string(g.Entry.Data), "another program") {
		t.Errorf("the entry is %v, want one that nobody can read", g.Entry)
	}
	v.publish(g, value, "value")
	v.finds(value, "value")

	// A lock that is no lock is another program's all the same, and nobody spins for it.
	v.server.Do(t, "RPUSH", v.lock(lock), "element")
	empty := space()
	v.server.Do(t, "SET", v.lock(empty), "")
	for _, name := range []string{lock, empty} {
		v.refused(name)
		time.Sleep(2 * time.Millisecond) // longer than StealAfter
		v.refused(name)
		v.set(name, "value")
		v.finds(name, "value")
		v.delete(name)
		v.finds(name, "")
		if v.server.Do(t, "EXISTS", v.lock(name)) != int64(1) {
			t.Error("the lock of another program is gone")
		}
	}
	calm := newView(t, backend.Layout{}, "")
	calm.server.Do(t, "RPUSH", calm.lock(lock), "element")
	calm.server.Do(t, "SET", calm.lock(empty), "")
	for _, name := range []string{lock, empty} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		calm.refused(name)
		if err := calm.Wait(ctx, []backend.Key{keyOf(name)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v, want context.DeadlineExceeded: the lock is not free", err)
		}
	}
}

// The lock of another program is left alone by everything, with a TTL and without one.
func TestShareForeignLock(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute} {
		t.Run(ttl.String(), func(t *testing.T) {
			v := newView(t, backend.Layout{}, "&lease_ttl=200ms")
			name := space()
			token := v.foreign(name, ttl)
			v.refused(name)
			ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond) // more than three leases
			defer cancel()
			if _, err := v.await(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("waiting for it = %v, want context.DeadlineExceeded", err)
			}
			v.set(name, "1")
			v.holds(name, token)
			v.finds(name, "1")
			v.set(name, "2")
			v.finds(name, "2")
			if err := v.store(backend.Item{Key: keyOf(name)}); err != nil {
				t.Errorf("voiding the lease = %v", err)
			}
			v.delete(name)
			v.finds(name, "")
			v.holds(name, token)
		})
	}
}

// A long token of another program is one like any other.
func TestShareLongToken(t *testing.T) {
	v := newView(t, backend.Layout{StealAfter: time.Hour}, "")
	name, token := space(), strings.Repeat("token", 1000)
	v.server.Do(t, "SET", v.lock(name), token)
	v.refused(name)
	v.set(name, "1")
	v.holds(name, token)
	v.delete(name)
	v.holds(name, token)
}

// A creation of ours ends by Set and Delete anywhere.
func TestShareVoids(t *testing.T) {
	first := newView(t, backend.Layout{}, "")
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

// A lock that never expires is taken away when it has been waited for for StealAfter, and
// no other one is.
func TestShareSteal(t *testing.T) {
	const after = 400 * time.Millisecond
	v := newView(t, backend.Layout{StealAfter: after}, "")
	name, began := space(), time.Now()
	v.foreign(name, 0)
	g, err := v.await(t.Context(), name)
	if took := time.Since(began); err != nil || took < after || took > after+5*time.Second {
		t.Errorf("the lock was taken away after %v, %v; want %v", took, err, after)
	}
	v.publish(g, name, "value")
	v.holds(name, nil)

	// One with a TTL never is,
	name = space()
	token := v.foreign(name, 5*time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 3*after)
	defer cancel()
	if _, err := v.await(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a lock that expires = %v, want context.DeadlineExceeded", err)
	}
	v.holds(name, token)

	// nor one that was given a TTL, or another token, since it was seen.
	for _, change := range []func(){
		func() { v.server.Do(t, "PEXPIRE", v.lock(name), 300_000) },
		func() { v.server.Do(t, "SET", v.lock(name), "another") },
	} {
		name = space()
		v.foreign(name, 0)
		v.refused(name)
		time.Sleep(after + 10*time.Millisecond)
		change()
		before := v.server.Do(t, "GET", v.lock(name))
		v.refused(name)
		v.holds(name, before)
	}
	// It counts from when it was first waited for: not by others.
	name = space()
	v.foreign(name, 0)
	v.refused(name)
	time.Sleep(after / 2)
	late := v.another(v.server.Addr, "")
	late.refused(name)
	time.Sleep(after/2 + 10*time.Millisecond)
	late.refused(name)
	v.acquire(name)
}

// Who waits for a lock of another program is woken when that expires.
func TestShareForeignLockExpires(t *testing.T) {
	v := newView(t, backend.Layout{}, "&lease_ttl=1m")
	name := space()
	v.foreign(name, 300*time.Millisecond)
	began := time.Now()
	if _, err := v.await(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 250*time.Millisecond || took > 3*time.Second {
		t.Errorf("a lock of 300 ms was granted after %v", took)
	}
	// It need not be told of: a server that has much to do leaves what has expired until
	// somebody asks for it. Here the lock is there still.
	name = space()
	v.foreign(name, 300*time.Millisecond)
	v.refused(name)
	v.server.Do(t, "PEXPIRE", v.lock(name), 60_000)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := v.Wait(ctx, []backend.Key{keyOf(name)}); err != nil {
		t.Errorf("Wait for a lock of 300 ms = %v, want it to return by then", err)
	}
	v.refused(name)
}

// One lock that nobody knows how long it lasts does not hold up those who wait for others.
func TestShareWaitForSeveral(t *testing.T) {
	v := newView(t, backend.Layout{}, "")
	eternal, free := space(), space()
	v.foreign(eternal, 0)
	other := v.another(v.server.Addr, "")
	g := other.acquire(free)
	keys := []backend.Key{keyOf(eternal), keyOf(free)}
	if grants, _, err := v.Acquire(t.Context(), keys, nil); err != nil || grants[0].Lease != nil || grants[1].Lease != nil {
		t.Fatalf("Acquire = %v, %v; want both refused", grants, err)
	}
	woken := make(chan error, 1)
	go func() { woken <- v.Wait(t.Context(), keys) }()
	other.publish(g, free, "value")
	select {
	case err := <-woken:
		if err != nil {
			t.Errorf("Wait = %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Wait does not return though one of the locks is free")
	}
}

// A master that sentinels watch over can be shared as a single server can.
func TestShareSentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	b := redis.New(sentinel.Client(t), redis.Config{})
	t.Cleanup(func() { b.Close() })
	shared, err := b.Share(backend.Layout{LockPrefix: "_lock"})
	if err != nil {
		t.Fatal(err)
	}
	v := view{shared, t, b, sentinel.Master(t), backend.Layout{LockPrefix: "_lock"}}
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
	v := openView(t, server, server.Addr, backend.Layout{LockPrefix: "_lock"}, "")
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
	v, err := owner.Share(backend.Layout{LockPrefix: "_lock" + space()})
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
