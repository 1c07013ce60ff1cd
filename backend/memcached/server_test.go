package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// One of three servers is down: its keys fail at once, those of the others are as they
// were, and when it is back it is used again.
func TestFaultOneOfThreeIsDown(t *testing.T) {
	servers := memcachedtest.StartSeveral(t, 3)
	b := open(t, memcached.Config{Servers: memcachedtest.Addrs(servers)})
	const keys = 300
	key := func(i int) backend.Key { return backend.Key{Region: "users", Name: fmt.Sprint(i)} }
	items := make([]backend.Item, keys)
	for i := range items {
		items[i] = backend.Item{Key: key(i), Entry: &backend.Entry{Data: []byte(fmt.Sprint(i))}}
	}
	if _, err := b.Set(t.Context(), items, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		if n := s.Stat(t, "curr_items"); n < keys/5 {
			t.Errorf("%s has %d of %d keys, want about a third", s.Addr, n, keys)
		}
	}
	servers[1].Kill(t)
	began := time.Now()
	var gone []int
	for range 20 {
		gone = gone[:0]
		for i := range keys {
			found, err := b.Get(t.Context(), key(i), nil)
			switch {
			case err != nil && !errors.Is(err, memcached.ErrDown) && len(gone) > 70:
				t.Fatalf("Get = %v, want ErrDown", err)
			case err != nil:
				gone = append(gone, i)
			case found.Entry == nil || string(found.Entry.Data) != fmt.Sprint(i):
				t.Fatalf("key %d of a server that is not down holds %v", i, found.Entry)
			}
		}
	}
	if len(gone) < keys/5 || len(gone) > keys/2 {
		t.Errorf("%d of %d keys are out of reach, want about a third", len(gone), keys)
	}
	// 2,000 calls for a server that is down are not 2,000 timeouts.
	t.Logf("%d calls in %v", 20*keys, time.Since(began))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("%d calls took %v while one server was down", 20*keys, took)
	}
	if err := b.Ping(t.Context()); !errors.Is(err, memcached.ErrDown) {
		t.Errorf("Ping = %v, want ErrDown", err)
	}
	servers[1].Restart(t)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		found, err := b.Get(t.Context(), key(gone[0]), nil)
		if err == nil && found.Entry == nil {
			break // it is back, and empty
		}
		if found.Entry != nil || time.Now().After(deadline) {
			t.Fatalf("a key of a server that is back: %v, %v; want a miss", found.Entry, err)
		}
	}
}

// A server that hangs costs a timeout, then nothing, and ends no call later than its ctx
// says.
func TestFaultHungServer(t *testing.T) {
	server := memcachedtest.Start(t)
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Timeout: 300 * time.Millisecond})
	if err := b.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := b.Get(ctx, lateKey, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get = %v, want the end of its ctx", err)
	}
	if took := time.Since(began); took > 250*time.Millisecond {
		t.Errorf("Get with a ctx of 30 ms took %v", took)
	}
	began = time.Now()
	for range 100 {
		if _, err := b.Get(context.Background(), lateKey, nil); err == nil {
			t.Error("Get of a server that hangs has no error")
		}
	}
	t.Logf("100 calls took %v", time.Since(began))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("100 calls of a server that hangs took %v, want some timeouts of 300 ms", took)
	}
	server.Continue(t)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := b.Get(t.Context(), lateKey, nil); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the server is back, but Get = %v", err)
		}
	}
}

// Connections that a restart of the server has ended are not noticed by anybody.
func TestFaultStaleConnections(t *testing.T) {
	server := memcachedtest.Start(t)
	for name, call := range map[string]func(b *memcached.Backend) error{
		"Get": func(b *memcached.Backend) error { _, err := b.Get(t.Context(), lateKey, nil); return err },
		"Set": func(b *memcached.Backend) error {
			items := []backend.Item{{Key: lateKey, Entry: &backend.Entry{Data: []byte("x")}}}
			_, err := b.Set(t.Context(), items, nil)
			return errors.Join(err, items[0].Err)
		},
		"Delete": func(b *memcached.Backend) error { return b.Delete(t.Context(), []backend.Key{lateKey}) },
		"Renew": func(b *memcached.Backend) error {
			return b.Renew(t.Context(), []backend.Guard{{Region: "users"}}, false)
		},
		"Acquire": func(b *memcached.Backend) error {
			grants, _, err := b.Acquire(t.Context(), []backend.Key{lateKey}, nil)
			if err == nil && grants[0].Lease == nil {
				err = errors.New("no lease")
			}
			return err
		},
	} {
		// Another one for each call: what one of them leaves to be done in the background
		// would notice the next restart.
		b := memcached.New(memcached.Config{Servers: []string{server.Addr}})
		var all sync.WaitGroup
		for range 20 { // many connections
			all.Go(func() { _, _ = b.Get(t.Context(), lateKey, nil) })
		}
		all.Wait()
		server.Restart(t)
		if err := call(b); err != nil {
			t.Errorf("%s after a restart of the server = %v", name, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// After Close nothing is left: no connection, and no lease on the server.
func TestFaultCloseLeavesNothing(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	b := memcached.New(memcached.Config{Servers: []string{proxy.Addr}})
	keys := make([]backend.Key, 50)
	for i := range keys {
		keys[i] = backend.Key{Region: "users", Name: fmt.Sprint(i)}
	}
	if _, _, err := b.Acquire(t.Context(), keys, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); proxy.Connections() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", proxy.Connections())
		}
	}
	other := open(t, memcached.Config{Servers: []string{server.Addr}})
	grants, _, err := other.Acquire(t.Context(), keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, grant := range grants {
		if grant.Lease == nil {
			t.Fatalf("the lease of key %d is left", i)
		}
	}
}
