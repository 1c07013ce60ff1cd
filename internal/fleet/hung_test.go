package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// onEach returns a lock for each node of a cluster.
func onEach(t testing.TB, cluster *redistest.Cluster, prefix string) []string {
	t.Helper()
	locks := make([]string, 0, len(cluster.Nodes))
	for i := 0; len(locks) < len(cluster.Nodes); i++ {
		if lock := fmt.Sprintf("%s{%d}", prefix, i); cluster.NodeOf(t, lock) == cluster.Nodes[len(locks)] {
			locks = append(locks, lock)
		}
	}
	return locks
}

// A node of a cluster that does not answer harms nobody who has to do with the others.
func TestHungNode(t *testing.T) {
	for _, hung := range []int{0, 1} {
		t.Run(fmt.Sprint(hung), func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			const ttl = 1500 * time.Millisecond
			cfg := fleet.Config{Prefix: redistest.Prefix(t), TTL: ttl}
			m, other := join(t, cluster.Client(t), cfg), join(t, cluster.Client(t), cfg)
			own, theirs, dead := onEach(t, cluster, cfg.Prefix+"own"), onEach(t, cluster, cfg.Prefix+"theirs"), onEach(t, cluster, cfg.Prefix+"dead")
			leases, wanted := make([]*fleet.Lease, len(own)), make([]*fleet.Lease, len(own))
			results := make([]<-chan error, len(own))
			for i, lock := range own {
				leases[i], wanted[i] = take(t, m, lock), take(t, other, theirs[i])
				results[i] = wait(t, m, theirs[i])
			}
			cluster.Nodes[hung].Stop(t)
			defer cluster.Nodes[hung].Continue(t)
			began := time.Now()
			time.Sleep(3 * ttl) // the span over which leases are renewed
			for i, node := range cluster.Nodes {
				if i == hung {
					continue
				}
				if isLost(leases[i]) || isLost(wanted[i]) {
					t.Fatalf("a lease on node %d is lost, want it to be held: another node hangs", i)
				}
				holds(t, node, leases[i])
				holds(t, node, wanted[i])
				stillWaiting(t, results[i])
			}
			if took := lost(t, leases[hung], began); took > ttl+soon+3*ttl {
				t.Errorf("the lease on the node that hangs was lost after %v, want its TTL", took)
			}

			// That the node that hangs tells nothing is no reason to poll the others.
			eventually(t, "the node is known to hang", func() bool { return !m.TrackingOf(cluster.Nodes[hung].Addr) })
			well := cluster.Nodes[2]
			before := well.CommandsByName(t)["get"]
			time.Sleep(time.Second) // the span that is counted
			if n := well.CommandsByName(t)["get"] - before; n > 15 {
				t.Errorf("%d looks and renewals in a second on a node that is well, want some: it tells of changes", n)
			}

			for i, node := range cluster.Nodes {
				if i == hung {
					continue
				}
				for round := range 3 {
					since := time.Now()
					if err := wanted[i].Release(t.Context()); err != nil {
						t.Error(err)
					}
					if took := woken(t, results[i], since); took > 500*time.Millisecond {
						t.Errorf("round %d: woken %v after a lock on node %d was released, want at once: another node hangs", round, took, i)
					}
					wanted[i] = take(t, other, theirs[i])
					results[i] = wait(t, m, theirs[i])
				}
				node.Do(t, "SET", dead[i], fleet.DeadToken(), "PX", "60000")
				since := time.Now()
				took := woken(t, wait(t, m, dead[i]), since)
				t.Logf("the lock of a dead process on node %d was free after %v", i, took)
				if took > 2*soon {
					t.Errorf("the lock of a dead process on node %d was free after %v, want half a second, or a second more once", i, took)
				}
			}
		})
	}
}

