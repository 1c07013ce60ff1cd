package memcached_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// leaseOf takes the lease of a key that nobody holds.
func leaseOf(t *testing.T, b backend.Backend, key backend.Key) backend.Grant {
	t.Helper()
	grants, _, err := b.Acquire(t.Context(), []backend.Key{key}, nil)
	if err != nil || grants[0].Lease == nil {
		t.Fatalf("Acquire = %v, %v; want a lease", grants, err)
	}
	return grants[0]
}

// A publication that is given up, and then its lease, does not hold the lease on: what
// is under way may fail later.
func TestFaultLeaseOfAPublicationThatWasGivenUp(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	a := open(t, memcached.Config{Servers: []string{proxy.Addr}, LeaseTTL: 2 * time.Second})
	b := open(t, memcached.Config{Servers: []string{server.Addr}, LeaseTTL: 2 * time.Second})
	key := backend.Key{Region: "users", Name: "k"}
	lease := leaseOf(t, a, key).Lease
	proxy.OnRequest(func(request []byte) {
		if bytes.HasPrefix(request, []byte("cas ")) {
			go proxy.Blackhole(true)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	items := []backend.Item{{Key: key, Entry: &backend.Entry{Data: []byte("x")}, Lease: lease}}
	if _, err := a.Set(ctx, items, nil); err == nil {
		t.Fatal("Set has no error although its ctx has ended")
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("Release = %v", err)
	}
	proxy.OnRequest(nil)
	time.AfterFunc(700*time.Millisecond, func() { proxy.Blackhole(false) }) // by then the cas has failed
	for deadline := time.Now().Add(8 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		grants, _, err := b.Acquire(t.Context(), []backend.Key{key}, nil)
		if err == nil && grants[0].Lease != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the lease is still held, four TTLs after it was released")
		}
	}
}

// A lease that was voided does not let through a publication that is late.
func TestFaultVoidRefusesWhatIsLate(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	proxy := faultproxy.New(t, server.Addr)
	prefix := space()
	a := open(t, memcached.Config{Servers: []string{proxy.Addr}, Prefix: prefix})
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix})
	key := backend.Key{Region: "users", Name: "k"}
	lease := leaseOf(t, a, key).Lease
	var gone atomic.Bool
	caught, deliver := proxy.StrayRequest(func(request []byte) bool {
		return bytes.HasPrefix(request, []byte("cas ")) && gone.CompareAndSwap(false, true)
	})
	for range 8 { // and so does what would find out what has become of it
		proxy.StrayRequest(func([]byte) bool { return gone.Load() })
	}
	var given sync.WaitGroup
	given.Go(func() {
		_, _ = a.Set(t.Context(), []backend.Item{{Key: key, Entry: &backend.Entry{Data: []byte("late")}, Lease: lease}}, nil)
	})
	<-caught
	void := []backend.Item{{Key: key}}
	if _, err := b.Set(t.Context(), void, nil); err != nil || void[0].Err != nil {
		t.Fatalf("to void a lease = %v, %v", err, void[0].Err)
	}
	deliver()
	if found, err := b.Get(t.Context(), key, nil); err != nil || found.Entry != nil {
		t.Errorf("after the lease was voided there is %v, %v; want nothing", found.Entry, err)
	}
	given.Wait()
}

// A server that hangs costs those who queue for a connection one Timeout in all.
func TestFaultQueueBeforeAServerThatHangs(t *testing.T) {
	server := memcachedtest.Start(t)
	b := open(t, memcached.Config{Servers: []string{server.Addr}, PoolSize: 4})
	if err := b.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	defer server.Continue(t)
	began := time.Now()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if _, err := b.Get(t.Context(), backend.Key{Region: "users", Name: fmt.Sprint(i)}, nil); err == nil {
				t.Error("Get of a server that hangs has no error")
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("40 reads with 4 connections took %v, want about the Timeout of 500 ms", took)
	}
}

// What is written while a server is down leaves nothing behind.
func TestFaultWritesToAServerThatIsDown(t *testing.T) {
	b := open(t, memcached.Config{Servers: []string{"127.0.0.1:1"}})
	used := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	write := func(round int) {
		for i := range 2000 {
			key := backend.Key{Region: "users", Name: fmt.Sprint(round, " ", i)}
			items := []backend.Item{{Key: key, Entry: &backend.Entry{Data: []byte("x")}}}
			if _, err := b.Set(t.Context(), items, nil); err == nil && items[0].Err == nil {
				t.Fatal("Set has no error although the server is down")
			}
		}
	}
	write(0)
	before := used()
	for round := range 3 {
		write(1 + round)
	}
	if more := used() - before; more > 1<<20 {
		t.Errorf("6,000 writes to a server that is down have left %d KiB", more>>10)
	}
}

// A lease that is granted while its backend is being closed is given back.
func TestFaultCloseWhileALeaseIsAskedFor(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	key := backend.Key{Region: "users", Name: "k"}
	for i := range 5 {
		prefix := fmt.Sprint("p", i)
		a := memcached.New(memcached.Config{Servers: []string{proxy.Addr}, Prefix: prefix})
		if err := a.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		adding := make(chan struct{})
		var once sync.Once
		proxy.OnRequest(func(request []byte) {
			if bytes.HasPrefix(request, []byte("add ")) {
				once.Do(func() { close(adding) })
			}
		})
		proxy.Delay(50 * time.Millisecond)
		var asking sync.WaitGroup
		asking.Go(func() { _, _, _ = a.Acquire(t.Context(), []backend.Key{key}, nil) })
		<-adding
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		asking.Wait()
		proxy.OnRequest(nil)
		proxy.Delay(0)
		b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix})
		leaseOf(t, b, key)
	}
}

// An answer with something behind its end is refused: the rest would be taken for the
// answer to what is asked next.
func TestAnswersWithSomethingBehind(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer listener.Close()
	serve := func(conn net.Conn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			name := strings.TrimSpace(strings.TrimPrefix(line, "gets "))
			answer := fmt.Sprintf("VALUE %s %d 1 7\r\nx\r\nEND\r\n", name, uint32(0xd0610010))
			if _, err := conn.Write([]byte(answer + answer)); err != nil {
				return
			}
		}
	}
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(conn) })
		}
	})
	b := memcached.New(memcached.Config{Servers: []string{listener.Addr().String()}})
	defer b.Close()
	for range 3 {
		if found, err := b.Get(t.Context(), backend.Key{Region: "users", Name: "k"}, nil); err == nil {
			t.Errorf("Get = %v, want an error: two answers came to one question", found.Entry)
		}
	}
}
