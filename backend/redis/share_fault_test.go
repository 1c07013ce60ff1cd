package redis_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// lateView is a view whose requests go astray, and another one.
type lateView struct {
	*late
	v, other view
	key      string
}

// A request of a view that reaches the server late undoes nothing, as long as no other
// program takes part.
func TestFaultShareLateRequests(t *testing.T) {
	cases := map[string]func(l lateView){
		"Set, while it takes the lock": func(l lateView) {
			l.astray(1, "old", "evalsha", l.key)
			l.v.set(l.key, "old")
			l.other.finds(l.key, "old")
			l.other.delete(l.key)
			l.deliver()
			l.other.finds(l.key, "")
		},
		"Set, while it stores": func(l lateView) {
			l.astray(1, "", "evalsha", l.key, "old")
			l.v.set(l.key, "old")
			l.other.finds(l.key, "old")
			l.other.delete(l.key)
			l.deliver()
			l.other.finds(l.key, "")
		},
		"Set, in both": func(l lateView) {
			l.astray(1, "old", "evalsha", l.key)
			l.astray(1, "", "evalsha", l.key, "old")
			l.v.set(l.key, "old")
			l.other.delete(l.key)
			l.deliver()
			l.other.finds(l.key, "")
		},
		"Set, before a newer one": func(l lateView) {
			l.astray(1, "", "evalsha", l.key, "old")
			l.v.set(l.key, "old")
			l.other.set(l.key, "new")
			l.deliver()
			l.other.finds(l.key, "new")
		},
		"Set that failed": func(l lateView) {
			l.astray(2, "", "evalsha", l.key, "old")
			if err := l.v.put(l.key, "old"); err == nil {
				l.Fatal("Set has no error although nothing was answered")
			}
			l.other.delete(l.key)
			l.deliver()
			l.other.finds(l.key, "")
		},
		"Set that failed, before a newer one": func(l lateView) {
			l.astray(2, "", "evalsha", l.key, "old")
			if err := l.v.put(l.key, "old"); err == nil {
				l.Fatal("Set has no error although nothing was answered")
			}
			l.other.set(l.key, "new")
			l.deliver()
			l.other.finds(l.key, "new")
		},
		"acquire": func(l lateView) {
			l.astray(1, "", "evalsha", l.key)
			l.v.publish(l.v.acquire(l.key), l.key, "made")
			l.other.finds(l.key, "made")
			l.other.delete(l.key)
			l.deliver()
		},
		"publication": func(l lateView) {
			g := l.v.acquire(l.key)
			l.astray(1, "", "evalsha", l.key, "made")
			l.v.publish(g, l.key, "made")
			l.other.finds(l.key, "made")
			l.other.delete(l.key)
			l.deliver()
			l.other.finds(l.key, "")
		},
		// As in TestFaultLateRequests.
		"Set, between the two steps of a newer one": func(l lateView) {
			l.astray(2, "", "evalsha", l.key, "old")
			second := faultproxy.New(l, l.proxy.Upstream())
			newer := l.other.another(second.Addr, "")
			var once sync.Once
			second.OnRequest(func(request []byte) {
				if has("evalsha", l.key, "new")(request) {
					once.Do(l.deliver)
				}
			})
			l.proxy.OnRequest(func(request []byte) {
				if has("evalsha", l.key, "old")(request) {
					l.proxy.Refuse(true)
				}
			})
			if err := l.v.put(l.key, "old"); err == nil {
				l.Fatal("Set has no error although nothing was answered")
			}
			l.strayed = l.strayed[:1] // the second could not even be sent
			newer.set(l.key, "new")
			l.other.finds(l.key, "new")
		},
	}
	for kind, repeats := range map[string]bool{"by URL": false, "client that repeats": true} {
		t.Run(kind, func(t *testing.T) {
			for name, run := range cases {
				t.Run(name, func(t *testing.T) {
					other := newView(t, backend.Layout{}, "")
					proxy := faultproxy.New(t, other.server.Addr)
					l := lateView{late: &late{T: t, proxy: proxy}, other: other, key: "<" + space() + ">"}
					if repeats {
						opt := other.server.Options()
						opt.Addr, opt.MaxRetries, opt.ContextTimeoutEnabled = proxy.Addr, 3, true
						client := goredis.NewClient(opt)
						t.Cleanup(func() { _ = client.Close() })
						b := redis.New(client, redis.Config{Prefix: space()})
						t.Cleanup(func() { _ = b.Close() })
						shared, err := b.Share(other.layout)
						if err != nil {
							t.Fatal(err)
						}
						l.v = view{shared, t, b, other.server, other.layout}
						l.v.set("warm up"+space(), "made")
					} else {
						l.v = other.another(proxy.Addr, "")
					}
					run(l)
					// Nobody waits for the lock for as long as a lease.
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					if _, err := l.other.await(ctx, l.key); err != nil {
						t.Errorf("waiting for the lock = %v", err)
					}
				})
			}
		})
	}
}

