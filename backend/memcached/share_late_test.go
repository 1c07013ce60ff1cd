package memcached_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// newSharedLate is newLate for views.
func newSharedLate(t *testing.T, lost ...int) *late {
	return newLateOf(t, sharedKey(), func(b *memcached.Backend) backend.Backend { return viewOf(t, b, python) }, lost...)
}

// eachShared runs a case for every request that can go astray, side by side: who meets
// one that stores a value waits until it is of no use any more.
func eachShared(t *testing.T, most int, f func(l *late) (any bool)) {
	var all sync.WaitGroup
	var astray atomic.Int64
	all.Add(most)
	for n := 1; n <= most; n++ {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			defer all.Done()
			if f(newSharedLate(t, n)) {
				astray.Add(1)
			}
		})
		if n > 1 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				f(newSharedLate(t, n-1, n))
			})
		}
	}
	t.Cleanup(func() {
		all.Wait()
		if n := astray.Load(); n < 2 || n == int64(most) {
			t.Errorf("%d requests went astray, want all that there are, which are some, and fewer than %d", n, most)
		}
	})
}

// stays checks that a value that counts as stored will not end by itself.
func stays(l *late, err error) {
	l.Helper()
	if err != nil {
		return
	}
	if got := memcachedtest.Shared(l.T, 1)[0].Do(l.T, "mg "+l.key.Name+" t"); got != "HD t-1" {
		l.Errorf("a value that was stored for ever has the TTL %q", got)
	}
}

// A request whose connection was given up may arrive at any time, after others have
// written. It must not undo what they did (I1).
func TestFaultShareLateRequests(t *testing.T) {
	// again looks for what may be there for a moment only.
	again := func(l *late, when, want string) {
		l.Helper()
		for range 20 {
			l.finds(when, want)
			time.Sleep(time.Millisecond)
		}
	}
	t.Run("Set", func(t *testing.T) {
		eachShared(t, 14, func(l *late) bool {
			var err error
			l.astray(func() { err = l.set(l.a, "old", nil) })
			stays(l, err)
			l.delete(l.b)
			l.finds("after Delete", "")
			any := l.arrive()
			again(l, "when a request of the Set arrived late, after a Delete", "")
			return any
		})
	})
	t.Run("SetBeforeAnother", func(t *testing.T) {
		eachShared(t, 14, func(l *late) bool {
			l.must(l.set(l.b, "first", nil))
			l.astray(func() { _ = l.set(l.a, "old", nil) })
			l.must(l.set(l.b, "new", nil))
			any := l.arrive()
			again(l, "when a request of a Set arrived late, after another Set", "new")
			return any
		})
	})
	t.Run("Publication", func(t *testing.T) {
		eachShared(t, 16, func(l *late) bool {
			grant := l.acquire(l.a)
			var err error
			l.astray(func() { err = l.set(l.a, "old", grant.Lease) })
			stays(l, err)
			l.delete(l.b)
			any := l.arrive()
			again(l, "when a request of a publication arrived late, after a Delete", "")
			if err := l.set(l.a, "old", grant.Lease); !errors.Is(err, backend.ErrLeaseLost) {
				l.Errorf("a second publication: %v, want ErrLeaseLost", err)
			}
			l.finds("after a publication that was refused", "")
			return any
		})
	})
	t.Run("PublicationOverOldValue", func(t *testing.T) {
		eachShared(t, 10, func(l *late) bool {
			l.must(l.set(l.b, "first", nil))
			grant := l.acquire(l.a)
			l.astray(func() { _ = l.set(l.a, "old", grant.Lease) })
			l.must(l.set(l.b, "new", nil))
			any := l.arrive()
			again(l, "when a request of a publication arrived late, after a Set", "new")
			return any
		})
	})
	t.Run("PublicationBeforeTheNextHolder", func(t *testing.T) {
		eachShared(t, 10, func(l *late) bool {
			l.must(l.set(l.b, "first", nil))
			grant := l.acquire(l.a)
			l.astray(func() { _ = l.set(l.a, "old", grant.Lease) })
			_ = grant.Lease.Release(l.Context())
			next := l.acquire(l.b)
			before, err := l.b.Get(l.Context(), l.key, nil)
			l.must(err)
			any := l.arrive()
			l.finds("when a request of a publication arrived after the next lease was granted", string(before.Entry.Data))
			l.must(l.set(l.b, "new", next.Lease))
			again(l, "in the end", "new")
			return any
		})
	})
	t.Run("Acquire", func(t *testing.T) {
		eachShared(t, 8, func(l *late) bool {
			var grants []backend.Grant
			var err error
			l.astray(func() { grants, _, err = l.a.Acquire(l.Context(), []backend.Key{l.key}, nil) })
			l.delete(l.b)
			any := l.arrive()
			if err == nil && grants[0].Lease != nil {
				if err := l.set(l.a, "old", grants[0].Lease); !errors.Is(err, backend.ErrLeaseLost) {
					l.Errorf("a publication after a Delete: %v, want ErrLeaseLost", err)
				}
			}
			l.finds("after a publication that was refused", "")
			l.must(l.set(l.b, "new", l.acquire(l.b).Lease))
			again(l, "in the end", "new")
			return any
		})
	})
	t.Run("Delete", func(t *testing.T) {
		eachShared(t, 12, func(l *late) bool {
			l.must(l.set(l.b, "old", nil))
			late := l.acquire(l.b)
			var err error
			l.astray(func() { err = l.a.Delete(l.Context(), []backend.Key{l.key}) })
			if err == nil {
				l.finds("after Delete", "")
				if err := l.set(l.b, "old", late.Lease); !errors.Is(err, backend.ErrLeaseLost) {
					l.Errorf("a publication after a Delete: %v, want ErrLeaseLost", err)
				}
			}
			l.must(l.set(l.b, "new", nil))
			any := l.arrive()
			l.finds("when a request of a Delete arrived late", "new", "")
			return any
		})
	})
	t.Run("Release", func(t *testing.T) {
		eachShared(t, 6, func(l *late) bool {
			grant := l.acquire(l.a)
			l.astray(func() { l.must(grant.Lease.Release(l.Context())) })
			next := l.acquire(l.b)
			any := l.arrive()
			l.must(l.set(l.b, "new", next.Lease))
			l.finds("in the end", "new")
			return any
		})
	})
}

