package redis_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// late is a process whose requests go astray, and another one of its fleet.
type late struct {
	*testing.T
	proxy   *faultproxy.Proxy
	p       process // connects through the proxy
	other   process
	strayed []func() // deliver what went astray
}

// astray has the next n requests that have words in them and none of without arrive
// late, after the client was cut off.
func (l *late) astray(n int, without string, words ...string) {
	for range n {
		_, deliver := l.proxy.StrayRequest(func(request []byte) bool {
			return has(words...)(request) && (without == "" || !has(without)(request))
		})
		l.strayed = append(l.strayed, deliver)
	}
}

// deliver delivers what went astray.
func (l *late) deliver() {
	l.Helper()
	for _, deliver := range l.strayed {
		deliver()
	}
	l.strayed = nil
}

func (l *late) set(p process, key, value string) {
	l.Helper()
	if err := region.Set(l.Context(), p.Region, key, value); err != nil {
		l.Fatalf("Set of %s = %v", key, err)
	}
}

func (l *late) delete(key string) {
	l.Helper()
	if err := l.other.Delete(l.Context(), key); err != nil {
		l.Fatal(err)
	}
}

func (l *late) create(p process, key string, creator func() string, opts ...region.CallOption) {
	l.Helper()
	got, err := region.GetOrCreate(l.Context(), p.Region, key, func(context.Context) (string, error) { return creator(), nil }, opts...)
	if err != nil || got == "" {
		l.Fatalf("GetOrCreate of %s = %q, %v", key, got, err)
	}
}

// finds checks what is stored under key: nothing if want is empty.
func (l *late) finds(key, want string) {
	l.Helper()
	got, ok, err := region.Get[string](l.Context(), l.other.Region, key)
	if got != want || ok != (want != "") || err != nil {
		l.Errorf("%s is %q, %v, %v; want %q", key, got, ok, err, want)
	}
}

// free checks that nobody has to wait for the lock of key, as for one that a process
// took without knowing it.
func (l *late) free(key string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 5*time.Second) // the lease would last for ten
	defer cancel()
	_, err := region.GetOrCreate(ctx, l.other.Region, key, func(context.Context) (string, error) { return "anew", nil })
	if err != nil {
		l.Errorf("GetOrCreate of %s = %v", key, err)
	}
}

