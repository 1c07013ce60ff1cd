package fleet_test

import (
	"crypto/rand"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// Very many leases are renewed in time, and leave no memory behind.
func TestManyLeases(t *testing.T) {
	server := redistest.Start(t)
	const n, ttl = 20_000, 2 * time.Second
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t), TTL: ttl})
	takeMany(t, m, n/10).end(t) // connections and their buffers stay
	before := inUse()
	leases := takeMany(t, m, n)
	time.Sleep(2 * ttl) // the span over which they are renewed
	gone := 0
	for _, l := range leases {
		if isLost(l) {
			gone++
		}
	}
	if gone > 0 {
		t.Errorf("%d of %d leases are lost, want none: the server is there", gone, n)
	}
	if size := server.Do(t, "DBSIZE"); size != int64(n) {
		t.Errorf("%v locks are on the server, want %d", size, n)
	}
	t.Logf("%d bytes for each lease", (inUse()-before)/n)
	leases.end(t)
	leases = nil
	if size := server.Do(t, "DBSIZE"); size != int64(0) {
		t.Errorf("%v locks are on the server, want none: all were released", size)
	}
	if left := m.Subjects(); left != 0 {
		t.Errorf("%d locks are still known, want none", left)
	}
	const room = 32 * n // a map for so many has more
	more := int64(0)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if more = inUse() - before; more < room || time.Now().After(deadline) {
			break
		}
	}
	t.Logf("%d bytes more than before", more)
	if more >= room {
		t.Errorf("%d bytes more than before, want them to be given back", more)
	}
}

// manyLeases are leases of one member.
type manyLeases []*fleet.Lease

func takeMany(t *testing.T, m *fleet.Member, n int) manyLeases {
	t.Helper()
	leases := make(manyLeases, n)
	for batch := range slices.Chunk(leases, 1000) {
		_, err := m.Client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
			for i := range batch {
				batch[i] = m.Ask(t.Context(), "k", m.Prefix+"{"+rand.Text()+"}")
				pipe.SetNX(t.Context(), batch[i].Lock(), batch[i].Token(), m.TTL)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range batch {
			if !l.Granted() {
				t.Fatal("Granted returned false, want true: the member is open")
			}
		}
	}
	return leases
}

func (leases manyLeases) end(t *testing.T) {
	t.Helper()
	for _, l := range leases {
		l.End()
	}
	if err := leases[0].Member().Release(t.Context(), leases); err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		l.Ended(nil)
	}
}

// inUse returns how many bytes are in use.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
