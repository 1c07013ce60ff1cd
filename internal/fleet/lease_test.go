package fleet_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// A lease is renewed every third of its TTL for as long as it is held.
func TestRenewal(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const ttl = 600 * time.Millisecond
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t), TTL: ttl})
	l := take(t, m, m.Prefix+"{k}")
	time.Sleep(5 * ttl) // the span that is counted
	holds(t, server, l)
	if isLost(l) {
		t.Error("the lease is lost, want it to be held: it was renewed")
	}
	calls := server.CommandsByName(t)
	n := calls["pexpire"]
	t.Logf("%d renewals in %v", n, 5*ttl)
	if n < 10 || n > 17 {
		t.Errorf("%d renewals in five times the TTL, want 15", n)
	}
	if looks := calls["get"] - n - 1; looks > 0 { // and the one of holds
		t.Errorf("%d looks at the lock, want none: its changes are the holder's own doing", looks)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	n = server.CommandsByName(t)["pexpire"]
	time.Sleep(ttl) // likewise
	if more := server.CommandsByName(t)["pexpire"] - n; more > 0 {
		t.Errorf("%d renewals after Release, want none", more)
	}
}

// Whoever ends a lease, its holder learns of it at once.
func TestLost(t *testing.T) {
	server := redistest.Start(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	for name, end := range map[string]func(){
		"deleted":     func() { server.Do(t, "DEL", lock) },
		"overwritten": func() { server.Do(t, "SET", lock, stranger, "PX", "60000") },
		"flushed":     func() { server.Do(t, "FLUSHALL") },
		"expired":     func() { server.Do(t, "PEXPIRE", lock, "1") },
	} {
		t.Run(name, func(t *testing.T) {
			l := take(t, m, lock)
			bystander := take(t, m, m.Prefix+"{other}")
			caughtUp(t, m, server)
			if isLost(l) {
				t.Fatal("the lease is lost, want it to be held")
			}
			began := time.Now()
			end()
			if took := lost(t, l, began); took > soon {
				t.Errorf("Lost was closed after %v, want at once", took)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Errorf("Release of a lost lease returned %v, want nil", err)
			}
			if name == "overwritten" {
				if got := server.Do(t, "GET", lock); got != stranger {
					t.Errorf("after Release the lock holds %v, want %s, whose it is", got, stranger)
				}
			}
			if isLost(bystander) != (name == "flushed") {
				t.Errorf("the other lease is lost: %v", isLost(bystander))
			}
			_ = bystander.Release(t.Context())
			server.Do(t, "DEL", lock)
		})
	}
}

// A lease that cannot be renewed is lost when its TTL is over, and not before.
func TestLostWhileTheServerStands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const ttl = time.Second
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t), TTL: ttl})
	l := take(t, m, m.Prefix+"{k}")
	server.Stop(t)
	stopped := time.Now()
	took := lost(t, l, stopped)
	server.Continue(t)
	t.Logf("lost after %v", took)
	if took < ttl/2 || took > ttl+soon {
		t.Errorf("Lost was closed after %v, want %v", took, ttl)
	}
}

// A short stop costs no lease.
func TestServerStandsShortly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const ttl = 6 * time.Second
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t), TTL: ttl})
	l := take(t, m, m.Prefix+"{k}")
	server.Stop(t)
	time.Sleep(ttl / 2) // as long as the server stands
	server.Continue(t)
	renewed := server.CommandsByName(t)["pexpire"]
	eventually(t, "the lease was renewed", func() bool { return server.CommandsByName(t)["pexpire"] > renewed || isLost(l) })
	if isLost(l) {
		t.Errorf("the lease is lost, want it to be held: the server stood for half its TTL")
	}
	holds(t, server, l)
}

// A renewal that failed does not keep the holder from learning what others do.
func TestLostAfterAFailedRenewal(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t), TTL: 6 * time.Second}
	var calls atomic.Int64
	second := make(chan struct{})
	cfg.Refresh = func(_ context.Context, leases []*fleet.Lease) []error {
		outcomes := make([]error, len(leases))
		switch calls.Add(1) {
		case 1:
			for i := range leases {
				outcomes[i] = errors.New("the network is gone")
			}
			return outcomes
		case 2:
			defer close(second)
		}
		for i, l := range leases {
			if server.Do(t, "PEXPIRE", l.Lock(), cfg.TTL.Milliseconds()) == int64(0) {
				outcomes[i] = fleet.ErrGone
			}
		}
		return outcomes
	}
	m := join(t, server.Client(t), cfg)
	l := take(t, m, m.Prefix+"{k}")
	<-second
	caughtUp(t, m, server)
	if isLost(l) {
		t.Fatal("the lease is lost, want it to be held: it was renewed at the second attempt")
	}
	began := time.Now()
	server.Do(t, "DEL", l.Lock())
	if took := lost(t, l, began); took > time.Second {
		t.Errorf("Lost was closed after %v, want at once", took)
	}
}

