package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
)

// What another program has under the name of a value or of a lock is no reason to fail.
func TestShareKeysOfAnotherType(t *testing.T) {
	v := newView(t, codec.Layout{StealAfter: time.Millisecond}, "")
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
	calm := newView(t, codec.Layout{}, "")
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
			v := newView(t, codec.Layout{}, "&lease_ttl=200ms")
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
	v := newView(t, codec.Layout{StealAfter: time.Hour}, "")
	name, token := space(), strings.Repeat("token", 1000)
	v.server.Do(t, "SET", v.lock(name), token)
	v.refused(name)
	v.set(name, "1")
	v.holds(name, token)
	v.delete(name)
	v.holds(name, token)
}

// A lock that never expires is taken away when it has been waited for for StealAfter, and
// no other one is.
func TestShareSteal(t *testing.T) {
	const after = 400 * time.Millisecond
	v := newView(t, codec.Layout{StealAfter: after}, "")
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
	// Also one that another program took while this one waited already.
	name = space()
	v.another(v.server.Addr, "").acquire(name)
	granted := v.waiting(t.Context(), name)
	v.server.Do(t, "SET", v.lock(name), "theirs")
	select {
	case <-granted:
	case <-time.After(5 * time.Second):
		t.Fatal("a lock that was taken later, and never expires, is not taken away")
	}
	// It counts from when it was first waited for: not by others.
	name = space()
	v.foreign(name, 0)
	v.refused(name)
	time.Sleep(after + 10*time.Millisecond)
	v.another(v.server.Addr, "").refused(name)
	v.acquire(name)
}

// Who waits for a lock of another program is woken when that expires.
func TestShareForeignLockExpires(t *testing.T) {
	v := newView(t, codec.Layout{}, "&lease_ttl=1m")
	name := space()
	began := time.Now()
	v.foreign(name, 300*time.Millisecond)
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
	v := newView(t, codec.Layout{}, "")
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

// Whoever has taken a lock after somebody else gets all the time, and no more.
func TestShareStealFromTheNext(t *testing.T) {
	const after = 300 * time.Millisecond
	v := newView(t, codec.Layout{StealAfter: after}, "")
	name := space()
	v.foreign(name, 0)
	v.refused(name)
	time.Sleep(after + 10*time.Millisecond)
	v.server.Do(t, "SET", v.lock(name), "next")
	began := time.Now()
	v.refused(name)
	if g := v.try(name); g.Lease != nil && time.Since(began) < after {
		t.Fatal("the lock was taken away at once, by the time that another one had had it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := v.await(ctx, name); err != nil || time.Since(began) < after {
		t.Errorf("the lock was taken away after %v, %v; want %v", time.Since(began), err, after)
	}
}