// A request whose connection was given up may reach the server late, at any time, after
// others have written. It must not undo what they did (I1).
func TestFaultLateRequests(t *testing.T) {
	cases := map[string]func(*late){
		"Invalidate": func(l *late) {
			for _, mode := range []region.Invalidation{region.Hard, region.Soft} {
				l.astray(1, "", "evalsha", ":stamp:{users}")
				if err := l.p.Invalidate(l.Context(), mode); err != nil {
					l.Fatal(err)
				}
				l.create(l.other, "k", func() string { return "between" })
				if err := l.other.Invalidate(l.Context(), mode); err != nil {
					l.Fatal(err)
				}
				l.finds("k", "")
				l.deliver()
				l.finds("k", "")
			}
		},
		"InvalidateTags": func(l *late) {
			tags := region.WithTags("a", "b")
			for _, invalidate := range []func(p process) error{
				func(p process) error { return p.InvalidateTags(l.Context(), "a") },
				func(p process) error { return region.SoftTags(l.Context(), p.Region, "a") },
			} {
				l.astray(1, "", "evalsha", ":stamp:{users}:")
				if err := invalidate(l.p); err != nil {
					l.Fatal(err)
				}
				l.create(l.other, "k", func() string { return "between" }, tags)
				if err := invalidate(l.other); err != nil {
					l.Fatal(err)
				}
				l.finds("k", "")
				l.deliver()
				l.finds("k", "")
			}
		},
		"InvalidateTags, while a creator runs": func(l *late) {
			for _, late := range []bool{false, true} {
				var tags []region.CallOption
				if !late {
					tags = append(tags, region.WithTags("a"))
				}
				l.astray(1, "", "evalsha", ":stamp:{users}:")
				if err := l.p.InvalidateTags(l.Context(), "a"); err != nil {
					l.Fatal(err)
				}
				got, err := region.GetOrCreate(l.Context(), l.p.Region, "k", func(ctx context.Context) (string, error) {
					if late {
						region.FromContext(ctx).AddTags("a")
					}
					l.deliver()
					return "made", nil
				}, tags...)
				if got != "made" || err != nil {
					l.Fatalf("GetOrCreate = %q, %v", got, err)
				}
				l.finds("k", "")
			}
		},
		"publication with tags": func(l *late) {
			l.astray(1, "", "evalsha", "{users:k}", "made")
			l.create(l.p, "k", func() string { return "made" }, region.WithTags("a"))
			l.finds("k", "made")
			if err := l.other.InvalidateTags(l.Context(), "a"); err != nil {
				l.Fatal(err)
			}
			l.finds("k", "")
			l.deliver()
			l.finds("k", "")
			l.free("k")
		},
		"Delete": func(l *late) {
			l.astray(1, "", "evalsha", ":note:{users:k}")
			l.set(l.other, "k", "old")
			if err := l.p.Delete(l.Context(), "k"); err != nil {
				l.Fatal(err)
			}
			l.finds("k", "")
		},
		"Set, while it takes the lock": func(l *late) {
			l.astray(1, "old", "evalsha", "{users:k}")
			l.set(l.p, "k", "old")
			l.finds("k", "old")
			l.delete("k")
			l.deliver()
			l.finds("k", "")
			l.free("k")
		},
		"Set, while it stores": func(l *late) {
			l.astray(1, "", "evalsha", "{users:k}", "old")
			l.set(l.p, "k", "old")
			l.finds("k", "old")
			l.delete("k")
			l.deliver()
			l.finds("k", "")
			l.free("k")
		},
		"Set, in both": func(l *late) {
			l.astray(1, "old", "evalsha", "{users:k}")
			l.astray(1, "", "evalsha", "{users:k}", "old")
			l.set(l.p, "k", "old")
			l.delete("k")
			l.deliver()
			l.finds("k", "")
			l.free("k")
		},
		"Set, before a newer one": func(l *late) {
			l.astray(1, "", "evalsha", "{users:k}", "old")
			l.set(l.p, "k", "old")
			l.set(l.other, "k", "new")
			l.deliver()
			l.finds("k", "new")
		},
		"Set that failed": func(l *late) {
			l.astray(2, "", "evalsha", "{users:k}", "old")
			if err := region.Set(l.Context(), l.p.Region, "k", "old"); err == nil {
				l.Fatal("Set has no error although nothing was answered")
			}
			l.delete("k")
			l.deliver()
			l.finds("k", "")
			l.free("k")
		},
		"Set that failed, and left its lock": func(l *late) {
			l.astray(2, "", "evalsha", "{users:k}", "old")
			if err := region.Set(l.Context(), l.p.Region, "k", "old"); err == nil {
				l.Fatal("Set has no error although nothing was answered")
			}
			l.free("k")
		},
		"Set that failed, before a newer one": func(l *late) {
			l.astray(2, "", "evalsha", "{users:k}", "old")
			if err := region.Set(l.Context(), l.p.Region, "k", "old"); err == nil {
				l.Fatal("Set has no error although nothing was answered")
			}
			l.set(l.other, "k", "new")
			l.deliver()
			l.finds("k", "new")
		},
		"acquire": func(l *late) {
			l.astray(1, "", "evalsha", ":lock:{users:k}")
			l.create(l.p, "k", func() string { return "made" })
			l.finds("k", "made")
			l.delete("k")
			l.deliver()
			l.free("k")
		},
		"publication": func(l *late) {
			l.astray(1, "", "evalsha", "{users:k}", "made")
			l.create(l.p, "k", func() string { return "made" })
			l.finds("k", "made")
			l.delete("k")
			l.deliver()
			l.finds("k", "")
			l.free("k")
		},
		"acquire and publication": func(l *late) {
			l.astray(1, "made", "evalsha", ":lock:{users:k}")
			l.astray(1, "", "evalsha", "{users:k}", "made")
			l.create(l.p, "k", func() string { return "made" })
			l.finds("k", "made")
			l.delete("k")
			l.deliver()
			l.finds("k", "")
			l.free("k")
		},
		// A writer that was given up long ago and is late shares its lock with one
		// that is not: the newer value has to be there in the end.
		"Set, between the two steps of a newer one": func(l *late) {
			l.astray(2, "", "evalsha", "{users:k}", "old")
			second := faultproxy.New(l, l.proxy.Upstream())
			newer := join(l.T, second.Addr, l.p.prefix, "")
			var once sync.Once
			second.OnRequest(func(request []byte) {
				if has("evalsha", "{users:k}", "new")(request) {
					once.Do(l.deliver)
				}
			})
			// The process is cut off before it can give back its lock.
			l.proxy.OnRequest(func(request []byte) {
				if has("evalsha", "{users:k}", "old")(request) {
					l.proxy.Refuse(true)
				}
			})
			if err := region.Set(l.Context(), l.p.Region, "k", "old"); err == nil {
				l.Fatal("Set has no error although nothing was answered")
			}
			l.strayed = l.strayed[:1] // the second could not even be sent
			l.set(newer, "k", "new")
			l.finds("k", "new")
		},
	}
	for kind, repeats := range map[string]bool{"by URL": false, "client that repeats": true} {
		t.Run(kind, func(t *testing.T) {
			for name, run := range cases {
				t.Run(name, func(t *testing.T) {
					server := redistest.Shared(t)
					l := &late{T: t, proxy: faultproxy.New(t, server.Addr)}
					prefix := space()
					l.other = join(t, server.Addr, prefix, "")
					if repeats {
						opt := server.Options()
						opt.Addr, opt.MaxRetries, opt.ContextTimeoutEnabled = l.proxy.Addr, 3, true
						client := goredis.NewClient(opt)
						t.Cleanup(func() { _ = client.Close() })
						l.p = joinOn(t, redis.New(client, redis.Config{Prefix: prefix}), prefix)
					} else {
						l.p = join(t, l.proxy.Addr, prefix, "")
					}
					for _, p := range []process{l.p, l.other} { // the server knows the scripts
						l.set(p, "another", "warm up")
						l.delete("another")
						l.create(p, "another", func() string { return "warm up" })
						if err := errors.Join(p.Invalidate(t.Context(), region.Hard), p.InvalidateTags(t.Context(), "a"), p.Invalidate(t.Context(), region.Soft)); err != nil {
							t.Fatal(err)
						}
					}
					run(l)
				})
			}
		})
	}
}

// The server may forget the lock of a write between its two steps. The value is stored
// all the same.
func TestFaultLockOfAWriteIsForgotten(t *testing.T) {
	server := redistest.Shared(t)
	prefix, lost := space(), 0
	proxy := faultproxy.New(t, server.Addr)
	p, other := join(t, proxy.Addr, prefix, ""), join(t, server.Addr, prefix, "")
	if err := region.Set(t.Context(), p.Region, "k", "old"); err != nil {
		t.Fatal(err)
	}
	var always bool
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", "{users:k}", "new")(request) && (lost == 0 || always) {
			lost++
			server.Do(t, "DEL", prefix+":lock:{users:k}")
		}
	})
	if err := region.Set(t.Context(), p.Region, "k", "new"); err != nil {
		t.Fatal(err)
	}
	other.finds(t, "k", "new")
	if lost != 1 {
		t.Errorf("the lock was lost %d times, want once", lost)
	}
	always = true
	if err := region.Set(t.Context(), p.Region, "k", "newer than new"); err == nil {
		t.Error("Set has no error although its lock was lost each time")
	}
	other.finds(t, "k", "new")
}