// A member that joins while a node of a cluster does not answer is not held up by it. Its
// client has worked before: go-redis asks any node for what it has to know at first.
func TestHungNodeFromTheStart(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	locks := onEach(t, cluster, cfg.Prefix)
	client := cluster.Client(t)
	if err := client.Exists(t.Context(), locks[1]).Err(); err != nil {
		t.Fatal(err)
	}
	cluster.Nodes[0].Stop(t)
	defer cluster.Nodes[0].Continue(t)
	m := attend(t, client, cfg)
	began := time.Now()
	for range 3 {
		m.Settle(t.Context())
		if err := take(t, m, locks[1]).Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > 2*soon {
		t.Errorf("three leases on a node that is well took %v, want a second at most in all for the one that hangs", took)
	}
	cluster.Nodes[2].Do(t, "SET", locks[2], stranger, "PX", "60000")
	result := wait(t, m, locks[2])
	eventually(t, "the node tells of changes", func() bool { return m.TrackingOf(cluster.Nodes[2].Addr) })
	cluster.Nodes[2].Do(t, "DEL", locks[2])
	if took := woken(t, result, time.Now()); took > 500*time.Millisecond {
		t.Errorf("woken after %v, want at once", took)
	}
}

// What a server that did not run executes when it goes on leaves no lock, however long it
// stood.
func TestAbandonWhileTheServerStands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const ttl = time.Second
	opt := server.Options()
	opt.MaxRetries, opt.ReadTimeout = -1, 200*time.Millisecond
	client := clientOf(t, opt)
	m := join(t, client, fleet.Config{Prefix: redistest.Prefix(t), TTL: ttl})
	for i := range 3 {
		lock := fmt.Sprintf("%s{%d}", m.Prefix, i)
		before := server.CommandsByName(t)["del"]
		l := m.Ask(t.Context(), "k", lock)
		server.Stop(t)
		stopped := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		// For longer than a TTL, so that it does not end by itself.
		if err := client.SetNX(ctx, lock, l.Token(), time.Minute).Err(); err == nil {
			t.Error("SET succeeded, want it to fail: the server stands")
		}
		cancel()
		l.Abandon()
		time.Sleep(time.Until(stopped.Add(ttl + ttl/2))) // as long as the server stands
		server.Continue(t)
		woke := time.Now()
		eventually(t, "the lock was taken and given back", func() bool {
			return server.CommandsByName(t)["del"] > before && server.Do(t, "EXISTS", lock) == int64(0)
		})
		if took := time.Since(woke); took > soon {
			t.Errorf("the lock was free %v after the server went on, want a moment", took)
		}
		eventually(t, "nothing is kept of it", func() bool { return m.Subjects() == 0 })
		if server.Do(t, "EXISTS", lock) != int64(0) {
			t.Error("there is a lock, want none: nobody has it")
		}
	}
}

// One answer does not tell that nothing comes any more: what a server that stood executes
// when it goes on may be in any order.
func TestAbandonedLeaseIsGivenBackTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	opt := server.Options()
	opt.ReadTimeout = 100 * time.Millisecond
	var once sync.Once
	var abandoned atomic.Int64
	m := join(t, clientOf(t, opt), fleet.Config{
		Prefix: redistest.Prefix(t),
		Release: func(_ context.Context, leases []*fleet.Lease) error {
			for _, l := range leases {
				if server.Do(t, "GET", l.Lock()) == l.Token() {
					server.Do(t, "DEL", l.Lock())
				}
				// The client has given up long ago what it sent.
				if time.Now().UnixNano() > abandoned.Load()+int64(3*opt.ReadTimeout) {
					once.Do(func() { server.Do(t, "SET", l.Lock(), l.Token(), "PX", "60000") })
				}
			}
			return nil
		},
	})
	l := m.Ask(t.Context(), "k", m.Prefix+"{k}")
	abandoned.Store(time.Now().UnixNano())
	l.Abandon()
	eventually(t, "nothing is kept of it", func() bool { return m.Subjects() == 0 })
	once.Do(func() { t.Error("the lock was not taken late, so this test shows nothing") })
	if server.Do(t, "EXISTS", l.Lock()) != int64(0) {
		t.Error("there is a lock, want none: nobody has it")
	}
}

