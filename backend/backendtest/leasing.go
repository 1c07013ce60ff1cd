package backendtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/backend"
)

func acquireIsExclusive(t *trial) {
	const rivals = 50
	var wins atomic.Int32
	var gate, all sync.WaitGroup
	gate.Add(1)
	for i := range rivals {
		side := t.a
		if i%2 == 1 {
			side = t.b
		}
		all.Go(func() {
			gate.Wait()
			grants, _, err := side.Acquire(t.ctx, users("ann"), nil)
			if err != nil || len(grants) != 1 {
				t.Errorf("Acquire = %d grants, %v", len(grants), err)
			} else if grants[0].Lease != nil {
				wins.Add(1)
			}
		})
	}
	gate.Done()
	all.Wait()
	if n := wins.Load(); n != 1 {
		t.Fatalf("%d of %d rivals were granted the lease, want 1", n, rivals)
	}
}

func acquireOfHeldKeys(t *trial) {
	t.set(t.a, user("two"), "2")
	t.set(t.a, user("three"), "3")
	t.acquire(t.a, user("two"))
	grants := t.grants(t.b, users("one", "two", "three")...)
	if grants[0].Lease == nil || grants[2].Lease == nil {
		t.Error("Acquire did not grant the leases that are free, because one of those asked for is held")
	}
	if grants[1].Lease != nil || grants[1].Entry != nil {
		t.Errorf("Acquire of a held key = %+v, want neither lease nor entry", grants[1])
	}
	if got := says(grants[0].Entry); got != says(nil) {
		t.Errorf("Acquire found %q where nothing is stored", got)
	}
	if got := says(grants[2].Entry); got != t.kept("3") {
		t.Errorf("Acquire found %q, want %q", got, t.kept("3"))
	}
}

// acquireReadsAfterTheGrant is what keeps two creators that follow each other from
// creating twice: the second finds what the first has published.
func acquireReadsAfterTheGrant(t *trial) {
	t.rounds(func() {
		t.delete(t.a, user("ann"))
		lease := t.acquire(t.a, user("ann"))
		var rivals sync.WaitGroup
		for range 4 {
			waiting := t.start(t.b, user("ann"))
			rivals.Go(func() {
				o := <-waiting
				if o.err != nil {
					t.Errorf("a rival got the error %v", o.err)
				} else if got := says(o.grant.Entry); got != t.kept("Ann") {
					t.Errorf("a rival found %q after it was granted the lease, want %q", got, t.kept("Ann"))
				} else if err := o.grant.Lease.Release(t.ctx); err != nil {
					t.Errorf("Release: %v", err)
				}
			})
		}
		t.published(t.a, user("ann"), lease, "Ann")
		rivals.Wait()
	})
}

func acquireThatFailsHoldsNothing(t *trial) {
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	t.acquire(t.b, user("two"))
	grants, _, err := t.a.Acquire(ctx, users("one", "two", "three"), []backend.Guard{{Region: "users"}})
	if err == nil {
		for _, grant := range grants {
			if grant.Lease != nil {
				t.release(grant.Lease)
			}
		}
	}
	for _, grant := range t.grants(t.b, users("one", "three")...) {
		if grant.Lease == nil {
			t.Fatalf("Acquire with an ended ctx = %v, and a lease is held still", err)
		}
	}
}

func releaseFrees(t *trial) {
	ann := user("ann")
	t.set(t.a, ann, "Ann")
	lease := t.acquire(t.a, ann)
	t.isHeld(ann)
	t.release(lease)
	t.holds(ann, "Ann")
	next := t.acquire(t.b, ann)
	t.release(lease)
	t.isHeld(ann)
	t.notLost(next)
}

func leasesCanBeToldApart(t *trial) {
	seen := map[string]bool{}
	for range 10 {
		for _, side := range []backend.Backend{t.a, t.b} {
			lease := t.acquire(side, user("ann"))
			if token := lease.Token(); token == "" || seen[token] || token != lease.Token() {
				t.Errorf("token %q is empty, changes, or is that of another lease", token)
			} else {
				seen[token] = true
			}
			t.release(lease)
		}
	}
}

func publishStoresAndEndsLease(t *trial) {
	ann := user("ann")
	lease := t.acquire(t.a, ann)
	t.published(t.a, ann, lease, "Ann")
	t.holds(ann, "Ann")
	next := t.acquire(t.b, ann)
	t.release(lease)
	t.isHeld(ann)
	t.notLost(next)
	t.published(t.b, ann, next, "Ann Lee")
	t.holds(ann, "Ann Lee")
}

