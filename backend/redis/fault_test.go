package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// process is a region as a process of its own would have it.
type process struct {
	*region.Region
	b      backend.Backend
	prefix string
	wrong  *failures
}

// join opens a process of the fleet that shares the keys under prefix.
func join(t *testing.T, addr, prefix, options string) process {
	t.Helper()
	b, err := backend.Open("redis://" + addr + "?prefix=" + prefix + options)
	if err != nil {
		t.Fatal(err)
	}
	return joinOn(t, b, prefix)
}

// joinOn is join with a backend that is closed at the end.
func joinOn(t *testing.T, b backend.Backend, prefix string) process {
	t.Helper()
	p := process{b: b, prefix: prefix, wrong: new(failures)}
	var err error
	p.Region, err = region.New("users", region.Config{Backend: b, Expiration: time.Hour, Observer: p.wrong})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	// The scripts are known to the server and the connections made.
	if _, err := region.GetOrCreate(t.Context(), p.Region, "warm up", func(context.Context) (string, error) { return "", nil }); err != nil {
		t.Fatal(err)
	}
	return p
}

// fine checks that nothing went wrong between region and backend.
func (p process) fine(t *testing.T) {
	t.Helper()
	for _, err := range p.wrong.all() {
		t.Error(err)
	}
}

// get is GetOrCreate of a value that nobody should have to create.
func (p process) finds(t *testing.T, key, want string) {
	t.Helper()
	got, err := region.GetOrCreate(t.Context(), p.Region, key, func(context.Context) (string, error) {
		t.Errorf("%s is created again", key)
		return "", errors.New("not there")
	})
	if err == nil && got != want {
		t.Errorf("%s is %q, want %q", key, got, want)
	}
}

// has matches a request that has all of words in it.
func has(words ...string) func([]byte) bool {
	return func(request []byte) bool {
		for _, word := range words {
			if !bytes.Contains(request, []byte(word)) {
				return false
			}
		}
		return true
	}
}

// The server has granted the lease, but the answer got lost, with its connection or
// without a word (R9).
func TestFaultLostReplyToAcquire(t *testing.T) {
	server := redistest.Shared(t)
	for name, lose := range map[string]func(*faultproxy.Proxy, func([]byte) bool) <-chan struct{}{
		"cut":    (*faultproxy.Proxy).DropReplyTo,
		"silent": (*faultproxy.Proxy).LoseReplyTo,
	} {
		t.Run(name, func(t *testing.T) {
			proxy, prefix := faultproxy.New(t, server.Addr), space()
			p, other := join(t, proxy.Addr, prefix, ""), join(t, server.Addr, prefix, "")
			lost := lose(proxy, has("evalsha", ":lock:{users:k}"))
			began := time.Now()
			got, err := region.GetOrCreate(t.Context(), p.Region, "k", func(context.Context) (string, error) {
				select {
				case <-lost:
				default:
					t.Error("no answer was lost")
				}
				return "v", nil
			})
			if err != nil || got != "v" {
				t.Fatalf("GetOrCreate = %q, %v", got, err)
			}
			// A second for the answer that does not come, and not the lease's TTL.
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v: it waited for its own lease", took)
			}
			other.finds(t, "k", "v")
			p.fine(t)
		})
	}
}

// The value was stored, but the answer got lost (R10).
func TestFaultLostReplyToPublish(t *testing.T) {
	server := redistest.Shared(t)
	for name, lose := range map[string]func(*faultproxy.Proxy, func([]byte) bool) <-chan struct{}{
		"cut":    (*faultproxy.Proxy).DropReplyTo,
		"silent": (*faultproxy.Proxy).LoseReplyTo,
	} {
		t.Run(name, func(t *testing.T) {
			proxy, prefix := faultproxy.New(t, server.Addr), space()
			p, other := join(t, proxy.Addr, prefix, ""), join(t, server.Addr, prefix, "")
			var lost <-chan struct{}
			got, err := region.GetOrCreate(t.Context(), p.Region, "k", func(context.Context) (string, error) {
				lost = lose(proxy, has("evalsha", ":lock:{users:k}"))
				return "v", nil
			})
			if err != nil || got != "v" {
				t.Fatalf("GetOrCreate = %q, %v", got, err)
			}
			<-lost
			other.finds(t, "k", "v")
			p.finds(t, "k", "v")
			p.fine(t)
		})
	}
}

