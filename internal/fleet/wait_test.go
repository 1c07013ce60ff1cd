package fleet_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestWaitForNothing(t *testing.T) {
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	if err := m.Wait(t.Context()); err != nil {
		t.Errorf("Wait for no lock returned %v, want nil", err)
	}
	free, held := m.Prefix+"{free}", m.Prefix+"{held}"
	server.Do(t, "SET", held, stranger, "PX", "60000")
	for _, locks := range [][]string{{free}, {held, free}, {free, free}} {
		began := time.Now()
		if err := m.Wait(t.Context(), locks...); err != nil || time.Since(began) > soon {
			t.Errorf("Wait for %q returned %v after %v, want nil at once: one is free", locks, err, time.Since(began))
		}
	}
	if n := m.Subjects(); n != 0 {
		t.Errorf("%d locks are still known, want none: nobody waits", n)
	}
}

// However a lock becomes free, the server tells of it.
func TestWakeUp(t *testing.T) {
	server := redistest.Start(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	m, other := join(t, server.Client(t), cfg), join(t, server.Client(t), cfg)
	lock := cfg.Prefix + "{k}"
	for name, way := range map[string]struct {
		rounds int
		held   func() (free func() time.Time)
		want   time.Duration // of the fastest
	}{
		"deleted": {20, func() func() time.Time {
			server.Do(t, "SET", lock, stranger, "PX", "60000")
			return func() time.Time { began := time.Now(); server.Do(t, "DEL", lock); return began }
		}, 20 * time.Millisecond},
		"released": {20, func() func() time.Time {
			l := take(t, other, lock)
			return func() time.Time { began := time.Now(); _ = l.Release(t.Context()); return began }
		}, 20 * time.Millisecond},
		"released here": {20, func() func() time.Time {
			l := take(t, m, lock)
			return func() time.Time { began := time.Now(); _ = l.Release(t.Context()); return began }
		}, 20 * time.Millisecond},
		"flushed": {5, func() func() time.Time {
			server.Do(t, "SET", lock, stranger, "PX", "60000")
			return func() time.Time { began := time.Now(); server.Do(t, "FLUSHALL"); return began }
		}, 20 * time.Millisecond},
		// The server looks for what has expired ten times in a second.
		"expired": {3, func() func() time.Time {
			const ttl = 150
			began := time.Now()
			server.Do(t, "SET", lock, stranger, "PX", ttl)
			return func() time.Time { return began.Add(ttl * time.Millisecond) }
		}, 250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var took []time.Duration
			for range way.rounds {
				free := way.held()
				result := make(chan error, 1)
				if name == "expired" {
					go func() { result <- m.Wait(t.Context(), lock) }()
				} else {
					result = make(chan error, 1)
					w := wait(t, m, lock)
					stillWaiting(t, w)
					go func() { result <- <-w }()
				}
				since := free()
				took = append(took, woken(t, result, since))
			}
			slices.Sort(took)
			t.Logf("woken after %v, half of them within %v", took[0], took[len(took)/2])
			if took[0] < -20*time.Millisecond {
				t.Errorf("woken %v before the lock was free", -took[0])
			}
			if took[0] > way.want || took[len(took)-1] > soon {
				t.Errorf("woken after %v to %v, want %v at best and %v at worst", took[0], took[len(took)-1], way.want, soon)
			}
		})
	}
}

func TestWaitForAnyOfSeveral(t *testing.T) {
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	locks := []string{m.Prefix + "{a}", m.Prefix + "{b}", m.Prefix + "{c}"}
	for _, free := range locks {
		for _, lock := range locks {
			server.Do(t, "SET", lock, stranger, "PX", "60000")
		}
		result := wait(t, m, locks...)
		server.Do(t, "DEL", free)
		if took := woken(t, result, time.Now()); took > soon {
			t.Errorf("woken %v after %s was free, want at once", took, free)
		}
		if n := m.Subjects(); n != 0 {
			t.Errorf("%d locks are still known, want none: nobody waits", n)
		}
	}
}

// Changes of other locks, and renewals, wake nobody.
func TestNobodyIsWokenForNothing(t *testing.T) {
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	result := wait(t, m, lock)
	for range 20 {
		server.Do(t, "PEXPIRE", lock, "60000")
		server.Do(t, "SET", m.Prefix+"{other}", stranger)
		server.Do(t, "DEL", m.Prefix+"{other}")
	}
	server.Do(t, "SET", lock, "somebody else", "PX", "60000")
	caughtUp(t, m, server)
	eventually(t, "the lock was looked at", func() bool { return m.Waits(lock, 1) })
	stillWaiting(t, result)
	server.Do(t, "DEL", lock)
	woken(t, result, time.Now())
}

func TestWaitEndsWithItsContext(t *testing.T) {
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	reason := errors.New("the caller has left")

	ctx, cancel := context.WithCancelCause(t.Context())
	result := waits(t, ctx, m, 1, lock)
	cancel(reason)
	if err := returned(t, result); !errors.Is(err, reason) {
		t.Errorf("Wait returned %v, want the cause of its ctx", err)
	}
	if err := m.Wait(ctx, lock); !errors.Is(err, reason) {
		t.Errorf("Wait returned %v, want the cause of the ctx that had ended before", err)
	}
	late, cancelLate := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelLate()
	if err := m.Wait(late, lock); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait returned %v, want %v", err, context.DeadlineExceeded)
	}
	if n := m.Subjects(); n != 0 {
		t.Errorf("%d locks are still known, want none: nobody waits", n)
	}
}

