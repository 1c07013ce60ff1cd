package locktest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/lock"
)

// patience is how long an event may take that has to happen. Only a failing test
// ever waits that long; in a bubble it passes at once.
const patience = 20 * time.Second

// tooEarly is how many times Wait may return early: it is allowed, but whoever
// calls it in a loop must not be kept busy.
const tooEarly = 100_000

// trial is one subtest: two sides of one lock space, which are the same Locker in
// a suite started with Run.
type trial struct {
	*testing.T
	*suite
	a, b lock.Locker
	ctx  context.Context // ends with the suite's patience
}

func (s *suite) begin(t *testing.T) *trial {
	t.Helper()
	a, b := s.open(t)
	if a == nil || b == nil {
		t.Fatal("open returned no Locker")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(func() {
		cancel()
		for _, l := range []lock.Locker{a, b} {
			if err := l.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return &trial{T: t, suite: s, a: a, b: b, ctx: ctx}
}

// acquire takes the lease of a key that nobody holds.
func (t *trial) acquire(l lock.Locker, key string) lock.Lease {
	t.Helper()
	lease, err := l.TryAcquire(t.ctx, key)
	if err != nil || lease == nil {
		t.Fatalf("TryAcquire(%s) = %v, %v; want the lease, because nobody holds it", brief(key), lease, err)
	}
	return lease
}

// refused checks that the lease of key is held by somebody else.
func (t *trial) refused(l lock.Locker, key string) {
	t.Helper()
	if lease, err := l.TryAcquire(t.ctx, key); !errors.Is(err, lock.ErrHeld) || lease != nil {
		t.Fatalf("TryAcquire(%s) = %v, %v; want lock.ErrHeld, because the lease is held", brief(key), lease, err)
	}
}

func (t *trial) release(lease lock.Lease) {
	t.Helper()
	if err := lease.Release(t.ctx); err != nil {
		t.Fatalf("Release: %v", err)
	}
}

func (t *trial) void(l lock.Locker, keys ...string) {
	t.Helper()
	if err := l.Void(t.ctx, keys...); err != nil {
		t.Fatalf("Void: %v", err)
	}
}

// lost waits until the holder of lease has been told of its loss.
func (t *trial) lost(lease lock.Lease) {
	t.Helper()
	select {
	case <-lease.Lost():
	case <-t.ctx.Done():
		t.Fatalf("the holder of %s was not told that its lease is lost", brief(lease.Key()))
	}
}

// notLost checks that the holder of lease has not been told of a loss.
func (t *trial) notLost(lease lock.Lease) {
	t.Helper()
	t.settle()
	select {
	case <-lease.Lost():
		t.Fatalf("Lost of %s is closed, but its lease was not lost", brief(lease.Key()))
	default:
	}
}

// settle lets every other goroutine of the bubble run until it sleeps. Outside a
// bubble nobody can know that, and what follows has to hold in any order.
func (t *trial) settle() {
	if t.bubble {
		synctest.Wait()
	}
}

// obtain is what a rival does: it tries all of keys and waits until it is granted
// one. Wait may return early, so it is called as often as it takes.
func (t *trial) obtain(l lock.Locker, keys ...string) (lock.Lease, error) {
	for range tooEarly {
		for _, key := range keys {
			lease, err := l.TryAcquire(t.ctx, key)
			if !errors.Is(err, lock.ErrHeld) {
				return lease, err
			}
		}
		if err := l.Wait(t.ctx, keys...); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("again and again Wait returns while the lease is held")
}

// outcome is what a goroutine of a test came back with.
type outcome struct {
	lease lock.Lease
	err   error
	after time.Duration // virtual time that passed meanwhile, in a bubble
}

// start runs obtain in a goroutine that, in a bubble, sleeps already when start
// returns.
func (t *trial) start(l lock.Locker, keys ...string) <-chan outcome {
	began := time.Now()
	done := make(chan outcome, 1)
	go func() {
		lease, err := t.obtain(l, keys...)
		done <- outcome{lease, err, time.Since(began)}
	}()
	t.settle()
	return done
}

// granted waits for a rival that start has sent off and returns its lease.
func (t *trial) granted(rival <-chan outcome) lock.Lease {
	t.Helper()
	o := <-rival
	if o.err != nil || o.lease == nil {
		t.Fatalf("a waiter got %v, %v; want the lease that became free", o.lease, o.err)
	}
	if t.bubble && o.after != 0 {
		t.Fatalf("a waiter woke %v after the lease was free; want at once", o.after)
	}
	return o.lease
}

// rounds repeats f, because outside a bubble only repetition meets the order of
// events in which a waiter sleeps already.
func (t *trial) rounds(f func()) {
	n := 25
	if t.bubble {
		n = 1
	}
	for range n {
		f()
	}
}

// brief renders a key for a message.
func brief(key string) string {
	if len(key) > 40 {
		return fmt.Sprintf("%.20q… (%d bytes)", key, len(key))
	}
	return fmt.Sprintf("%q", key)
}
