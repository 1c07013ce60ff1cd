package local

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/lock"
)

// TestWaitLeavesNothing looks inside, because a waiter that was forgotten in a
// lease's list is seen by nobody until memory runs out.
func TestWaitLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		defer l.Close()
		var held []*lease
		for _, key := range []string{"one", "two", "three"} {
			h, err := l.TryAcquire(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, h.(*lease))
		}
		waiters := func() (n int) {
			for _, h := range held {
				h.shard.mu.Lock()
				n += len(h.waiters)
				h.shard.mu.Unlock()
			}
			return n
		}

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		for range 2 {
			go func() { done <- l.Wait(ctx, "one", "two", "three", "two") }()
		}
		synctest.Wait()
		if n := waiters(); n != 6 {
			t.Fatalf("two waiters for three keys are registered %d times, want 6", n)
		}
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Fatalf("Wait = %v", err)
			}
		}
		if n := waiters(); n != 0 {
			t.Fatalf("%d waiters are left after their ctx ended", n)
		}

		go func() { done <- l.Wait(t.Context(), "one", "two", "three") }()
		synctest.Wait()
		held[1].Release(t.Context())
		if err := <-done; err != nil {
			t.Fatalf("Wait = %v", err)
		}
		if n := waiters(); n != 0 {
			t.Fatalf("%d waiters are left after they were woken", n)
		}

		// A key that is free ends the call in the middle of the registration.
		if err := l.Wait(t.Context(), "one", "two", "three"); err != nil {
			t.Fatalf("Wait = %v", err)
		}
		if n := waiters(); n != 0 {
			t.Fatalf("%d waiters are left of a call that did not wait", n)
		}
	})
}

// TestCloseTellsWaiters asks for more than the suite can, which has to allow that
// Wait returns early and says ErrClosed only when it is called again.
func TestCloseTellsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		if _, err := l.TryAcquire(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.Wait(t.Context(), "key") }()
		synctest.Wait()
		l.Close()
		if err := <-done; !errors.Is(err, lock.ErrClosed) {
			t.Errorf("Wait = %v when the Locker was closed, want lock.ErrClosed", err)
		}
	})
}

func TestBurstGivesMemoryBack(t *testing.T) {
	l := New()
	defer l.Close()
	var leases []lock.Lease
	for i := range 2 * roomy * shards {
		h, err := l.TryAcquire(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, h)
	}
	before := map[int]int{}
	for i := range l.shards {
		before[i] = l.shards[i].peak
	}
	for _, h := range leases {
		h.Release(t.Context())
	}
	for i := range l.shards {
		s := &l.shards[i]
		if before[i] <= roomy {
			t.Fatalf("shard %d had only %d leases: the test proves nothing", i, before[i])
		}
		if len(s.held) != 0 || s.peak != 0 {
			t.Fatalf("shard %d keeps %d leases and a map for %d", i, len(s.held), s.peak)
		}
	}
}
