package locktest

import (
	"context"
	"errors"
)

func waitWakesOnRelease(t *trial) {
	t.rounds(func() {
		lease := t.acquire(t.a, "key")
		rival := t.start(t.b, "key")
		t.release(lease)
		t.release(t.granted(rival))
	})
}

func waitWakesOnVoid(t *trial) {
	t.rounds(func() {
		t.acquire(t.a, "key")
		rival := t.start(t.b, "key")
		t.void(t.a, "key")
		t.release(t.granted(rival))
	})
}

func waitForFreeKey(t *trial) {
	wait := func(keys ...string) {
		t.Helper()
		if err := t.b.Wait(t.ctx, keys...); err != nil {
			t.Fatalf("Wait for a lease that is free = %v, want nil", err)
		}
	}
	wait("never held")
	t.release(t.acquire(t.a, "released"))
	wait("released")
	t.acquire(t.a, "voided")
	t.void(t.a, "voided")
	wait("voided")
	t.acquire(t.a, "held 1")
	t.acquire(t.a, "held 2")
	wait("held 1", "free", "held 2")
	wait("free", "held 1")
	wait("held 1", "held 2", "free")
}

func waitForNothing(t *trial) {
	if err := t.a.Wait(t.ctx); err != nil {
		t.Fatalf("Wait without keys = %v, want nil", err)
	}
}

func waitForAnyOfSeveral(t *trial) {
	names := []string{"one", "two", "three"}
	for _, free := range names {
		t.rounds(func() {
			for _, name := range names {
				t.acquire(t.a, name)
			}
			rival := t.start(t.b, names...)
			t.void(t.a, free)
			if got := t.granted(rival).Key(); got != free {
				t.Fatalf("a waiter for several keys got %q, but only %q became free", got, free)
			}
			t.void(t.a, names...)
		})
	}
}

func waitObeysContext(t *trial) {
	t.acquire(t.a, "key")
	t.acquire(t.a, "key 2")
	gone := errors.New("the caller has gone")
	for _, keys := range [][]string{{"key"}, {"key", "key 2"}} {
		ctx, cancel := context.WithCancelCause(t.ctx)
		done := make(chan error, 1)
		go func() {
			for range tooEarly {
				if err := t.b.Wait(ctx, keys...); err != nil {
					done <- err
					return
				}
			}
			done <- errors.New("nil again and again, while the leases are held")
		}()
		t.settle()
		cancel(gone)
		if err := <-done; !errors.Is(err, gone) {
			t.Fatalf("Wait whose ctx was cancelled = %v, want the cause %q", err, gone)
		}
	}

	// A waiter that left takes no wake-up with it.
	rival := t.start(t.b, "key")
	t.void(t.a, "key")
	t.granted(rival)
}