// A lease that nobody could renew is given back: the server may count from later.
func TestExpiredLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	const ttl = 600 * time.Millisecond
	m := join(t, server.Client(t), fleet.Config{
		Prefix: redistest.Prefix(t),
		TTL:    ttl,
		Refresh: func(_ context.Context, leases []*fleet.Lease) []error {
			outcomes := make([]error, len(leases))
			for i := range outcomes {
				outcomes[i] = errors.New("the network is gone")
			}
			return outcomes
		},
	})
	l := take(t, m, m.Prefix+"{k}")
	server.Do(t, "PEXPIRE", l.Lock(), "60000")
	began := time.Now()
	if took := lost(t, l, began); took > ttl+soon {
		t.Errorf("Lost was closed after %v, want %v", took, ttl)
	}
	eventually(t, "the lock is free", func() bool { return server.Do(t, "EXISTS", l.Lock()) == int64(0) })
	eventually(t, "nothing is kept of it", func() bool { return m.Subjects() == 0 })
	if err := l.Release(t.Context()); err != nil || l.End() {
		t.Errorf("the lease is not over, Release returned %v", err)
	}
}

// moveSlot gives the slot of lock, and the lock, to another node.
func moveSlot(t testing.TB, cluster *redistest.Cluster, lock string, from, to *redistest.Server) {
	t.Helper()
	slot := from.Do(t, "CLUSTER", "KEYSLOT", lock)
	source, target := from.Do(t, "CLUSTER", "MYID"), to.Do(t, "CLUSTER", "MYID")
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	host, port, err := net.SplitHostPort(to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	from.Do(t, "MIGRATE", host, port, lock, 0, 5000)
	to.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", target)
	for _, node := range cluster.Nodes {
		node.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", target)
	}
}

// A lock whose slot was moved is looked after with those of its new server.
func TestSlotIsMoved(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	const ttl = 1500 * time.Millisecond
	cfg := fleet.Config{Prefix: redistest.Prefix(t), TTL: ttl}
	m, other := join(t, cluster.Client(t), cfg), join(t, cluster.Client(t), cfg)
	from, to := cluster.Nodes[0], cluster.Nodes[1]
	moving, staying := onEach(t, cluster, cfg.Prefix)[0], cfg.Prefix+"{another slot of the first node}"
	for i := 0; cluster.NodeOf(t, staying) != from; i++ {
		staying = fmt.Sprintf("%s{another slot %d}", cfg.Prefix, i)
	}
	moved, stays := take(t, m, moving), take(t, m, staying)
	result := wait(t, other, moving)
	moveSlot(t, cluster, moving, from, to)
	for _, member := range []*fleet.Member{m, other} {
		eventually(t, "it is known where the lock is", func() bool { return member.ServerOf(moving) == to.Addr })
	}
	if m.ServerOf(staying) != from.Addr || isLost(stays) || isLost(moved) {
		t.Errorf("the lease of the lock that stays is lost: %v, that of the other: %v, want both to be held", isLost(stays), isLost(moved))
	}
	from.Stop(t)
	defer from.Continue(t)
	time.Sleep(3 * ttl) // the span over which the lease is renewed
	holds(t, to, moved)
	if isLost(moved) {
		t.Fatal("the lease is lost, want it to be held: only the server hangs that had the lock before")
	}
	stillWaiting(t, result)
	since := time.Now()
	if err := moved.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if took := woken(t, result, since); took > 500*time.Millisecond {
		t.Errorf("woken after %v, want at once", took)
	}
}

// Nobody is held up for long by a cluster of which nothing is known yet.
func TestAskOfAClusterThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	cluster.Nodes[0].Stop(t)
	defer cluster.Nodes[0].Continue(t)
	for _, obedient := range []bool{true, false} {
		opt := cluster.Options()
		opt.Addrs, opt.ContextTimeoutEnabled = []string{cluster.Addrs[0]}, obedient
		m := attend(t, clusterClientOf(t, opt), fleet.Config{Prefix: redistest.Prefix(t)})
		began := time.Now()
		l := m.Ask(context.Background(), "k", m.Prefix+"{k}")
		if took := time.Since(began); took > soon {
			t.Errorf("a client that keeps to its ctx: %v: Ask took %v, want a second at most", obedient, took)
		}
		l.Refused("")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began = time.Now()
		err := m.Wait(ctx, m.Prefix+"{k}")
		cancel()
		if took := time.Since(began); took > time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that keeps to its ctx: %v: Wait returned %v after %v, want %v after 100 ms", obedient, err, took, context.DeadlineExceeded)
		}
	}
}
