package memcached_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// tagsOf returns guards of n tags of a region, behind the one of any tag.
func tagsOf(region string, n int) []backend.Guard {
	guards := []backend.Guard{{Region: region, Tag: "any"}}
	for i := range n {
		guards = append(guards, backend.Guard{Region: region, Tag: fmt.Sprint("tag ", i)})
	}
	return guards
}

func stampsNow(t *testing.T, b backend.Backend, guards []backend.Guard) []backend.Stamps {
	t.Helper()
	stamps, err := b.Stamps(t.Context(), guards)
	if err != nil {
		t.Fatalf("Stamps: %v", err)
	}
	for i, s := range stamps {
		if s.Hard.IsZero() || s.Soft.IsZero() {
			t.Fatalf("the stamps of guard %d are %x, want none zero", i, s)
		}
	}
	return stamps
}

// An invalidation of tags takes one round trip, whatever their number, and a hit with
// tags takes one, at two servers at most.
func TestRoundTripsOfTags(t *testing.T) {
	var proxies []*faultproxy.Proxy
	var addrs []string
	for _, server := range memcachedtest.Shared(t, 3) {
		proxy := faultproxy.New(t, server.Addr)
		proxies, addrs = append(proxies, proxy), append(addrs, proxy.Addr)
	}
	b := open(t, memcached.Config{Servers: addrs, Prefix: space()})
	if err := b.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, region := range []string{"users", "posts", "pages", "orders", "rows"} {
		guards := append(tagsOf(region, 15), backend.Guard{Region: region})
		key := backend.Key{Region: region, Name: "k"}
		// Each connection has been made before.
		if _, _, err := b.Acquire(t.Context(), []backend.Key{key}, nil); err != nil {
			t.Fatal(err)
		}
		stampsNow(t, b, guards[:1])
		for _, op := range []struct {
			name                string
			each, most, servers int // requests at each server, in all, and how many servers
			do                  func() error
		}{
			{"Stamps that are absent", 3, 3, 1, func() error { _, err := b.Stamps(t.Context(), guards); return err }},
			{"a hit", 1, 2, 2, func() error { _, err := b.Get(t.Context(), key, guards); return err }},
			{"GetMulti of stamps alone", 1, 1, 1, func() error { _, _, err := b.GetMulti(t.Context(), nil, guards); return err }},
			{"a hard Renew", 1, 1, 1, func() error { return b.Renew(t.Context(), guards, false) }},
			{"a soft Renew", 4, 4, 1, func() error { return b.Renew(t.Context(), guards, true) }},
		} {
			before := make([]int, len(proxies))
			for i, proxy := range proxies {
				before[i] = len(proxy.Requests())
			}
			if err := op.do(); err != nil {
				t.Fatalf("%s: %v", op.name, err)
			}
			sum, servers := 0, 0
			for i, proxy := range proxies {
				n := 0
				for _, request := range proxy.Requests()[before[i]:] {
					if !bytes.Contains(request, []byte(":l:")) { // what looks after leases goes on meanwhile
						n++
					}
				}
				if n > op.each {
					t.Errorf("%s takes %d requests at one server, want %d at most", op.name, n, op.each)
				}
				if n > 0 {
					servers++
				}
				sum += n
			}
			if sum > op.most || servers > op.servers {
				t.Errorf("%s takes %d requests to %d servers, want %d to %d at most", op.name, sum, servers, op.most, op.servers)
			}
		}
	}
}