// Everything is flushed in the middle of a creation (R12): whoever waits creates
// anew, and the first one's value is not stored over what came after.
func TestFaultFlushDuringCreation(t *testing.T) {
	server := redistest.Start(t)
	prefix := space()
	holder, waiter := join(t, server.Addr, prefix, ""), join(t, server.Addr, prefix, "")
	began, release := make(chan struct{}), make(chan struct{})
	first := make(chan string, 1)
	go func() {
		got, err := region.GetOrCreate(t.Context(), holder.Region, "k", func(context.Context) (string, error) {
			close(began)
			<-release
			return "old", nil
		})
		if err != nil {
			t.Error(err)
		}
		first <- got
	}()
	<-began
	second := make(chan string, 1)
	go func() {
		got, err := region.GetOrCreate(t.Context(), waiter.Region, "k", func(context.Context) (string, error) {
			return "new", nil
		})
		if err != nil {
			t.Error(err)
		}
		second <- got
	}()
	// It waits when it has been refused the lease.
	refused := server.CommandsByName(t)["evalsha"]
	for server.CommandsByName(t)["evalsha"] == refused {
		time.Sleep(time.Millisecond)
	}
	flushed := time.Now()
	server.Do(t, "FLUSHALL")
	if got := <-second; got != "new" {
		t.Errorf("the waiter got %q, want what it created after the flush", got)
	}
	if took := time.Since(flushed); took > 2*time.Second {
		t.Errorf("the waiter was woken %v after the flush, want at once", took)
	}
	close(release)
	if got := <-first; got != "old" {
		t.Errorf("the holder's caller got %q, want its own value", got)
	}
	holder.finds(t, "k", "new")
	waiter.finds(t, "k", "new")
	waiter.fine(t)
	if wrong := holder.wrong.all(); len(wrong) != 1 || !errors.Is(wrong[0], backend.ErrLeaseLost) {
		t.Errorf("the late publication was told as %v, want ErrLeaseLost once", wrong)
	}
}

// A server that forgets the scripts all the time costs nobody an error (R13).
func TestFaultScriptFlush(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (p process, flush func()){
		"standalone": func(t *testing.T) (process, func()) {
			server := redistest.Start(t)
			return join(t, server.Addr, space(), ""), func() { server.Do(t, "SCRIPT", "FLUSH") }
		},
		"cluster": func(t *testing.T) (process, func()) {
			cluster := redistest.StartCluster(t)
			b, err := backend.Open("redis+cluster://" + strings.Join(cluster.Addrs, ",") + "?prefix=" + space())
			if err != nil {
				t.Fatal(err)
			}
			p := process{b: b, wrong: new(failures)}
			if p.Region, err = region.New("users", region.Config{Backend: b, Expiration: time.Hour, Observer: p.wrong}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			return p, func() {
				for _, node := range cluster.Nodes {
					node.Do(t, "SCRIPT", "FLUSH")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, flush := open(t)
			ctx := t.Context()
			var done atomic.Bool
			var users sync.WaitGroup
			for i := range 8 {
				users.Go(func() {
					for round := range rounds(50, 500) {
						key := fmt.Sprint("k", i, round)
						create := func(context.Context) (string, error) { return key, nil }
						got, err := region.GetOrCreate(ctx, p.Region, key, create)
						if err != nil || got != key {
							t.Errorf("GetOrCreate = %q, %v", got, err)
						}
						keys := []string{key, key + "b", key + "c"}
						if m, err := region.GetOrCreateMulti(ctx, p.Region, keys, func(_ context.Context, missing []string) (map[string]string, error) {
							values := map[string]string{}
							for _, k := range missing {
								values[k] = k
							}
							return values, nil
						}); err != nil || len(m) != 3 {
							t.Errorf("GetOrCreateMulti = %v, %v", m, err)
						}
						for what, err := range map[string]error{
							"Set":        region.Set(ctx, p.Region, key, "set"),
							"Delete":     p.Delete(ctx, key),
							"Invalidate": p.Invalidate(ctx, region.Soft),
						} {
							if err != nil {
								t.Errorf("%s: %v", what, err)
							}
						}
					}
				})
			}
			flushing := make(chan int)
			go func() {
				n := 0
				for ; !done.Load(); n++ {
					flush()
				}
				flushing <- n
			}()
			users.Wait()
			done.Store(true)
			if n := <-flushing; n < 10 {
				t.Errorf("the scripts were flushed %d times only", n)
			}
			p.fine(t)
		})
	}
}

// The server dies and comes back empty (R11). Meanwhile creators run, one at a time
// in a process, and afterwards all is as before.
func TestFaultServerRestarts(t *testing.T) {
	server := redistest.Start(t)
	prefix := space()
	a, b := join(t, server.Addr, prefix, ""), join(t, server.Addr, prefix, "")
	create := func(value string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return value, nil }
	}
	server.Kill(t)
	began := time.Now()
	got, err := region.GetOrCreate(t.Context(), a.Region, "k", create("during the outage"))
	if err != nil || got != "during the outage" {
		t.Errorf("during the outage GetOrCreate = %q, %v", got, err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a server that refuses connections holds a call up for %v", took)
	}
	server.Restart(t)
	restarted := time.Now()
	for {
		got, err := region.GetOrCreate(t.Context(), a.Region, "k", create("after it"))
		if err != nil {
			t.Fatal(err)
		}
		found, ok, err := region.Get[string](t.Context(), b.Region, "k")
		if ok && err == nil && found == got {
			break
		}
		if time.Since(restarted) > 10*time.Second {
			t.Fatalf("ten seconds after the restart there is %q, %v, %v", found, ok, err)
		}
	}
	t.Logf("back to normal after %v", time.Since(restarted))

	// Waiters are woken by push again.
	hold, release := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = region.GetOrCreate(t.Context(), a.Region, "again", func(context.Context) (string, error) {
			close(hold)
			<-release
			return "v", nil
		})
	}()
	<-hold
	waited := make(chan string, 1)
	go func() {
		got, _ := region.GetOrCreate(t.Context(), b.Region, "again", create("by the waiter"))
		waited <- got
	}()
	time.Sleep(100 * time.Millisecond)
	close(release)
	if got := <-waited; got != "v" {
		t.Errorf("the waiter got %q, want the holder's value", got)
	}
}
