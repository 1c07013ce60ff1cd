package fleet_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// A connection that is cut is made again at once, and what happened meanwhile is seen.
func TestTrackingIsCut(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	d := newDetour(t, server, server.Options())
	m := d.join(t, fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	for range 5 {
		server.Do(t, "SET", lock, stranger, "PX", "60000")
		d.on.Store(true)
		result := wait(t, m, lock)
		d.CutAll()
		cut := time.Now()
		server.Do(t, "DEL", lock)
		if took := woken(t, result, cut); took > soon {
			t.Errorf("woken %v after the connection was cut and the lock deleted, want at once", took)
		}
		eventually(t, "the connection is back", m.Tracking)
		if took := time.Since(cut); took > soon {
			t.Errorf("the connection was back after %v, want at once", took)
		}
	}
}

// While there is no connection, locks are polled from the first moment on.
func TestTrackingDoesNotComeBack(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	d := newDetour(t, server, server.Options())
	m := d.join(t, fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	polled := func(when string, result <-chan error) {
		t.Helper()
		stillWaiting(t, result)
		server.Do(t, "DEL", lock)
		if took := woken(t, result, time.Now()); took > soon {
			t.Errorf("%s: woken after %v, want it to be polled every 50 ms at least", when, took)
		}
	}
	for _, waited := range []bool{true, false} {
		server.Do(t, "SET", lock, stranger, "PX", "60000")
		result := wait(t, m, lock)
		if !waited {
			server.Do(t, "DEL", lock)
			woken(t, result, time.Now())
		}
		d.on.Store(true)
		d.Refuse(true)
		d.CutAll()
		eventually(t, "the connection is gone", func() bool { return !m.Tracking() })
		if waited {
			polled("begun before the cut", result)
		}
		server.Do(t, "SET", lock, stranger, "PX", "60000")
		polled("begun after the cut", wait(t, m, lock))
		d.Refuse(false)
		eventually(t, "the connection is back", m.Tracking)
	}
}

// A connection on which nothing passes any more, and nobody says so, is given up.
func TestTrackingIsBlackholed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDetour(t, server, server.Options())
	m := d.join(t, fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	result := wait(t, m, lock)
	d.Blackhole(true)
	began := time.Now()
	server.Do(t, "DEL", lock)
	took := woken(t, result, began)
	t.Logf("woken %v after the network was gone", took)
	if took > 8*time.Second {
		t.Errorf("woken %v after the network was gone, want 5 s at most", took)
	}
	eventually(t, "there is another connection", m.Tracking)
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	result = wait(t, m, lock)
	server.Do(t, "DEL", lock)
	if took := woken(t, result, time.Now()); took > soon {
		t.Errorf("woken after %v over the new connection, want at once", took)
	}
	if n := d.Accepted(); n != 1 {
		t.Errorf("%d connections took the detour, want the first one only", n)
	}
	holds(t, server, take(t, m, lock))
}

// A connection on which nothing happens is not given up, and costs little.
func TestTrackingIsQuiet(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "mute", "on", ">secret", "~*", "&*", "+@all", "-publish")
	for user, opt := range map[string]*redis.Options{"default": server.Options(), "mute": userOf(server, "mute")} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			d := newDetour(t, server, opt)
			d.on.Store(true)
			m := join(t, d.client, fleet.Config{Prefix: redistest.Prefix(t)})
			before := d.Accepted()
			for began := time.Now(); time.Since(began) < 7*time.Second; time.Sleep(10 * time.Millisecond) {
				if !m.Tracking() {
					t.Fatalf("the connection was given up after %v of quiet", time.Since(began))
				}
			}
			if n := d.Accepted() - before; n != 0 {
				t.Errorf("%d new connections, want the first one to live", n)
			}
		})
	}
}

// userOf returns options for a user whose password is "secret".
func userOf(server *redistest.Server, name string) *redis.Options {
	opt := server.Options()
	opt.Username, opt.Password = name, "secret"
	return opt
}