// Ten thousand tags work.
func TestManyTags(t *testing.T) {
	for _, n := range []int{1, 3} {
		b := open(t, memcached.Config{Servers: memcachedtest.Addrs(memcachedtest.Shared(t, n)), Prefix: space(), Timeout: 10 * time.Second})
		guards := append(tagsOf("users", 10_000), backend.Guard{Region: "users"})
		grants, before, err := b.Acquire(t.Context(), []backend.Key{lateKey}, guards)
		if err != nil || grants[0].Lease == nil {
			t.Fatalf("Acquire = %v", err)
		}
		items := []backend.Item{{Key: lateKey, Entry: &backend.Entry{Data: []byte("x")}, Lease: grants[0].Lease}}
		stamps, err := b.Set(t.Context(), items, guards)
		if err != nil || items[0].Err != nil || len(stamps) != len(guards) || stamps[7] != before[7] {
			t.Fatalf("Set = %d stamps, %v, %v", len(stamps), err, items[0].Err)
		}
		seen := map[backend.Stamps]bool{}
		for _, soft := range []bool{false, true} {
			began := time.Now()
			if err := b.Renew(t.Context(), guards, soft); err != nil {
				t.Fatalf("Renew = %v", err)
			}
			t.Logf("Renew of %d guards, soft = %v: %v", len(guards), soft, time.Since(began))
			found, err := b.Get(t.Context(), lateKey, guards)
			if err != nil || found.Entry == nil || len(found.Stamps) != len(guards) {
				t.Fatalf("Get = %d stamps, %v", len(found.Stamps), err)
			}
			for i, s := range found.Stamps {
				switch {
				case seen[s] || s.Hard.IsZero() || s.Soft.IsZero():
					t.Fatalf("guard %d has the stamps %x, which another one has, or none", i, s)
				case soft && (s.Hard != before[i].Hard || s.Soft == before[i].Soft):
					t.Fatalf("guard %d: a soft Renew made %x of %x", i, s, before[i])
				case !soft && s.Hard == before[i].Hard:
					t.Fatalf("guard %d: a hard Renew left %x", i, s)
				}
				seen[s] = true
			}
			before = found.Stamps
		}
	}
}

// A Renew that is cut off in the middle has renewed the first ones, and none behind one
// that it has not: a creation that finds the first guard as it was has seen no other
// renewed.
func TestFaultRenewIsCutOff(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	const tags = 6000
	for _, soft := range []bool{false, true} {
		some := false
		for chunk := 1; chunk <= 6; chunk++ {
			prefix := space()
			proxy := faultproxy.New(t, server.Addr)
			a := open(t, memcached.Config{Servers: []string{proxy.Addr}, Prefix: prefix})
			b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix, Timeout: 10 * time.Second})
			guards := tagsOf("users", tags)
			before := stampsNow(t, b, guards)
			var chunks atomic.Int64
			writing := []byte("set ")
			if soft {
				writing = []byte("cas ")
			}
			proxy.OnRequest(func(request []byte) {
				if chunks.Load() > 0 || bytes.HasPrefix(request, writing) {
					if chunks.Add(1) == int64(chunk)+1 {
						proxy.Refuse(true) // it is not tried again
						proxy.CutAll()
					}
				}
			})
			err := a.Renew(t.Context(), guards, soft)
			proxy.OnRequest(nil)
			after := stampsNow(t, b, guards)
			renewed := 0
			for renewed < len(after) && after[renewed] != before[renewed] {
				renewed++
			}
			for i := renewed; i < len(after); i++ {
				if after[i] != before[i] {
					t.Fatalf("soft = %v: guard %d is renewed, and guard %d is not", soft, i, renewed)
				}
			}
			if err == nil && renewed != len(guards) {
				t.Errorf("Renew = nil, but %d of %d guards are renewed", renewed, len(guards))
			}
			some = some || err != nil && renewed > 0 && renewed < len(guards)
		}
		if !some {
			t.Errorf("soft = %v: no Renew was cut off in the middle, so nothing was tested", soft)
		}
	}
}

// A soft renewal that swaps after a hard one leaves what that has made, and the hard
// stamp from before does not come back.
func TestFaultSoftRenewMeetsAHardOne(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	proxy := faultproxy.New(t, server.Addr)
	prefix := space()
	a := open(t, memcached.Config{Servers: []string{proxy.Addr}, Prefix: prefix})
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix})
	guards := tagsOf("users", 3)
	before := stampsNow(t, b, guards)
	var between []backend.Stamps
	proxy.OnRequest(func(request []byte) {
		if between == nil && !bytes.HasPrefix(request, []byte("gets ")) {
			if err := b.Renew(t.Context(), guards, false); err != nil {
				t.Error(err)
			}
			between = stampsNow(t, b, guards)
		}
	})
	if err := a.Renew(t.Context(), guards, true); err != nil {
		t.Fatal(err)
	}
	for i, after := range stampsNow(t, b, guards) {
		if after.Hard != between[i].Hard || after.Hard == before[i].Hard || after.Soft == before[i].Soft {
			t.Errorf("guard %d: %x became %x by a hard Renew and %x by a soft one that had begun before", i, before[i], between[i], after)
		}
	}
}

