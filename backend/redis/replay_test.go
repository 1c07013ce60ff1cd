package redis_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// A command whose connection was given up may reach the server late, after it was sent
// again and others have written. It must not undo what they did.
func TestFaultLateDuplicates(t *testing.T) {
	server := redistest.Start(t)
	proxy, prefix := faultproxy.New(t, server.Addr), space()
	p, other := join(t, proxy.Addr, prefix, "&read_timeout=300ms"), join(t, server.Addr, prefix, "")
	ctx := t.Context()

	var mu sync.Mutex
	var match func([]byte) bool
	var caught []byte
	proxy.OnRequest(func(request []byte) {
		mu.Lock()
		defer mu.Unlock()
		if match != nil && caught == nil && match(request) {
			caught = bytes.Clone(request)
		}
	})
	// catch returns what f sends that has words in it.
	catch := func(f func() error, words ...string) []byte {
		t.Helper()
		mu.Lock()
		match, caught = has(words...), nil
		mu.Unlock()
		if err := f(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		match = nil
		if caught == nil {
			t.Fatalf("nothing was sent that has %q in it", words)
		}
		return caught
	}
	// replay sends a request once more, from another connection.
	replay := func(request []byte) {
		t.Helper()
		conn, err := net.Dial("tcp", server.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	misses := func(what, key string) {
		t.Helper()
		if got, ok, err := region.Get[string](ctx, other.Region, key); ok || err != nil {
			t.Errorf("after a late duplicate of %s, %s is %q, %v; want a miss", what, key, got, err)
		}
	}
	create := func(r process, key, value string) error {
		_, err := region.GetOrCreate(ctx, r.Region, key, func(context.Context) (string, error) { return value, nil })
		return err
	}

	for _, mode := range []region.Invalidation{region.Hard, region.Soft} {
		if err := p.Invalidate(ctx, mode); err != nil { // the server knows the script
			t.Fatal(err)
		}
		first := catch(func() error { return p.Invalidate(ctx, mode) }, "evalsha", ":stamp:{users}")
		if err := create(other, "k", "between"); err != nil {
			t.Fatal(err)
		}
		if err := other.Invalidate(ctx, mode); err != nil {
			t.Fatal(err)
		}
		misses("nothing", "k")
		replay(first)
		misses(mode.String()+" Invalidate", "k")
	}

	if err := region.Set(ctx, p.Region, "set", "warm up"); err != nil {
		t.Fatal(err)
	}
	set := catch(func() error { return region.Set(ctx, p.Region, "set", "old") }, "evalsha", "{users:set}")
	sent := time.Now()
	if err := other.Delete(ctx, "set"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(sent.Add(350 * time.Millisecond))) // whoever sent it has given up
	replay(set)
	misses("Set", "set")

	published := catch(func() error { return create(p, "made", "old") }, "evalsha", "{users:made}", "old")
	if err := other.Delete(ctx, "made"); err != nil {
		t.Fatal(err)
	}
	replay(published)
	misses("a publication", "made")
	p.fine(t)
}

// A value whose first sending comes too late is sent again, and is there when Set
// returns.
func TestFaultSlowNetwork(t *testing.T) {
	server := redistest.Start(t)
	proxy, prefix := faultproxy.New(t, server.Addr), space()
	p, other := join(t, proxy.Addr, prefix, "&read_timeout=200ms"), join(t, server.Addr, prefix, "")
	if err := region.Set(t.Context(), p.Region, "another", "warm up"); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", "{users:set}")(request) {
			once.Do(func() { time.Sleep(300 * time.Millisecond) })
		}
	})
	if err := region.Set(t.Context(), p.Region, "set", "v"); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := region.Get[string](t.Context(), other.Region, "set"); got != "v" || !ok || err != nil {
		t.Errorf("after Set there is %q, %v, %v", got, ok, err)
	}
	p.fine(t)
}
