package redis_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
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
					other := newView(t, codec.Layout{}, "")
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
			other := newView(t, codec.Layout{}, "")
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
	other := newView(t, codec.Layout{}, "")
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
	other := newView(t, codec.Layout{}, "")
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
		other := newView(t, codec.Layout{}, "")
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