// After a failover that nobody's death caused, connections to the old master stay open,
// and it takes itself for a master. The members leave it, and then live as before.
func TestPlannedFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t), TTL: 10 * time.Second}
	lock := cfg.Prefix + "{k}"
	started := time.Now()
	members := make([]*fleet.Member, 4)
	leases := make(map[*fleet.Member]*fleet.Lease)
	for i := range members {
		m := join(t, sentinel.Client(t), cfg)
		members[i], leases[m] = m, take(t, m, fmt.Sprintf("%s{own %d}", cfg.Prefix, i))
	}
	// All want one lock, one has it, and keeps it for as long as it can.
	ctx, cancel := context.WithCancel(t.Context())
	var evictions atomic.Int64
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, m := range members {
		all.Go(func() {
			for ctx.Err() == nil {
				l := m.Ask(ctx, "k", lock)
				got, err := m.Client.SetNX(ctx, lock, l.Token(), m.TTL).Result()
				switch {
				case err != nil:
					l.Abandon()
				case !got:
					l.Refused("")
					_ = m.Wait(ctx, lock)
				case l.Granted():
					select {
					case <-l.Lost():
						evictions.Add(1)
						t.Logf("%s was robbed after %v", m.Process(), time.Since(started))
					case <-ctx.Done():
						_ = l.Release(context.Background())
					}
				}
			}
		})
	}
	watchProbes(t, sentinel.Master(t), cfg.Prefix).await(4)
	if n := evictions.Load(); n > 0 {
		t.Fatalf("the holder was robbed %d times before anything happened", n)
	}

	old := sentinel.Master(t)
	master := sentinel.Failover(t)
	began := time.Now()
	t.Logf("the failover took %v", began.Sub(started))
	visible := func(m *fleet.Member) bool {
		reply := master.Do(t, "PUBSUB", "NUMSUB", m.AliveChannel()).([]any)
		return reply[1] == int64(1)
	}
	for i, m := range members {
		eventually(t, fmt.Sprintf("member %d is to be seen at the new master", i), func() bool { return visible(m) && m.Tracking() })
	}
	moved := time.Since(began)
	t.Logf("all have moved from %s to %s after %v", old.Addr, master.Addr, moved)
	if moved > 8*time.Second {
		t.Errorf("the members have moved after %v, want some seconds", moved)
	}
	for i, m := range members {
		if isLost(leases[m]) {
			t.Errorf("member %d has lost a lease that nobody waits for", i)
		}
	}

	// From now on nobody is.
	for i, m := range members {
		lock := fmt.Sprintf("%s{new %d}", cfg.Prefix, i)
		l := take(t, m, lock)
		waiter := members[(i+1)%len(members)]
		result := wait(t, waiter, lock)
		defer func() {
			if isLost(l) {
				t.Errorf("member %d was robbed after all had moved, want it to keep its lease: it lives", i)
			}
			stillWaiting(t, result)
			_ = l.Release(t.Context())
			woken(t, result, time.Now())
		}()
	}
	before := evictions.Load()
	watchProbes(t, master, cfg.Prefix).await(8)
	t.Logf("the holder was robbed %d times during the failover", before)
	if before > int64(len(members)) {
		t.Errorf("the holder was robbed %d times during the failover, want each of %d once at most, while it had not moved", before, len(members))
	}
	if n := evictions.Load() - before; n > 0 {
		t.Errorf("the holder was robbed %d times after all had moved, want it to keep its lease: it lives", n)
	}
}

// On a cluster there is a connection to each server.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.SharedCluster(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	m, other := join(t, cluster.Client(t), cfg), join(t, cluster.Client(t), cfg)
	seen := map[string]bool{}
	var all []string
	for i := 0; len(seen) < len(cluster.Nodes); i++ {
		lock := fmt.Sprintf("%s{%d}", cfg.Prefix, i)
		node := cluster.NodeOf(t, lock)
		if seen[node.Addr] {
			continue
		}
		seen[node.Addr] = true
		all = append(all, lock)
		l := take(t, other, lock)
		result := wait(t, m, lock)
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if took := woken(t, result, time.Now()); took > soon {
			t.Errorf("node %s: woken after %v, want at once", node.Addr, took)
		}
		// One that is dead is found dead on every node.
		dead := fleet.DeadToken()
		node.Do(t, "SET", lock, dead, "PX", "60000")
		began := time.Now()
		if took := woken(t, wait(t, m, lock), began); took > soon {
			t.Errorf("node %s: the lock of a dead process was taken over after %v, want half a second", node.Addr, took)
		}
	}
	for _, lock := range all {
		cluster.NodeOf(t, lock).Do(t, "SET", lock, stranger, "PX", "60000")
	}
	result := wait(t, m, all...)
	cluster.NodeOf(t, all[1]).Do(t, "DEL", all[1])
	if took := woken(t, result, time.Now()); took > soon {
		t.Errorf("woken after %v, want at once: one lock of three on three nodes is free", took)
	}
}
