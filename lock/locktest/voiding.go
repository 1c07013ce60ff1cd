package locktest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/lock"
)

func voidEndsLease(t *trial) {
	old := t.acquire(t.a, "key")
	other := t.acquire(t.a, "other")
	t.notLost(old)
	t.void(t.b, "key")
	next := t.acquire(t.b, "key")
	t.lost(old)
	t.notLost(next)
	t.notLost(other)
	t.refused(t.b, "other")
}

func voidOfSeveral(t *trial) {
	one, two, three := t.acquire(t.a, "one"), t.acquire(t.b, "two"), t.acquire(t.a, "three")
	t.void(t.a, "one", "free", "two")
	t.lost(one)
	t.lost(two)
	t.acquire(t.b, "one")
	t.acquire(t.a, "two")
	t.notLost(three)
	t.refused(t.b, "three")
}

func voidWithoutLease(t *trial) {
	t.void(t.a)
	t.void(t.a, "never held")
	t.release(t.acquire(t.a, "key"))
	t.void(t.b, "key")
	t.notLost(t.acquire(t.a, "key"))
}

func releaseAfterLoss(t *trial) {
	old := t.acquire(t.a, "key")
	t.void(t.b, "key")
	t.release(old)
	next := t.acquire(t.b, "key")
	t.release(old)
	t.refused(t.a, "key")
	t.notLost(next)
}

func releasedIsNeverLost(t *trial) {
	lease := t.acquire(t.a, "key")
	t.release(lease)
	t.void(t.b, "key")
	next := t.acquire(t.a, "key")
	t.void(t.b, "key")
	t.lost(next)
	if err := t.a.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	t.notLost(lease)
}

// hammer mixes everything on few keys, mainly for the race detector. Whoever is
// granted a lease must be told when it is lost, and must be able to obtain one
// again however the others interfere.
func hammer(t *trial) {
	const workers, turns, names = 8, 40, 3
	var grants atomic.Int32
	var all sync.WaitGroup
	for i := range workers {
		l, rival := t.a, t.b
		if i%2 == 1 {
			l, rival = rival, l
		}
		all.Go(func() {
			for turn := range turns {
				key := fmt.Sprint("key ", (i+turn)%names)
				lease, err := t.obtain(l, key, "key 0")
				if err != nil {
					t.Errorf("obtain: %v", err)
					return
				}
				grants.Add(1)
				if (i+turn)%4 == 0 {
					if err := rival.Void(t.ctx, lease.Key()); err != nil {
						t.Errorf("Void: %v", err)
					}
					if !told(t, lease) {
						t.Errorf("a voided lease was not lost")
					}
				}
				if err := lease.Release(t.ctx); err != nil {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	all.Wait()
	if n := grants.Load(); n != workers*turns {
		t.Fatalf("%d leases were granted, want %d", n, workers*turns)
	}
}

func told(t *trial, lease lock.Lease) bool {
	select {
	case <-lease.Lost():
		return true
	case <-t.ctx.Done():
		return false
	}
}
