package memcached_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/lock"
)

// late is a process some of whose requests go astray and arrive when everybody has
// forgotten them, and another process of its fleet.
type late struct {
	*testing.T
	key      backend.Key
	proxy    *faultproxy.Proxy
	a, b     backend.Backend // a connects through the proxy
	counting atomic.Bool
	deliver  []func()
	caught   []<-chan struct{}
}

var lateKey = backend.Key{Region: "users", Name: "k"}

// newLate returns a fleet in which those requests of a go astray that have the numbers
// lost, counted from one once count is called.
func newLate(t *testing.T, lost ...int) *late {
	return newLateOf(t, lateKey, func(b *memcached.Backend) backend.Backend { return b }, lost...)
}

// newLateOf is newLate for what view makes of the backends.
func newLateOf(t *testing.T, key backend.Key, view func(*memcached.Backend) backend.Backend, lost ...int) *late {
	server := memcachedtest.Shared(t, 1)[0]
	l := &late{T: t, key: key, proxy: faultproxy.New(t, server.Addr)}
	prefix := space()
	a := open(t, memcached.Config{Servers: []string{l.proxy.Addr}, Prefix: prefix, LeaseTTL: 2 * time.Second})
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix, LeaseTTL: 2 * time.Second})
	// A machine that is busy may need more than one Timeout to begin.
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := errors.Join(a.Ping(t.Context()), b.Ping(t.Context()))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	l.a, l.b = view(a), view(b)
	var seen atomic.Int64
	for i, n := range lost {
		caught, deliver := l.proxy.StrayRequest(func([]byte) bool {
			if !l.counting.Load() {
				return false
			}
			if i == 0 { // every request is shown to the first one that waits
				seen.Add(1)
			}
			return seen.Load() == int64(n)
		})
		l.caught, l.deliver = append(l.caught, caught), append(l.deliver, deliver)
	}
	return l
}

// astray runs op while requests go astray.
func (l *late) astray(op func()) {
	l.counting.Store(true)
	op()
	l.counting.Store(false)
}

// arrive delivers what went astray, and reports whether that was anything.
func (l *late) arrive() bool {
	any := false
	for i, caught := range l.caught {
		select {
		case <-caught:
			l.deliver[i]()
			any = true
		default:
		}
	}
	return any
}

func (l *late) set(b backend.Backend, text string, lease lock.Lease) error {
	items := []backend.Item{{Key: l.key, Entry: &backend.Entry{Data: []byte(text)}, Lease: lease}}
	if _, err := b.Set(l.Context(), items, nil); err != nil {
		return err
	}
	return items[0].Err
}

func (l *late) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *late) delete(b backend.Backend) {
	l.Helper()
	l.must(b.Delete(l.Context(), []backend.Key{l.key}))
}

// finds checks what is stored: one of texts, where "" is nothing.
func (l *late) finds(when string, texts ...string) {
	l.Helper()
	found, err := l.b.Get(l.Context(), l.key, nil)
	l.must(err)
	got := ""
	if found.Entry != nil {
		got = string(found.Entry.Data)
	}
	for _, text := range texts {
		if got == text {
			return
		}
	}
	l.Errorf("%s %q is stored, want one of %q", when, got, texts)
}

// acquire takes the lease as somebody who comes later does.
func (l *late) acquire(b backend.Backend) backend.Grant {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 8*time.Second)
	defer cancel()
	for {
		grants, _, err := b.Acquire(ctx, []backend.Key{l.key}, nil)
		l.must(err)
		if grants[0].Lease != nil {
			return grants[0]
		}
		l.must(b.Wait(ctx, []backend.Key{l.key}))
	}
}

// each runs a case for every request that can go astray, and for every two of them,
// until nothing goes astray any more.
func each(t *testing.T, f func(l *late) (any bool)) { eachOf(t, 2, f) }

// eachOf is each for an operation of so many requests at least.
func eachOf(t *testing.T, least int, f func(l *late) (any bool)) {
	for n := 1; ; n++ {
		more := false
		t.Run(fmt.Sprint(n), func(t *testing.T) { more = f(newLate(t, n)) })
		if !more || t.Failed() {
			if n <= least && !t.Failed() {
				t.Errorf("only %d requests went astray, want some", n-1)
			}
			return
		}
		for m := n + 1; m <= n+4; m++ {
			t.Run(fmt.Sprint(n, " and ", m), func(t *testing.T) { f(newLate(t, n, m)) })
		}
	}
}

