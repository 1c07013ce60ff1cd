package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/lock"
)

// To take a lease changes nothing of the value that others see, but for its CAS id.
func TestShareAcquireKeepsTheValue(t *testing.T) {
	server, view, key := shared(t, python)
	server.Do(t, "set "+key.Name+" 8 1000 3", "abc")
	look := func() string { return server.Do(t, "mg "+key.Name+" f s t") }
	cas := func() string { return server.Do(t, "mg "+key.Name+" c") }
	before, id := look(), cas()
	leaseOf(t, view, key)
	after := look()
	if after != before && after != strings.Replace(before, "t1000", "t999", 1) || server.Do(t, "get "+key.Name) != "VALUE "+key.Name+" 8 3\r\nabc\r\nEND" {
		t.Errorf("before the lease the item was %q, then %q", before, after)
	}
	if cas() == id {
		t.Error("the CAS id is the same, so a holder from before could still store")
	}
	absent := sharedKey()
	leaseOf(t, view, absent)
	if got := server.Do(t, "get "+absent.Name); got != "END" {
		t.Errorf("a lease leaves %q where the value would be, want nothing: others look there", got)
	}
}

// The lock is an item that clients in Python take for a number.
func TestShareLockIsANumber(t *testing.T) {
	server, view, key := shared(t, python)
	grant := leaseOf(t, view, key)
	fields := strings.Fields(server.Do(t, "get _lock"+key.Name))
	if len(fields) != 6 || fields[2] != "2" || fields[4] != grant.Lease.Token() || len(fields[4]) != 40 || strings.Trim(fields[4], "0123456789") != "" {
		t.Errorf("the lock is %q, want a number with the flags 2 that is the token %q", fields, grant.Lease.Token())
	}
	if got := server.Do(t, "mg _lock"+key.Name+" t"); got != "HD t2" && got != "HD t1" {
		t.Errorf("the lock has the TTL %q, want that of the backend", got)
	}
	if again := tryLease(t, view, key); again.Lease != nil {
		t.Error("the lease was granted twice")
	}
	if err := grant.Lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if next := leaseOf(t, view, key); next.Lease.Token() == grant.Lease.Token() {
		t.Error("two leases have one token")
	}
}

// Delete, Set and what voids end a lease of this library in any process, and nothing is
// stored under it any more.
func TestShareLeasesAreEnded(t *testing.T) {
	for _, exists := range []bool{false, true} {
		for name, end := range map[string]func(*testing.T, backend.Backend, backend.Key) string{
			"Delete": func(t *testing.T, b backend.Backend, key backend.Key) string {
				if err := b.Delete(t.Context(), []backend.Key{key}); err != nil {
					t.Error(err)
				}
				return ""
			},
			"Set": func(t *testing.T, b backend.Backend, key backend.Key) string {
				if err := putOne(t, b, backend.Item{Key: key, Entry: entry("newer")}); err != nil {
					t.Error(err)
				}
				return "newer"
			},
			"void": func(t *testing.T, b backend.Backend, key backend.Key) string {
				if err := putOne(t, b, backend.Item{Key: key}); err != nil {
					t.Error(err)
				}
				if exists {
					return "was there"
				}
				return ""
			},
		} {
			for _, local := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " exists=", exists, " local=", local), func(t *testing.T) {
					server, a, key := shared(t, python)
					_, b, _ := shared(t, python)
					if local {
						b = a
					}
					if exists {
						server.Do(t, "set "+key.Name+" 0 0 9", "was there")
					}
					lease := leaseOf(t, a, key).Lease
					want := end(t, b, key)
					if local {
						select {
						case <-lease.Lost():
						default:
							t.Error("the holder, in this process, is not told at once that its lease was lost")
						}
					}
					if err := putOne(t, a, backend.Item{Key: key, Entry: entry("old"), Lease: lease}); !errors.Is(err, backend.ErrLeaseLost) {
						t.Errorf("a publication = %v, want ErrLeaseLost", err)
					}
					if got := dataOf(t, b, key); got != want {
						t.Errorf("%q is stored, want %q", got, want)
					}
					select {
					case <-lease.Lost():
					case <-time.After(5 * time.Second):
						t.Error("the holder is not told that its lease was lost")
					}
					if got := server.Do(t, "get _lock"+key.Name); got != "END" {
						t.Errorf("the lock is %q, want none", got)
					}
					began := time.Now()
					leaseOf(t, b, key)
					if err := putOne(t, a, backend.Item{Key: sharedKey(), Entry: entry("x")}); err != nil || time.Since(began) > time.Second {
						t.Errorf("what follows = %v after %v, want nothing that is left behind", err, time.Since(began))
					}
				})
			}
		}
	}
}