// A lease that its holder has ended is not lost.
func TestNotLost(t *testing.T) {
	server := redistest.Start(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	for name, end := range map[string]func(l *fleet.Lease){
		"released": func(l *fleet.Lease) {
			if err := l.Release(t.Context()); err != nil {
				t.Errorf("Release returned %v, want nil", err)
			}
		},
		"released after its ctx had ended": func(l *fleet.Lease) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := l.Release(ctx); err != nil {
				t.Errorf("Release returned %v, want nil", err)
			}
		},
		"ended by storing": func(l *fleet.Lease) {
			if !l.End() {
				t.Error("End returned false, want true: the lease is held")
			}
			if l.End() {
				t.Error("the second End returned true, want false: something ends it already")
			}
			server.Do(t, "DEL", lock)
			l.Ended(nil)
		},
	} {
		l := take(t, m, lock)
		if l.Key() != "the key of "+lock || l.Lock() != lock || l.Member() != m || m.Lease(lock, l.Token()) != l {
			t.Errorf("%s: the lease does not know what it is of", name)
		}
		end(l)
		if got := server.Do(t, "GET", lock); got != nil {
			t.Errorf("%s: the lock holds %v, want it to be free", name, got)
		}
		server.Do(t, "SET", lock, stranger, "PX", "60000")
		server.Do(t, "DEL", lock)
		caughtUp(t, m, server)
		if isLost(l) {
			t.Errorf("%s: the lease is lost, want it not to be: its holder ended it", name)
		}
		if err := l.Release(t.Context()); err != nil || l.End() || m.Lease(lock, l.Token()) != nil {
			t.Errorf("%s: the lease is not over, Release returned %v", name, err)
		}
	}
	if n := m.Subjects(); n != 0 {
		t.Errorf("%d locks are still known, want none", n)
	}
}

// What came of ending a lease is what its owner says.
func TestEnded(t *testing.T) {
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"

	l := take(t, m, lock)
	l.End()
	l.Ended(fleet.ErrGone)
	if !isLost(l) {
		t.Error("the lease is not lost, want it to be: its token was not there")
	}
	server.Do(t, "DEL", lock)

	l = take(t, m, lock)
	l.End()
	l.Ended(errors.New("the network is gone"))
	caughtUp(t, m, server)
	if isLost(l) || !l.End() {
		t.Error("the lease is not held, want it to be: its lock has its token")
	}
	server.Do(t, "DEL", lock) // the command had been executed, though its answer was lost
	caughtUp(t, m, server)
	began := time.Now()
	l.Ended(errors.New("the network is gone"))
	if took := lost(t, l, began); took > soon {
		t.Errorf("Lost was closed after %v, want it to be found out at once", took)
	}
}

// An attempt that was given up leaves no lock.
func TestAbandon(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	opt := server.Options()
	opt.ReadTimeout = 200 * time.Millisecond // what may still come is waited for twice as long
	m := join(t, clientOf(t, opt), fleet.Config{Prefix: redistest.Prefix(t)})
	lock := m.Prefix + "{k}"
	l := m.Ask(t.Context(), "k", lock)
	server.Do(t, "SET", lock, l.Token(), "PX", "60000")
	l.Abandon()
	eventually(t, "the lock is free", func() bool { return server.Do(t, "EXISTS", lock) == int64(0) })
	eventually(t, "nothing is kept of it", func() bool { return m.Subjects() == 0 })

	l = m.Ask(t.Context(), "k", lock)
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	l.Abandon()
	eventually(t, "nothing is kept of it", func() bool { return m.Subjects() == 0 })
	if got := server.Do(t, "GET", lock); got != stranger {
		t.Errorf("the lock holds %v, want %s, whose it is", got, stranger)
	}
}

// Release does not wait for ever for a server that does not answer, which is asked again.
func TestReleaseWhileTheServerStands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	opt := server.Options()
	opt.MaxRetries, opt.ReadTimeout = -1, 200*time.Millisecond
	m := join(t, clientOf(t, opt), fleet.Config{Prefix: redistest.Prefix(t), TTL: 20 * time.Second})
	lock := m.Prefix + "{k}"
	l := take(t, m, lock)
	server.Stop(t)
	began := time.Now()
	err := l.Release(t.Context())
	took := time.Since(began)
	server.Continue(t)
	if err != nil || took > soon {
		t.Errorf("Release returned %v after %v, want nil soon", err, took)
	}
	eventually(t, "the lock is free", func() bool { return server.Do(t, "EXISTS", lock) == int64(0) })
	eventually(t, "nothing is kept of it", func() bool { return m.Subjects() == 0 })
	if isLost(l) {
		t.Error("the lease is lost, want it not to be: its holder ended it")
	}
}

// Nor is it lost if nobody managed to give it back.
func TestNotLostThoughNotGivenBack(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	m := join(t, server.Client(t), fleet.Config{
		Prefix:  redistest.Prefix(t),
		TTL:     300 * time.Millisecond,
		Release: func(context.Context, []*fleet.Lease) error { return errors.New("the network is gone") },
	})
	l := take(t, m, m.Prefix+"{k}")
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("Release returned %v, want nil", err)
	}
	eventually(t, "it was given up", func() bool { return m.Lease(l.Lock(), l.Token()) == nil })
	if isLost(l) {
		t.Error("the lease is lost, want it not to be: its holder ended it")
	}
}