// A request whose connection was given up may arrive at any time, after others have
// written. It must not undo what they did (I1). Every request of every operation is made
// to do so.
func TestFaultLateRequests(t *testing.T) {
	t.Run("Set", func(t *testing.T) {
		each(t, func(l *late) bool {
			var err error
			l.astray(func() { err = l.set(l.a, "old", nil) })
			if err == nil {
				l.finds("after Set", "old")
			}
			l.delete(l.b)
			l.finds("after Delete", "")
			any := l.arrive()
			l.finds("when a request of the Set arrived late, after a Delete", "")
			return any
		})
	})
	t.Run("SetBeforeAnother", func(t *testing.T) {
		each(t, func(l *late) bool {
			l.must(l.set(l.b, "first", nil))
			l.astray(func() { _ = l.set(l.a, "old", nil) })
			l.must(l.set(l.b, "new", nil))
			any := l.arrive()
			l.finds("when a request of a Set arrived late, after another Set", "new")
			return any
		})
	})
	t.Run("Publication", func(t *testing.T) {
		each(t, func(l *late) bool {
			grant := l.acquire(l.a)
			var err error
			l.astray(func() { err = l.set(l.a, "old", grant.Lease) })
			if err == nil {
				l.finds("after the publication", "old")
			}
			l.delete(l.b)
			any := l.arrive()
			l.finds("when a request of a publication arrived late, after a Delete", "")
			if err := l.set(l.a, "old", grant.Lease); !errors.Is(err, backend.ErrLeaseLost) {
				l.Errorf("a second publication: %v, want ErrLeaseLost", err)
			}
			l.finds("after a publication that was refused", "")
			return any
		})
	})
	t.Run("PublicationOverOldValue", func(t *testing.T) {
		each(t, func(l *late) bool {
			l.must(l.set(l.b, "first", nil))
			grant := l.acquire(l.a)
			l.astray(func() { _ = l.set(l.a, "old", grant.Lease) })
			l.must(l.set(l.b, "new", nil))
			any := l.arrive()
			l.finds("when a request of a publication arrived late, after a Set", "new")
			return any
		})
	})
	t.Run("PublicationBeforeTheNextHolder", func(t *testing.T) {
		each(t, func(l *late) bool {
			l.must(l.set(l.b, "first", nil))
			grant := l.acquire(l.a)
			l.astray(func() { _ = l.set(l.a, "old", grant.Lease) })
			_ = grant.Lease.Release(l.Context())
			next := l.acquire(l.b)
			before, err := l.b.Get(l.Context(), lateKey, nil)
			l.must(err)
			any := l.arrive()
			l.finds("when a request of a publication arrived after the next lease was granted", string(before.Entry.Data))
			l.must(l.set(l.b, "new", next.Lease))
			l.finds("in the end", "new")
			return any
		})
	})
	t.Run("Acquire", func(t *testing.T) {
		each(t, func(l *late) bool {
			var grants []backend.Grant
			var err error
			l.astray(func() { grants, _, err = l.a.Acquire(l.Context(), []backend.Key{lateKey}, nil) })
			l.delete(l.b)
			any := l.arrive()
			if err == nil && grants[0].Lease != nil {
				if err := l.set(l.a, "old", grants[0].Lease); !errors.Is(err, backend.ErrLeaseLost) {
					l.Errorf("a publication after a Delete: %v, want ErrLeaseLost", err)
				}
			}
			l.finds("after a publication that was refused", "")
			l.must(l.set(l.b, "new", l.acquire(l.b).Lease))
			l.finds("in the end", "new")
			return any
		})
	})
	t.Run("Delete", func(t *testing.T) {
		each(t, func(l *late) bool {
			l.must(l.set(l.b, "old", nil))
			late := l.acquire(l.b)
			l.astray(func() { l.delete(l.a) })
			l.finds("after Delete", "")
			if err := l.set(l.b, "old", late.Lease); !errors.Is(err, backend.ErrLeaseLost) {
				l.Errorf("a publication after a Delete: %v, want ErrLeaseLost", err)
			}
			l.must(l.set(l.b, "new", nil))
			any := l.arrive()
			l.finds("when a request of a Delete arrived late", "new", "")
			return any
		})
	})
	t.Run("Renew", func(t *testing.T) {
		region := backend.Guard{Region: "users"}
		tags := []backend.Guard{{Region: "users", Tag: "any"}, {Region: "users", Tag: "a"}, {Region: "users", Tag: "b"}}
		for _, guards := range [][]backend.Guard{{region}, tags, append(tags, region)} {
			for _, soft := range []bool{false, true} {
				least := 1
				if soft {
					least = 2
				}
				eachOf(t, least, func(l *late) bool { return renewedLate(l, guards, soft) })
			}
		}
	})
	t.Run("Stamps", func(t *testing.T) {
		guards := []backend.Guard{{Region: "users"}, {Region: "users", Tag: "a"}, {Region: "users", Tag: "b"}}
		each(t, func(l *late) bool {
			var first []backend.Stamps
			l.astray(func() {
				var err error
				first, err = l.a.Stamps(l.Context(), guards)
				l.must(err)
			})
			look := func() {
				then, err := l.b.Stamps(l.Context(), guards)
				l.must(err)
				for i := range then {
					if then[i] != first[i] {
						l.Errorf("the stamps of guard %d were said to be %x and are %x", i, first[i], then[i])
					}
				}
			}
			look()
			any := l.arrive()
			look()
			return any
		})
	})
	t.Run("Release", func(t *testing.T) {
		each(t, func(l *late) bool {
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

// renewedLate renews stamps while requests go astray, which arrive after another renewal.
func renewedLate(l *late, guards []backend.Guard, soft bool) bool {
	seen := map[backend.Stamp]bool{}
	last := make([]backend.Stamps, len(guards))
	look := func(when string, renewed bool) {
		l.Helper()
		stamps, err := l.b.Stamps(l.Context(), guards)
		l.must(err)
		for i, now := range stamps {
			for _, pair := range [][2]backend.Stamp{{now.Hard, last[i].Hard}, {now.Soft, last[i].Soft}} {
				if pair[0] != pair[1] && seen[pair[0]] {
					l.Errorf("%s a stamp of guard %d is back that was replaced", when, i)
				}
				seen[pair[0]] = true
			}
			if renewed && (soft && now.Soft == last[i].Soft || !soft && now.Hard == last[i].Hard) {
				l.Errorf("%s the stamp of guard %d is the same", when, i)
			}
			if renewed && soft && now.Hard != last[i].Hard {
				l.Errorf("%s the hard stamp of guard %d is another one", when, i)
			}
			if i > 0 && now != last[i] && stamps[0] == last[0] {
				l.Errorf("%s guard %d has other stamps and the first one has not", when, i)
			}
		}
		last = stamps
	}
	look("at first", false)
	l.astray(func() { l.must(l.a.Renew(l.Context(), guards, soft)) })
	look("after Renew", true)
	l.must(l.b.Renew(l.Context(), guards, soft))
	look("after another Renew", true)
	any := l.arrive()
	look("when a request of a Renew arrived late", false)
	return any
}

// The cas of a holder that was cut off before it knew what had become of it is refused
// once somebody else has the lease, also if nothing has been stored since.
func TestFaultLateCasOfALostLease(t *testing.T) {
	for _, first := range []string{"", "first"} {
		t.Run("over "+first, func(t *testing.T) {
			l := newLate(t)
			if first != "" {
				l.must(l.set(l.b, first, nil))
			}
			grant := l.acquire(l.a)
			caught, deliver := l.proxy.StrayRequest(func(request []byte) bool {
				if !has("cas ", ":v:", "late")(request) {
					return false
				}
				l.proxy.Refuse(true)
				go l.proxy.CutAll() // it waits for this very connection
				return true
			})
			if err := l.set(l.a, "late", grant.Lease); err == nil {
				t.Fatal("the publication has no error although nothing was answered")
			}
			<-caught
			next := l.acquire(l.b) // when the lease has expired
			deliver()
			l.finds("when the cas arrived after somebody else was granted the lease", first)
			l.must(l.set(l.b, "new", next.Lease))
			l.finds("in the end", "new")
		})
	}
}

// A Set that loses its lock on the way does not leave the old value behind.
func TestFaultSetLosesItsLock(t *testing.T) {
	l := newLate(t)
	l.must(l.set(l.b, "first", nil))
	server := memcachedtest.Shared(t, 1)[0]
	var once atomic.Bool
	l.proxy.OnRequest(func(request []byte) {
		if has("gets ", ":v:", ":l:")(request) && once.CompareAndSwap(false, true) {
			words := strings.Fields(string(request))
			server.Do(t, "delete "+words[len(words)-1]) // as an eviction would
		}
	})
	l.must(l.set(l.a, "newer", nil))
	if !once.Load() {
		t.Fatal("the Set has not read value and lock")
	}
	l.finds("after a Set", "newer", "")
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