// An item with a lease and no entry ends the lease, and tells whether it was held.
func TestShareGivesUp(t *testing.T) {
	server, view, key := shared(t, python)
	lease := leaseOf(t, view, key).Lease
	item := backend.Item{Key: key, Lease: lease}
	if err := putOne(t, view, item); err != nil {
		t.Error(err)
	}
	if err := putOne(t, view, item); !errors.Is(err, backend.ErrLeaseLost) {
		t.Errorf("the second time it is %v, want ErrLeaseLost", err)
	}
	item.Lease = leaseOf(t, view, key).Lease
	server.Do(t, "delete _lock"+key.Name)
	if err := putOne(t, view, item); !errors.Is(err, backend.ErrLeaseLost) {
		t.Errorf("a lease whose lock somebody has deleted: %v, want ErrLeaseLost", err)
	}
}

// The locks of others are left alone, whatever they look like.
func TestShareForeignLocks(t *testing.T) {
	for _, foreign := range []string{"2 0 1 1", "0 0 1 1", "2 0 40 3648" + strings.Repeat("0", 36), "2 0 40 3647" + strings.Repeat("x", 36), "0 0 40 3647" + strings.Repeat("1", 36)} {
		t.Run(foreign, func(t *testing.T) {
			server, view, key := shared(t, python)
			at := strings.LastIndex(foreign, " ")
			server.Do(t, "set _lock"+key.Name+" "+foreign[:at], foreign[at+1:])
			before := server.Do(t, "gets _lock"+key.Name)
			if grant := tryLease(t, view, key); grant.Lease != nil {
				t.Error("the lease was granted although somebody else has the lock")
			}
			for _, text := range []string{"x", "y"} {
				if err := putOne(t, view, backend.Item{Key: key, Entry: entry(text)}); err != nil || dataOf(t, view, key) != text {
					t.Errorf("Set = %v, want it to store all the same", err)
				}
			}
			if err := putOne(t, view, backend.Item{Key: key}); err != nil || dataOf(t, view, key) != "y" {
				t.Errorf("to void the lease = %v, want the value to stay", err)
			}
			if err := view.Delete(t.Context(), []backend.Key{key}); err != nil || dataOf(t, view, key) != "" {
				t.Errorf("Delete = %v, want the value to be gone", err)
			}
			if after := server.Do(t, "gets _lock"+key.Name); after != before {
				t.Errorf("the lock was %q and is %q, want it untouched", before, after)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := view.Wait(ctx, []backend.Key{key}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Wait = %v, want it to wait", err)
			}
			woken := make(chan error, 1)
			go func() { woken <- view.Wait(t.Context(), []backend.Key{key}) }()
			server.Do(t, "delete _lock"+key.Name)
			if err := <-woken; err != nil {
				t.Error(err)
			}
			leaseOf(t, view, key)
		})
	}
}

// A lock that its holder never frees is taken away after StealAfter, and not before.
func TestShareStealsALockThatStays(t *testing.T) {
	t.Parallel()
	const after = 600 * time.Millisecond
	server, view, key := shared(t, codec.Layout{LockPrefix: "_lock", StealAfter: after})
	lockIt := func() { server.Do(t, "set _lock"+key.Name+" 2 0 1", "1") }
	lockIt()
	began := time.Now()
	if grant := tryLease(t, view, key); grant.Lease != nil {
		t.Fatal("the lock was taken away at once")
	}
	if err := view.Wait(t.Context(), []backend.Key{key}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < after || took > after+time.Second {
		t.Errorf("Wait returned after %v, want %v", took, after)
	}
	grant := tryLease(t, view, key)
	if grant.Lease == nil {
		t.Fatal("the lock was not taken away")
	}
	if err := putOne(t, view, backend.Item{Key: key, Entry: entry("x"), Lease: grant.Lease}); err != nil || dataOf(t, view, key) != "x" {
		t.Errorf("a publication under it = %v", err)
	}
	// Another lock of the same key has its own time.
	lockIt()
	if grant := tryLease(t, view, key); grant.Lease != nil {
		t.Error("the next lock was taken away at once")
	}
	var seen time.Time // not later than the last one was
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		seen = time.Now()
		lockIt() // it changes all the time, so its holders live
		if grant := tryLease(t, view, key); grant.Lease != nil {
			t.Fatal("a lock that changes was taken away")
		}
		if time.Since(began) > 2*after {
			break
		}
	}
	// Nobody waits meanwhile; what was seen counts all the same.
	for tryLease(t, view, key).Lease == nil {
		if time.Since(seen) > 10*time.Second {
			t.Fatal("the lock was not taken away by those who only try")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(seen); took < after {
		t.Errorf("it was taken away after %v, want %v", took, after)
	}
	_, without, other := shared(t, python)
	server.Do(t, "set _lock"+other.Name+" 2 0 1", "1")
	for range 20 {
		if tryLease(t, without, other).Lease != nil {
			t.Error("a lock was taken away although StealAfter is zero")
		}
		time.Sleep(after / 10)
	}
}

// A lease is renewed for as long as its holder lives.
func TestShareLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	server, view, key := shared(t, python)
	lease := leaseOf(t, view, key).Lease
	time.Sleep(4 * time.Second)
	if got := server.Do(t, "get _lock"+key.Name); !strings.Contains(got, " 2 40\r\n"+lease.Token()) {
		t.Errorf("after two TTLs the lock is %q, want it held", got)
	}
	if err := putOne(t, view, backend.Item{Key: key, Entry: entry("x"), Lease: lease}); err != nil {
		t.Error(err)
	}
}

// After Close nothing is left: no lock, no mark, no connection.
func TestShareCloseLeavesNothing(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	b := memcached.New(memcached.Config{Servers: []string{proxy.Addr}})
	view := viewOf(t, b, python)
	var keys []backend.Key
	for i := range 50 {
		keys = append(keys, backend.Key{Name: fmt.Sprint("k", i)})
	}
	if _, _, err := view.Acquire(t.Context(), keys, nil); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	server.Do(t, "set _lockmore 2 0 1", "1")
	go func() { waiting <- view.Wait(context.Background(), []backend.Key{{Name: "more"}}) }()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, backend.ErrClosed) {
		t.Errorf("who waited has %v, want ErrClosed", err)
	}
	for deadline := time.Now().Add(10 * time.Second); proxy.Connections() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", proxy.Connections())
		}
	}
	for _, key := range keys {
		if got := server.Do(t, "get _lock"+key.Name); got != "END" {
			t.Fatalf("the lock %q is left", got)
		}
	}
}