// pausedAt runs op of the process a, halts it before its first request that match accepts
// is sent, runs meanwhile, and lets it go on.
func pausedAt(l *late, match func([]byte) bool, op, meanwhile func()) {
	l.Helper()
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	l.proxy.OnRequest(func(request []byte) {
		if match(request) {
			once.Do(func() {
				close(reached)
				<-goOn
			})
		}
	})
	defer l.proxy.OnRequest(nil)
	var all sync.WaitGroup
	all.Go(op)
	select {
	case <-reached:
	case <-time.After(10 * time.Second):
		l.Error("the request that it should be halted at was not sent")
	}
	meanwhile()
	close(goOn)
	all.Wait()
}

// starts matches a request that begins with one of words.
func starts(words ...string) func([]byte) bool {
	return func(request []byte) bool {
		for _, word := range words {
			if bytes.HasPrefix(request, []byte(word)) {
				return true
			}
		}
		return false
	}
}

// A Delete that comes while a value is being stored where none was waits until that is
// over, and takes it away.
func TestShareDeleteWaitsForAValueThatComes(t *testing.T) {
	for name, leased := range map[string]bool{"Publication": true, "Set": false} {
		t.Run(name, func(t *testing.T) {
			l := newSharedLate(t)
			item := backend.Item{Key: l.key, Entry: entry("old")}
			if leased {
				item.Lease = l.acquire(l.a).Lease
			}
			deleted := make(chan error, 1)
			pausedAt(l, starts("add "+l.key.Name+" "), func() {
				_ = putOne(t, l.a, item)
			}, func() {
				go func() { deleted <- l.b.Delete(context.Background(), []backend.Key{l.key}) }()
				select {
				case err := <-deleted:
					t.Errorf("Delete = %v while a value is about to come", err)
					deleted <- err
				case <-time.After(100 * time.Millisecond):
				}
			})
			l.must(<-deleted)
			l.finds("after Delete", "")
		})
	}
}