// A Set whose answer gets lost is not carried out a second time, over what others have done
// since. Where nobody knows what became of it, it says so.
func TestFaultShareSetIsCarriedOutOnce(t *testing.T) {
	for _, want := range []string{"", "new"} {
		t.Run(fmt.Sprintf("undone with %q", want), func(t *testing.T) {
			other := newView(t, backend.Layout{}, "")
			proxy := faultproxy.New(t, other.server.Addr)
			v, key, stores := other.another(proxy.Addr, ""), "<"+space()+">", 0
			proxy.DropReplyTo(has("evalsha", key, "old"))
			proxy.OnRequest(func(request []byte) {
				if !has("evalsha", key, "old")(request) {
					return
				}
				if stores++; stores == 2 { // the first was carried out, and its answer lost
					other.finds(key, "old")
					if want == "" {
						other.delete(key)
					} else {
						other.set(key, want)
					}
				}
			})
			err := v.put(key, "old")
			if want == "" && err == nil {
				t.Error("Set has no error although nobody knows whether it was stored")
			}
			other.finds(key, want)
		})
	}
}

// A publication whose answer gets lost was one.
func TestFaultSharePublicationIsSentTwice(t *testing.T) {
	other := newView(t, backend.Layout{}, "")
	proxy := faultproxy.New(t, other.server.Addr)
	v, key := other.another(proxy.Addr, ""), "<"+space()+">"
	g := v.acquire(key)
	dropped := proxy.DropReplyTo(has("evalsha", key, "made"))
	v.publish(g, key, "made")
	<-dropped
	other.finds(key, "made")
	other.holds(key, nil)
}

// A lease whose answer gets lost is had all the same, by the next attempt.
func TestFaultShareLostAcquire(t *testing.T) {
	other := newView(t, backend.Layout{}, "")
	proxy := faultproxy.New(t, other.server.Addr)
	v, key := other.another(proxy.Addr, ""), "<"+space()+">"
	dropped := proxy.DropReplyTo(has("evalsha", key))
	g := v.acquire(key)
	<-dropped
	other.holds(key, g.Lease.Token())
	v.publish(g, key, "made")

	// The answer to one that takes the lock to write, likewise.
	dropped = proxy.DropReplyTo(has("evalsha", key))
	v.set(key, "set")
	<-dropped
	other.finds(key, "set")
	other.holds(key, nil)
}

// The server may lose the lock of a write between its two steps, or another program may
// release its own. The value is stored all the same.
func TestFaultShareLockOfAWriteIsLost(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		other := newView(t, backend.Layout{}, "")
		proxy := faultproxy.New(t, other.server.Addr)
		v, key, lost, always := other.another(proxy.Addr, ""), "<"+space()+">", 0, false
		v.set(key, "old")
		if foreign {
			v.foreign(key, 0)
		}
		proxy.OnRequest(func(request []byte) {
			if has("evalsha", key, "new")(request) && (lost == 0 || always) {
				lost++
				other.server.Do(t, "DEL", other.lock(key))
			}
		})
		v.set(key, "new")
		other.finds(key, "new")
		if lost != 1 {
			t.Errorf("the lock was lost %d times, want once", lost)
		}
		if always = true; v.put(key, "newer than new") == nil {
			t.Error("Set has no error although its lock was lost each time")
		}
		other.finds(key, "new")
	}
}