func publishTwice(t *trial) {
	ann := user("ann")
	lease := t.acquire(t.a, ann)
	t.published(t.a, ann, lease, "Ann")
	t.refused(t.a, ann, lease)
	t.holds(ann, "Ann")
	next := t.acquire(t.b, ann)
	t.refused(t.a, ann, lease)
	t.holds(ann, "Ann")
	t.published(t.b, ann, next, "Ann Lee")
}

func publishAfterRelease(t *trial) {
	ann := user("ann")
	t.set(t.a, ann, "old")
	lease := t.acquire(t.a, ann)
	t.release(lease)
	t.refused(t.a, ann, lease)
	t.holds(ann, "old")
}

func setVoidsLease(t *trial) {
	ann := user("ann")
	late, other := t.acquire(t.a, ann), t.acquire(t.a, user("bob"))
	t.set(t.b, ann, "what was written meanwhile")
	t.lost(late)
	t.refused(t.a, ann, late)
	t.holds(ann, "what was written meanwhile")
	next := t.acquire(t.b, ann)
	t.refused(t.a, ann, late)
	t.release(late)
	t.notLost(next)
	t.published(t.b, ann, next, "Ann")
	t.holds(ann, "Ann")

	t.notLost(other)
	t.published(t.a, user("bob"), other, "Bob")
}

func deleteVoidsLease(t *trial) {
	ann, bob := user("ann"), user("bob")
	t.set(t.a, bob, "Bob")
	lates := []backend.Grant{{Lease: t.acquire(t.a, ann)}, {Lease: t.acquire(t.a, bob)}}
	other := t.acquire(t.a, user("carol"))
	t.delete(t.b, ann, user("nobody"), bob)
	for i, key := range []backend.Key{ann, bob} {
		t.lost(lates[i].Lease)
		t.refused(t.a, key, lates[i].Lease)
		t.holds(key, says(nil))
		next := t.acquire(t.b, key)
		t.refused(t.a, key, lates[i].Lease)
		t.release(lates[i].Lease)
		t.holds(key, says(nil))
		t.published(t.b, key, next, "new")
		t.holds(key, "new")
	}
	t.notLost(other)
	t.published(t.a, user("carol"), other, "Carol")
}

func leaseOfAnotherKey(t *trial) {
	ann, bob := user("ann"), user("bob")
	t.set(t.a, bob, "Bob")
	mine, his := t.acquire(t.a, ann), t.acquire(t.b, bob)
	t.refused(t.a, bob, mine)
	t.refused(t.a, backend.Key{Region: "posts", Name: "ann"}, mine)
	t.holds(bob, "Bob")
	t.holds(backend.Key{Region: "posts", Name: "ann"}, says(nil))

	t.notLost(mine)
	t.notLost(his)
	t.published(t.a, ann, mine, "Ann")
	t.published(t.b, bob, his, "Bob Lee")
}

func leaseOfAnotherBackend(t *trial) {
	other := t.suite.begin(t.T)
	ann := user("ann")
	foreign := other.acquire(other.a, ann)
	t.refused(t.a, ann, foreign)
	t.holds(ann, says(nil))
	own := t.acquire(t.a, ann)
	t.refused(t.a, ann, foreign)
	t.holds(ann, says(nil))
	t.published(t.a, ann, own, "Ann")
	other.published(other.a, ann, foreign, "another Ann")
	t.holds(ann, "Ann")
}

func itemWithoutEntry(t *trial) {
	ann := user("ann")
	t.set(t.a, ann, "Ann")
	lease := t.acquire(t.a, ann)
	if err := t.put(t.a, backend.Item{Key: ann, Lease: lease}); err != nil {
		t.Fatalf("an item without Entry whose lease is held: Err = %v, want nil", err)
	}
	t.holds(ann, "Ann")
	if err := t.put(t.a, backend.Item{Key: ann, Lease: lease}); !errors.Is(err, backend.ErrLeaseLost) {
		t.Fatalf("an item without Entry whose lease has ended: Err = %v, want backend.ErrLeaseLost", err)
	}
	t.holds(ann, "Ann")
	t.published(t.b, ann, t.acquire(t.b, ann), "Ann Lee")
	t.holds(ann, "Ann Lee")
}