// Of two who create stamps at once one is the first, and both return what that one has
// created.
func TestFaultStampsAreCreatedTwice(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	proxy := faultproxy.New(t, server.Addr)
	prefix := space()
	a := open(t, memcached.Config{Servers: []string{proxy.Addr}, Prefix: prefix})
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix})
	guards := tagsOf("users", 3)
	var first []backend.Stamps
	proxy.OnRequest(func(request []byte) {
		if first == nil && bytes.HasPrefix(request, []byte("add ")) {
			first = stampsNow(t, b, guards[:2])
		}
	})
	got := stampsNow(t, a, guards)
	if got[0] != first[0] || got[1] != first[1] {
		t.Errorf("Stamps = %x, want those that another one had created a moment before, %x", got[:2], first)
	}
	if now := stampsNow(t, b, guards); now[2] != got[2] || now[3] != got[3] {
		t.Errorf("Stamps = %x, and then %x", got[2:], now[2:])
	}
}

// Tags that nobody has used take no room because they are invalidated softly.
func TestSoftRenewOfAbsentTags(t *testing.T) {
	server := memcachedtest.Start(t)
	b := open(t, memcached.Config{Servers: []string{server.Addr}})
	if err := b.Renew(t.Context(), tagsOf("users", 100), true); err != nil {
		t.Fatal(err)
	}
	if n := server.Stat(t, "curr_items"); n != 0 {
		t.Errorf("there are %d items, want none", n)
	}
	if err := b.Renew(t.Context(), []backend.Guard{{Region: "users"}}, true); err != nil {
		t.Fatal(err)
	}
	if n := server.Stat(t, "curr_items"); n != 1 {
		t.Errorf("there are %d items, want the stamps of the region", n)
	}
}

// Hard and soft renewals that meet all do what they promise, and nothing that was
// replaced comes back.
func TestRenewalsThatMeet(t *testing.T) {
	cfg := memcached.Config{Servers: memcachedtest.Addrs(memcachedtest.Shared(t, 1)), Prefix: space()}
	guards := tagsOf("users", 4)
	stampsNow(t, open(t, cfg), guards)
	var all sync.WaitGroup
	for worker := range 4 {
		b := open(t, cfg)
		all.Go(func() {
			soft := worker%2 == 0
			gone := map[backend.Stamp]bool{}
			for range 300 {
				before := stampsNow(t, b, guards)
				if err := b.Renew(t.Context(), guards, soft); err != nil {
					t.Errorf("Renew = %v", err)
				}
				for i, after := range stampsNow(t, b, guards) {
					if soft && after.Soft == before[i].Soft || !soft && after.Hard == before[i].Hard {
						t.Errorf("a Renew with soft = %v left %x", soft, after)
					}
					if after.Hard != before[i].Hard {
						gone[before[i].Hard] = true
					}
					if after.Soft != before[i].Soft {
						gone[before[i].Soft] = true
					}
					if gone[after.Hard] || gone[after.Soft] {
						t.Errorf("of the stamps %x one had been replaced", after)
					}
				}
			}
		})
	}
	all.Wait()
}

// A server that evicts keeps the stamps of tags whose values are in use.
func TestFaultStampsInUseAreKept(t *testing.T) {
	server := memcachedtest.Start(t, "-m", "2", "-I", "512k")
	b := open(t, memcached.Config{Servers: []string{server.Addr}})
	used := []backend.Guard{{Region: "users"}, {Region: "users", Tag: "in use"}}
	unused := []backend.Guard{{Region: "users", Tag: "not in use"}}
	before := stampsNow(t, b, append(used, unused...))
	deadline := time.Now().Add(30 * time.Second)
	for n := 0; server.Stat(t, "evictions") < 50_000; n++ {
		// Others, of the same size.
		stampsNow(t, b, tagsOf(fmt.Sprint("region ", n), 500))
		found, err := b.Get(t.Context(), lateKey, used)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range found.Stamps {
			if s != before[i] {
				t.Fatalf("after %d others the stamps of guard %d are %x, want %x", n*501, i, s, before[i])
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the server has hardly evicted anything, so nothing was tested")
		}
	}
	_, gone, err := b.GetMulti(t.Context(), nil, unused)
	if err != nil || gone[0] != (backend.Stamps{}) {
		t.Errorf("the stamps that nobody has read are %x, %v; want them evicted, or nothing was tested", gone, err)
	}
}