func TestWaitEndsWithClose(t *testing.T) {
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	result := wait(t, m, lock)
	m.Close()
	if err := returned(t, result); !errors.Is(err, errClosed) {
		t.Errorf("Wait returned %v, want %v", err, errClosed)
	}
	if err := m.Wait(t.Context(), lock); !errors.Is(err, errClosed) {
		t.Errorf("Wait after Close returned %v, want %v", err, errClosed)
	}
	if l := m.Ask(t.Context(), "k", lock); l != nil {
		t.Errorf("Ask after Close returned a lease, want nil")
	}
}

// Whoever waits while the server is gone is told so, since nobody knows when a lock
// will be free.
func TestWaitWithoutServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	opt := server.Options()
	opt.MaxRetries, opt.ReadTimeout = -1, 200*time.Millisecond
	for _, way := range []string{"stopped", "killed"} {
		t.Run(way, func(t *testing.T) {
			m := join(t, clientOf(t, opt), fleet.Config{Prefix: redistest.Prefix(t)})
			if way == "stopped" {
				server.Stop(t)
				defer server.Continue(t)
			} else {
				server.Kill(t)
			}
			began := time.Now()
			err := m.Wait(t.Context(), m.Prefix+"{k}")
			if err == nil || errors.Is(err, errClosed) || time.Since(began) > 5*time.Second {
				t.Errorf("Wait returned %v after %v, want an error of the network soon", err, time.Since(began))
			}
		})
	}
}

// Who waits for a lock that a stranger holds sends nothing.
func TestWaitSendsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	const waiters = 100
	before := server.CommandsByName(t)
	looks := func() int64 {
		now := server.CommandsByName(t)
		return now["get"] + now["mget"] - before["get"] - before["mget"]
	}
	first := wait(t, m, lock)
	var all sync.WaitGroup
	for range waiters - 1 {
		all.Go(func() {
			if err := m.Wait(t.Context(), lock); err != nil {
				t.Errorf("Wait returned %v, want nil", err)
			}
		})
	}
	eventually(t, "all of them wait", func() bool { return m.Waits(lock, waiters) })
	if n := looks(); n != 1 {
		t.Errorf("%d looks at the lock that %d wait for, want 1", n, waiters)
	}

	sent := server.CommandsByName(t)
	time.Sleep(2 * time.Second) // the span that is counted, not one that is waited for
	now := server.CommandsByName(t)
	if n := sum(now) - sum(sent); n > 3 {
		t.Errorf("%d commands in 2 s of waiting, want 3 at most: before %v, after %v", n, sent, now)
	}
	stillWaiting(t, first)

	server.Do(t, "DEL", lock)
	woken(t, first, time.Now())
	all.Wait()
	if n := looks(); n != 2 {
		t.Errorf("%d looks to wake %d, want 1", n-1, waiters)
	}
}

func sum(calls map[string]int64) (n int64) {
	for _, c := range calls {
		n += c
	}
	return n
}

// Many who begin to wait at once are served by few looks.
func TestCrowdCostsFewLooks(t *testing.T) {
	server := redistest.Start(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	const waiters = 100
	var all sync.WaitGroup
	for range waiters {
		all.Go(func() { _ = m.Wait(t.Context(), lock) })
	}
	eventually(t, "all of them wait", func() bool { return m.Waits(lock, waiters) })
	now := server.CommandsByName(t)
	if n := now["get"] + now["mget"]; n > 5 {
		t.Errorf("%d looks at the lock that %d wait for, want few", n, waiters)
	}
	server.Do(t, "DEL", lock)
	all.Wait()
}

// Whoever was refused a lock and told whose it is has no need to ask again.
func TestWaitAfterRefusalSendsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	caughtUp(t, m, server)
	before := server.Commands(t)
	m.Ask(t.Context(), "k", lock).Refused(stranger)
	result := wait(t, m, lock)
	if n := server.Commands(t) - before; n != 0 {
		t.Errorf("%d commands for a Wait that follows a refusal, want none", n)
	}
	server.Do(t, "DEL", lock)
	woken(t, result, time.Now())
	// And nothing is kept for those who do not come.
	m.Ask(t.Context(), "k", lock).Refused(stranger)
	began := time.Now()
	eventually(t, "what was kept for a moment is gone", func() bool { return m.Subjects() == 0 })
	if took := time.Since(began); took > 2*soon {
		t.Errorf("what is kept for a moment was gone after %v, want half a second", took)
	}
}

// What happens to a lock between the question for it and the answer is not missed.
func TestChangeBetweenAskAndRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	d := newDetour(t, server, server.Options())
	m := d.join(t, fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	for _, change := range []struct {
		name string
		make func()
	}{
		{"deleted", func() { server.Do(t, "DEL", lock) }},
		{"flushed", func() { server.Do(t, "FLUSHALL") }},
		{"deleted while nobody could tell", func() {
			d.on.Store(true)
			d.Refuse(true)
			d.CutAll()
			eventually(t, "the connection is gone", func() bool { return !m.Tracking() })
			server.Do(t, "DEL", lock)
			d.Refuse(false)
			eventually(t, "the connection is back", m.Tracking)
		}},
	} {
		server.Do(t, "SET", lock, stranger, "PX", "60000")
		caughtUp(t, m, server)
		l := m.Ask(t.Context(), "k", lock)
		change.make()
		caughtUp(t, m, server)
		l.Refused(stranger) // an answer that is older than the change
		result := make(chan error, 1)
		began := time.Now()
		go func() { result <- m.Wait(t.Context(), lock) }()
		if took := woken(t, result, began); took > soon {
			t.Errorf("%s: Wait took %v, want it to find the lock free", change.name, took)
		}
	}
}