// between has f called between the two steps of a Set of value, and returns the Set's error.
func (v view) between(key, value string, f func(other view)) error {
	v.t.Helper()
	proxy := faultproxy.New(v.t, v.server.Addr)
	p := v.another(proxy.Addr, "&lease_ttl=500ms")
	var once sync.Once
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", key, value)(request) {
			once.Do(func() { f(v) })
		}
	})
	return p.put(key, value)
}

// What a Delete finds that began between the two steps of a Set is not stored after it, with
// a value that was there before and without one. A lease that is voided there is a
// creator's: the Set goes on.
func TestShareDeleteWhileSetting(t *testing.T) {
	v := newView(t, backend.Layout{}, "")
	for _, before := range []string{"", "old"} {
		for _, shared := range []bool{false, true} {
			key := "<" + space() + ">"
			if before != "" {
				v.set(key, before)
			}
			if shared && before != "" { // as one that a writer took who was killed
				v.server.Do(t, "SET", v.lock(key), "deaddeaddeaddeadw0123456789abcdef", "PX", 60_000)
			}
			if err := v.between(key, "made before", func(other view) { other.delete(key) }); err != nil {
				t.Errorf("Set = %v", err)
			}
			v.finds(key, "")
			v.holds(key, nil)
		}
		key := "<" + space() + ">"
		err := v.between(key, "new", func(other view) {
			if err := other.store(backend.Item{Key: keyOf(key)}); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Errorf("Set = %v", err)
		}
		v.finds(key, "new")
	}
	// One that is replaced has been there, as far as anybody knows.
	key := "<" + space() + ">"
	if err := v.between(key, "first", func(other view) { other.set(key, "second") }); err != nil {
		t.Errorf("Set = %v", err)
	}
	v.finds(key, "second")
	// One that took longer than its lock lasts says that it failed.
	if err := v.between("<"+space()+">", "value", func(view) { time.Sleep(600 * time.Millisecond) }); err == nil {
		t.Error("Set has no error though its lock had expired before it stored")
	}
}

// What another program publishes and frees between the two steps of a write was created
// before that began, so the write is the last.
func TestShareWriteIsAfterForeignCreation(t *testing.T) {
	other := newView(t, backend.Layout{}, "")
	proxy := faultproxy.New(t, other.server.Addr)
	v, key := other.another(proxy.Addr, ""), "<"+space()+">"
	v.foreign(key, 0)
	var once sync.Once
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", key, "new")(request) {
			once.Do(func() {
				other.server.Do(t, "SET", key, "theirs")
				other.server.Do(t, "DEL", other.lock(key))
			})
		}
	})
	v.set(key, "new")
	other.finds(key, "new")
}

// Everybody sets and deletes one key at once: none of it fails, and nothing stays behind. A
// machine that is busy with other tests may lose an answer.
func TestShareSetsAndDeletesOfOneKey(t *testing.T) {
	first := newView(t, backend.Layout{}, "")
	var all sync.WaitGroup
	keys := []string{space(), space()}
	for i := range 4 {
		v := first.another(first.server.Addr, "")
		for j := range 4 {
			all.Go(func() {
				for n := range 100 {
					if err := v.put(keys[0], fmt.Sprint(i, j, n)); err != nil && !strings.Contains(err.Error(), "got lost") {
						t.Errorf("Set = %v", err)
					}
					if err := v.put(keys[1], "always the same"); err != nil {
						t.Errorf("Set of the same bytes = %v", err)
					}
				}
			})
		}
		if i%2 == 0 {
			all.Go(func() {
				for range 200 {
					if err := v.Delete(t.Context(), []backend.Key{keyOf(keys[0])}); err != nil {
						t.Errorf("Delete = %v", err)
					}
				}
			})
		}
	}
	all.Wait()
	first.finds(keys[1], "always the same")
	first.set(keys[0], "the last")
	first.finds(keys[0], "the last")
	for _, key := range keys {
		first.holds(key, nil)
	}
}