// The calls of a view take as many round trips as the package's comment says. Two
// requests that are sent at the same time are one.
func TestShareRoundTrips(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	proxy := faultproxy.New(t, server.Addr)
	b := open(t, memcached.Config{Servers: []string{proxy.Addr}, Prefix: space()})
	view, key, other := viewOf(t, b, python), sharedKey(), sharedKey()
	if err := b.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lease, next lock.Lease
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		what string
		most int // requests
		call func()
	}{
		{"Get", 1, func() { dataOf(t, view, key) }},
		{"Acquire", 3, func() { lease = leaseOf(t, view, key).Lease }},
		// The last step frees lock and mark at once.
		{"a publication where nothing was", 9, func() { must(putOne(t, view, backend.Item{Key: key, Entry: entry("x"), Lease: lease})) }},
		{"Acquire", 3, func() { next = leaseOf(t, view, key).Lease }},
		{"a publication over a value", 3, func() { must(putOne(t, view, backend.Item{Key: key, Entry: entry("x"), Lease: next})) }},
		{"Set over a value", 5, func() { must(putOne(t, view, backend.Item{Key: key, Entry: entry("x")})) }},
		{"Set where nothing was", 7, func() { must(putOne(t, view, backend.Item{Key: other, Entry: entry("x")})) }},
		{"Delete", 5, func() { must(view.Delete(t.Context(), []backend.Key{key})) }},
	} {
		before := len(proxy.Requests())
		c.call()
		if n := len(proxy.Requests()) - before; n != c.most {
			t.Errorf("%s takes %d requests, want %d", c.what, n, c.most)
		}
	}
}
