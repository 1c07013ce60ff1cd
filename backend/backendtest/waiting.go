package backendtest

import (
	"context"
	"errors"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/lock"
)

func waitWakes(t *trial) {
	ann := user("ann")
	for _, end := range []struct {
		how  string
		do   func(lock.Lease)
		left string
	}{
		{"publication", func(lease lock.Lease) { t.published(t.a, ann, lease, "published") }, "published"},
		{"release", func(lease lock.Lease) { t.release(lease) }, "old"},
		{"delete", func(lock.Lease) { t.delete(t.a, ann) }, says(nil)},
		{"set", func(lock.Lease) { t.set(t.a, ann, "set") }, "set"},
		{"item without entry", func(lease lock.Lease) { t.must(t.put(t.a, backend.Item{Key: ann, Lease: lease})) }, "old"},
	} {
		t.rounds(func() {
			t.set(t.a, ann, "old")
			lease := t.acquire(t.a, ann)
			rival := t.start(t.b, ann)
			end.do(lease)
			o := t.granted(rival)
			if got := says(o.grant.Entry); got != t.kept(end.left) {
				t.Fatalf("a waiter that was woken by a %s found %q, want %q", end.how, got, t.kept(end.left))
			}
			t.release(o.grant.Lease)
		})
	}
}

func waitForFreeKey(t *trial) {
	wait := func(keys ...backend.Key) {
		t.Helper()
		if err := t.b.Wait(t.ctx, keys); err != nil {
			t.Fatalf("Wait for a lease that is free = %v, want nil", err)
		}
	}
	wait(user("never held"))
	t.release(t.acquire(t.a, user("released")))
	wait(user("released"))
	t.published(t.a, user("published"), t.acquire(t.a, user("published")), "x")
	wait(user("published"))
	t.acquire(t.a, user("deleted"))
	t.delete(t.a, user("deleted"))
	wait(user("deleted"))

	t.acquire(t.a, user("held 1"))
	t.acquire(t.a, user("held 2"))
	wait(users("free", "held 1")...)
	wait(users("held 1", "free", "held 2")...)
	wait(users("held 1", "held 2", "free")...)
}

func waitForAnyOfSeveral(t *trial) {
	keys := users("one", "two", "three")
	for i := range keys {
		t.rounds(func() {
			grants := t.grants(t.a, keys...)
			rival := t.start(t.b, keys...)
			t.release(grants[i].Lease)
			o := t.granted(rival)
			if o.got != i {
				t.Fatalf("a waiter for several keys was granted key %d, but only key %d became free", o.got, i)
			}
			t.delete(t.a, keys...)
		})
	}
}

func waitObeysContext(t *trial) {
	t.grants(t.a, users("one", "two")...)
	gone := errors.New("the caller has gone")
	for _, keys := range [][]backend.Key{users("one"), users("one", "two")} {
		ctx, cancel := context.WithCancelCause(t.ctx)
		done := make(chan error, 1)
		go func() {
			for range tooEarly {
				if err := t.b.Wait(ctx, keys); err != nil {
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
}