// after returns first, and what accepts the requests that second does and that come after
// one that first has accepted. What the proxy tells of a request that is lost it may tell
// when the next one has been sent.
func after(first, second func([]byte) bool) (_, _ func([]byte) bool) {
	var came atomic.Bool
	return func(request []byte) bool {
			if !first(request) {
				return false
			}
			came.Store(true)
			return true
		}, func(request []byte) bool {
			return came.Load() && second(request)
		}
}

// What comes between the steps of a write changes what becomes of it.
func TestShareWritesThatMeet(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	publish := func(l *late) (func(), *error) {
		lease, err := l.acquire(l.a).Lease, new(error)
		return func() { *err = putOne(l.T, l.a, backend.Item{Key: l.key, Entry: entry("created"), Lease: lease}) }, err
	}
	locked := func(l *late) string { return server.Do(l.T, "get _lock"+l.key.Name) }
	t.Run("the lock is lost before the value is there to stay", func(t *testing.T) {
		l := newSharedLate(t)
		op, err := publish(l)
		pausedAt(l, starts("add "+l.key.Name+" "), op, func() { server.Do(t, "delete _lock"+l.key.Name) })
		if !errors.Is(*err, backend.ErrLeaseLost) {
			t.Errorf("the publication = %v, want ErrLeaseLost", *err)
		}
		l.finds("after a publication that was refused", "")
	})
	t.Run("the lock is lost and the value replaced", func(t *testing.T) {
		l := newSharedLate(t)
		op, err := publish(l)
		pausedAt(l, starts("add "+l.key.Name+" "), op, func() {
			server.Do(t, "delete _lock"+l.key.Name)
			server.Do(t, "set "+l.key.Name+" 0 0 6", "python")
		})
		if !errors.Is(*err, backend.ErrLeaseLost) {
			t.Errorf("the publication = %v, want ErrLeaseLost", *err)
		}
		l.finds("after a publication that was refused", "python")
	})
	// It looks like what the publication has stored, but ends in seconds: nobody may be told
	// that it is stored.
	t.Run("a copy that ends by itself arrives when all is lost", func(t *testing.T) {
		l := newSharedLate(t)
		op, err := publish(l)
		lost, again := after(starts("cas "+l.key.Name+" "), starts("gets "+l.key.Name+" "))
		l.proxy.StrayRequest(lost)
		pausedAt(l, again, op, func() {
			server.Do(t, "delete _lock"+l.key.Name)
			server.Do(t, "delete "+l.key.Name)
			server.Do(t, "set "+l.key.Name+" 0 3 7", "created")
		})
		if !errors.Is(*err, backend.ErrLeaseLost) {
			t.Errorf("the publication = %v, want ErrLeaseLost", *err)
		}
		l.finds("after a publication that was refused", "")
	})
	t.Run("the lock is lost, and the answer to the add as well", func(t *testing.T) {
		l := newSharedLate(t)
		op, err := publish(l)
		lost, again := after(starts("add "+l.key.Name+" "), starts("gets "+l.key.Name+" "))
		l.proxy.DropReplyTo(lost)
		pausedAt(l, again, op, func() { server.Do(t, "delete _lock"+l.key.Name) })
		if !errors.Is(*err, backend.ErrLeaseLost) {
			t.Errorf("the publication = %v, want ErrLeaseLost", *err)
		}
		l.finds("after a publication that was refused", "")
	})
	t.Run("another program stores and releases", func(t *testing.T) {
		l := newSharedLate(t)
		op, err := publish(l)
		pausedAt(l, starts("add "+l.key.Name+" "), op, func() { server.Do(t, "set "+l.key.Name+" 0 0 6", "python") })
		l.must(*err)
		l.finds("after the publication", "created")
	})
	t.Run("a Delete before the publication", func(t *testing.T) {
		for _, at := range []string{"cas", "gets"} {
			l := newSharedLate(t)
			l.must(l.set(l.b, "first", nil))
			op, err := publish(l)
			pausedAt(l, starts(at+" "), op, func() { l.delete(l.b) })
			if !errors.Is(*err, backend.ErrLeaseLost) {
				t.Errorf("halted at %s: the publication = %v, want ErrLeaseLost", at, *err)
			}
			l.finds("after Delete", "")
		}
	})
	t.Run("a publication over another program's value during a Delete", func(t *testing.T) {
		l := newSharedLate(t)
		l.must(l.set(l.b, "first", nil))
		lease := l.acquire(l.b).Lease
		pausedAt(l, starts("delete "+l.key.Name+"\r"), func() { l.delete(l.a) }, func() {
			server.Do(t, "set "+l.key.Name+" 0 0 6", "python")
			if err := putOne(t, l.b, backend.Item{Key: l.key, Entry: entry("created"), Lease: lease}); !errors.Is(err, backend.ErrLeaseLost) {
				t.Errorf("the publication = %v, want ErrLeaseLost: the lock is taken before the value", err)
			}
		})
		l.finds("after Delete", "")
	})
	t.Run("the lease is voided before the publication", func(t *testing.T) {
		l := newSharedLate(t)
		l.must(l.set(l.b, "first", nil))
		op, err := publish(l)
		pausedAt(l, starts("cas "), op, func() { l.must(putOne(t, l.b, backend.Item{Key: l.key})) })
		if !errors.Is(*err, backend.ErrLeaseLost) {
			t.Errorf("the publication = %v, want ErrLeaseLost", *err)
		}
		l.finds("after the lease was voided", "first")
	})
	t.Run("a Delete and another program's value before the publication", func(t *testing.T) {
		l := newSharedLate(t)
		l.must(l.set(l.b, "first", nil))
		op, err := publish(l)
		pausedAt(l, starts("cas "), op, func() {
			l.delete(l.b)
			server.Do(t, "set "+l.key.Name+" 0 0 6", "python")
		})
		if !errors.Is(*err, backend.ErrLeaseLost) {
			t.Errorf("the publication = %v, want ErrLeaseLost", *err)
		}
		l.finds("after another program's Set", "python")
	})
	// Whoever is granted the lease while somebody writes may have read the old value.
	for name, write := range map[string]func(*late){
		"Delete": func(l *late) { l.delete(l.a) },
		"Set":    func(l *late) { l.must(l.set(l.a, "new", nil)) },
	} {
		t.Run("a lease that is granted during a "+name, func(t *testing.T) {
			l := newSharedLate(t)
			l.must(l.set(l.b, "old", nil))
			want, at := "new", "cas "+l.key.Name+" "
			if name == "Delete" {
				want, at = "", "delete "+l.key.Name+"\r"
			}
			var grant backend.Grant
			pausedAt(l, starts(at), func() { write(l) }, func() { grant = l.acquire(l.b) })
			if grant.Entry == nil || string(grant.Entry.Data) != "old" {
				t.Errorf("the holder has read %v, want the old value", grant.Entry)
			}
			if err := putOne(t, l.b, backend.Item{Key: l.key, Entry: entry("old"), Lease: grant.Lease}); !errors.Is(err, backend.ErrLeaseLost) {
				t.Errorf("to store the old value again = %v, want ErrLeaseLost", err)
			}
			l.finds("in the end", want)
			if got := locked(l); got != "END" {
				t.Errorf("the lock is %q, want none", got)
			}
		})
	}
	t.Run("a Set whose caller has gone", func(t *testing.T) {
		for _, at := range []string{"add dogpile:w:", "gets ", "cas "} {
			l := newSharedLate(t)
			l.must(l.set(l.b, "first", nil))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			items := []backend.Item{{Key: l.key, Entry: entry("gone")}}
			returned := make(chan struct{})
			pausedAt(l, starts(at), func() {
				_, _ = l.a.Set(ctx, items, nil)
				close(returned)
			}, func() {
				cancel()
				<-returned
				if at == "add dogpile:w:" { // nothing says yet that it is at work
					l.delete(l.b)
				}
				server.Do(t, "set "+l.key.Name+" 0 0 3", "new")
			})
			time.Sleep(50 * time.Millisecond) // it has returned, so nothing tells when it is over
			l.finds("halted at "+at+" and long over", "new")
		}
	})
	marked := func(request []byte) string {
		for _, word := range strings.Fields(string(request)) {
			if strings.HasPrefix(word, "dogpile:w:") {
				return word
			}
		}
		return ""
	}
	t.Run("a publication loses its mark", func(t *testing.T) {
		l := newSharedLate(t)
		op, err := publish(l)
		var mark atomic.Value
		pausedAt(l, func(request []byte) bool {
			word := marked(request)
			mark.Store(word)
			return starts("gets ")(request) && word != "" && server.Do(t, "get "+word) != "END"
		}, op, func() { server.Do(t, "delete "+mark.Load().(string)) })
		l.must(*err)
		l.finds("after the publication", "created")
	})
	t.Run("a publication loses its mark, and an add is late", func(t *testing.T) {
		l := newSharedLate(t)
		op, err := publish(l)
		caught, deliver := l.proxy.StrayRequest(starts("add " + l.key.Name + " "))
		var mark atomic.Value
		var added atomic.Bool
		pausedAt(l, func(request []byte) bool {
			if starts("add " + l.key.Name + " ")(request) {
				added.Store(true)
			}
			mark.Store(marked(request))
			return added.Load() && starts("gets ")(request)
		}, op, func() { server.Do(t, "delete "+mark.Load().(string)) })
		l.must(*err)
		l.finds("after the publication", "created")
		l.delete(l.b)
		<-caught
		deliver()
		l.finds("when the add arrived, after a Delete", "")
	})
	t.Run("a publication has no answer and loses its lock", func(t *testing.T) {
		l := newSharedLate(t)
		l.must(l.set(l.b, "first", nil))
		op, err := publish(l)
		l.proxy.DropReplyTo(starts("cas " + l.key.Name + " "))
		var sent atomic.Bool
		pausedAt(l, func(request []byte) bool {
			if starts("cas " + l.key.Name + " ")(request) {
				sent.Store(true)
			}
			return sent.Load() && starts("gets ")(request)
		}, op, func() { server.Do(t, "delete _lock"+l.key.Name) })
		l.must(*err)
		l.finds("after the publication", "created")
	})
	t.Run("a Set loses its mark", func(t *testing.T) {
		l := newSharedLate(t)
		var mark atomic.Value
		var err error
		pausedAt(l, func(request []byte) bool {
			mark.Store(marked(request))
			return starts("gets ")(request)
		}, func() { err = l.set(l.a, "late", nil) }, func() {
			server.Do(t, "delete "+mark.Load().(string)) // as it would end by itself
			l.delete(l.b)
		})
		if err == nil {
			t.Error("the Set has no error")
		}
		l.finds("after a Set that took too long, and a Delete", "")
	})
	t.Run("a Delete loses its mark", func(t *testing.T) {
		l := newSharedLate(t)
		var mark atomic.Value
		pausedAt(l, func(request []byte) bool {
			word := marked(request)
			mark.Store(word)
			return starts("gets _lock")(request) && word != ""
		}, func() { l.delete(l.a) }, func() {
			server.Do(t, "delete "+mark.Load().(string))
			l.must(l.set(l.b, "a value whose add is late", nil))
		})
		l.finds("after a Delete that took too long", "")
	})
}