// shareHolder is the role of a process that takes a lease and keeps it.
func shareHolder(w *fleettest.Worker) error {
	var params struct{ URL, LockPrefix, Key string }
	if err := w.Params(&params); err != nil {
		return err
	}
	b, err := backend.Open(params.URL)
	if err != nil {
		return err
	}
	v, err := b.(backend.Sharer).Share(backend.Layout{LockPrefix: params.LockPrefix})
	if err != nil {
		return err
	}
	grants, _, err := v.Acquire(context.Background(), []backend.Key{keyOf(params.Key)}, nil)
	if err != nil || grants[0].Lease == nil {
		return fmt.Errorf("Acquire = %v, %w", grants, err)
	}
	w.Ready()
	w.Await("end")
	return b.Close()
}

// A process of ours that is killed is not waited for.
func TestFaultShareHolderIsKilled(t *testing.T) {
	v := newView(t, backend.Layout{}, "&lease_ttl=1m")
	key := space()
	fleet := fleettest.Start(t, "share holder", 1, map[string]string{
		"URL": v.server.URL() + "?prefix=" + space() + "&lease_ttl=1m", "LockPrefix": v.layout.LockPrefix, "Key": key,
	})
	fleet.AwaitReady()
	granted := v.waiting(t.Context(), key)
	killed := time.Now()
	fleet.Workers[0].Kill()
	took := (<-granted).Sub(killed)
	t.Logf("granted %v after the kill", took)
	if took > 5*time.Second {
		t.Errorf("the lease was granted %v after its holder was killed, want soon", took)
	}
}

// A lease is renewed while it is held, and its end is told.
func TestShareLeaseIsRenewed(t *testing.T) {
	v := newView(t, backend.Layout{}, "&lease_ttl=300ms")
	other := v.another(v.server.Addr, "")
	key := space()
	g := v.acquire(key)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // three leases
	defer cancel()
	if _, err := other.await(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a lease that is held = %v, want context.DeadlineExceeded", err)
	}
	select {
	case <-g.Lease.Lost():
		t.Error("the lease is lost")
	default:
	}
	v.publish(g, key, "value")
	g = v.acquire(key)
	other.delete(key)
	select {
	case <-g.Lease.Lost():
	case <-time.After(10 * time.Second):
		t.Error("the holder is not told that its lease was voided")
	}
}

// Close ends leases and waits, and leaves no lock and no goroutine.
func TestShareClose(t *testing.T) {
	server := redistest.Start(t)
	v := openView(t, server, server.Addr, backend.Layout{LockPrefix: "_lock"}, "")
	g := v.acquire("held")
	v.foreign("theirs", 0)
	woken := make(chan error, 1)
	v.refused("theirs")
	go func() { woken <- v.Wait(t.Context(), []backend.Key{keyOf("theirs")}) }()
	for !strings.Contains(fmt.Sprint(running("Wait")), "redis.(*shared).Wait") {
		runtime.Gosched()
	}
	if err := v.owner.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-woken; !errors.Is(err, backend.ErrClosed) {
		t.Errorf("Wait = %v, want backend.ErrClosed", err)
	}
	select {
	case <-g.Lease.Lost():
	default:
		t.Error("the lease was not ended")
	}
	if keys := fmt.Sprint(server.Do(t, "KEYS", "*")); keys != "[_locktheirs]" {
		t.Errorf("after Close there are the keys %s, want [_locktheirs]", keys)
	}
	var left []string
	for deadline := time.Now().Add(time.Second); ; runtime.Gosched() {
		if left = running("backend/redis.(", "internal/fleet."); left == nil || time.Now().After(deadline) {
			break
		}
	}
	for _, stack := range left {
		t.Errorf("after Close there is\n%s", stack)
	}
	if clients := fmt.Sprint(server.Do(t, "CLIENT", "LIST")); strings.Contains(clients, " sub=2 ") {
		t.Errorf("after Close the server still has a connection that listens:\n%s", clients)
	}
}
