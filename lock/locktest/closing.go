package locktest

import (
	"errors"

	"github.com/dogpile-go/dogpile/lock"
)

func closeEndsAll(t *trial) {
	one, two := t.acquire(t.a, "one"), t.acquire(t.a, "two")
	t.closes(t.a)
	t.lost(one)
	t.lost(two)
	t.release(one)

	if lease, err := t.a.TryAcquire(t.ctx, "one"); !errors.Is(err, lock.ErrClosed) || lease != nil {
		t.Errorf("TryAcquire after Close = %v, %v; want lock.ErrClosed", lease, err)
	}
	if err := t.a.Wait(t.ctx, "one"); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("Wait after Close = %v, want lock.ErrClosed", err)
	}
	if err := t.a.Void(t.ctx, "one"); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("Void after Close = %v, want lock.ErrClosed", err)
	}
	t.closes(t.a)
}

func closeWakesWaiters(t *trial) {
	// The lease is the other side's, so that it outlives the Close of this one.
	t.acquire(t.b, "key")
	t.acquire(t.b, "key 2")
	var rivals []<-chan outcome
	for range 5 {
		rivals = append(rivals, t.start(t.a, "key"), t.start(t.a, "key", "key 2"))
	}
	t.closes(t.a)
	for _, rival := range rivals {
		if o := <-rival; !errors.Is(o.err, lock.ErrClosed) {
			t.Fatalf("a waiter got %v when the Locker was closed, want lock.ErrClosed", o.err)
		}
	}
}

func closeOfOneSide(t *trial) {
	if t.a == t.b {
		t.Skip("for two Lockers; see RunPair")
	}
	t.acquire(t.a, "of a")
	mine := t.acquire(t.b, "of b")
	rival := t.start(t.b, "of a")
	t.closes(t.a)
	t.granted(rival)
	t.notLost(mine)
	t.release(mine)
}

func (t *trial) closes(l lock.Locker) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}
