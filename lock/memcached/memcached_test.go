package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/locktest"
	"github.com/dogpile-go/dogpile/lock/memcached"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(memcachedtest.WithShared(m)) }

var spaces atomic.Int64

func space() string { return fmt.Sprint("locks", spaces.Add(1)) }

func open(t testing.TB, cfg memcached.Config) *memcached.Locker {
	t.Helper()
	l := memcached.New(cfg)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestConformance(t *testing.T) {
	for name, n := range map[string]int{"OneServer": 1, "ThreeServers": 3} {
		t.Run(name, func(t *testing.T) {
			servers := memcachedtest.Addrs(memcachedtest.Shared(t, n))
			locktest.RunPair(t, func(t *testing.T) (a, b lock.Locker) {
				cfg := memcached.Config{Servers: servers, Prefix: space(), TTL: 2 * time.Second}
				return open(t, cfg), open(t, cfg)
			})
		})
	}
	t.Run("OneSide", func(t *testing.T) {
		servers := memcachedtest.Addrs(memcachedtest.Shared(t, 3))
		locktest.Run(t, func(t *testing.T) lock.Locker {
			return open(t, memcached.Config{Servers: servers, Prefix: space(), TTL: 2 * time.Second})
		})
	})
}

// The lock of a process that was cut off is free when its TTL is over, and not before;
// the holder knows by then that it has lost it.
func TestFaultHolderIsCutOff(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	const ttl = 3 * time.Second
	prefix := space()
	a := open(t, memcached.Config{Servers: []string{proxy.Addr}, Prefix: prefix, TTL: ttl})
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix, TTL: ttl})
	lease, err := a.TryAcquire(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	proxy.Refuse(true)
	proxy.CutAll()
	cut := time.Now()
	for {
		next, err := b.TryAcquire(t.Context(), "k")
		if err == nil {
			defer next.Release(t.Context())
			break
		}
		if !errors.Is(err, lock.ErrHeld) {
			t.Fatal(err)
		}
		if err := b.Wait(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(cut)
	t.Logf("taken over after %v", took)
	if took > ttl+2*time.Second {
		t.Errorf("taken over %v after the holder was cut off, want %v at most", took, ttl+time.Second)
	}
	select {
	case <-lease.Lost():
	case <-time.After(ttl):
		t.Error("the holder was not told that its lease is lost")
	}
}

// A lease is held for many times its TTL.
func TestRenewal(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	cfg := memcached.Config{Servers: []string{server.Addr}, Prefix: space(), TTL: 2 * time.Second}
	a, b := open(t, cfg), open(t, cfg)
	lease, err := a.TryAcquire(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if err := b.Wait(ctx, "k"); err == nil {
			t.Fatal("Wait says that the lease is free, although it is held")
		}
	}
	if _, err := b.TryAcquire(t.Context(), "k"); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("TryAcquire = %v after several TTLs, want lock.ErrHeld", err)
	}
	select {
	case <-lease.Lost():
		t.Error("the lease was lost")
	default:
	}
}

// flush_all makes a holder lose its lease, and it learns of that.
func TestFaultFlush(t *testing.T) {
	server := memcachedtest.Start(t)
	l := open(t, memcached.Config{Servers: []string{server.Addr}, TTL: 10 * time.Second})
	lease, err := l.TryAcquire(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, "flush_all")
	select {
	case <-lease.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("the holder was not told that its lease is lost")
	}
}

func TestBrokenConfig(t *testing.T) {
	for want, cfg := range map[string]memcached.Config{
		"Servers is empty": {},
		"2 seconds":        {Servers: []string{"h"}, TTL: time.Second},
		"a day":            {Servers: []string{"h"}, TTL: 100 * time.Hour},
		"Prefix":           {Servers: []string{"h"}, Prefix: "a b"},
		"PoolSize":         {Servers: []string{"h"}, PoolSize: -1},
		"twice":            {Servers: []string{"h", "h:11211"}},
	} {
		l := memcached.New(cfg)
		if err := l.Err(); !errors.Is(err, memcached.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("Err = %v, want one that wraps ErrConfig and says %q", err, want)
		}
		_, err := l.TryAcquire(t.Context(), "k")
		for _, err := range []error{err, l.Wait(t.Context(), "k"), l.Void(t.Context(), "k")} {
			if !errors.Is(err, memcached.ErrConfig) {
				t.Errorf("a call returns %v, want ErrConfig", err)
			}
		}
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}
