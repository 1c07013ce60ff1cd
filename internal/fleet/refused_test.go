package fleet_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// warnings counts what a Logger is told.
type warnings struct {
	slog.Handler
	n atomic.Int64
}

func newWarnings() *warnings { return &warnings{Handler: slog.DiscardHandler} }

func (w *warnings) Enabled(context.Context, slog.Level) bool { return true }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		w.n.Add(1)
	}
	return nil
}

// Where the server does not tell of changes, locks are polled, and all else works.
func TestPolling(t *testing.T) {
	for name, way := range map[string]struct {
		rules []any    // of the user, who may do everything else
		args  []string // of the server
	}{
		"no CLIENT TRACKING": {rules: []any{"&*", "-client|tracking"}},
		"no channels":        {rules: []any{"resetchannels"}},
		"no SUBSCRIBE":       {rules: []any{"&*", "-subscribe"}},
		"no HELLO":           {args: []string{"--rename-command", "HELLO", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, way.args...)
			opt := server.Options()
			if way.rules != nil {
				server.Do(t, append([]any{"ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all"}, way.rules...)...)
				opt = userOf(server, "limited")
			}
			told := newWarnings()
			var connections atomic.Int64
			opt.OnConnect = func(context.Context, *redis.Conn) error { connections.Add(1); return nil }
			m := attend(t, clientOf(t, opt), fleet.Config{Prefix: redistest.Prefix(t), Logger: slog.New(told)})
			m.Settle(t.Context())
			if m.Tracking() {
				t.Fatal("Tracking returned true, want false: the server tells nothing")
			}

			lock := m.Prefix + "{k}"
			fastest := time.Hour
			for range 10 {
				server.Do(t, "SET", lock, stranger, "PX", "60000")
				result := wait(t, m, lock)
				time.Sleep(100 * time.Millisecond) // as late as polls become
				stillWaiting(t, result)
				server.Do(t, "DEL", lock)
				took := woken(t, result, time.Now())
				if fastest = min(fastest, took); took > soon {
					t.Errorf("woken after %v, want it to be polled every 50 ms at least", took)
				}
			}
			if fastest > 60*time.Millisecond {
				t.Errorf("woken after %v at best, want 60 ms at most", fastest)
			}

			// One asks for all of them.
			server.Do(t, "SET", lock, stranger, "PX", "60000")
			const waiters = 100
			var all sync.WaitGroup
			for range waiters {
				all.Go(func() { _ = m.Wait(t.Context(), lock) })
			}
			eventually(t, "all of them wait", func() bool { return m.Waits(lock, waiters) })
			polls := func() int64 {
				calls := server.CommandsByName(t)
				return calls["get"] + calls["mget"]
			}
			before, began := polls(), time.Now()
			time.Sleep(time.Second) // the span that is counted
			n, span := polls()-before, time.Since(began)
			t.Logf("%d polls in %v for %d waiters", n, span, waiters)
			if most := int64(span/(50*time.Millisecond)) + 10; n < 5 || n > most {
				t.Errorf("%d polls in %v for %d waiters of one lock, want up to %d: they become one in 50 ms", n, span, waiters, most)
			}
			server.Do(t, "DEL", lock)
			all.Wait()

			// Leases work, of which nobody can see whether the holder lives.
			l := take(t, m, lock)
			if l.Token()[16] != '-' {
				t.Errorf("the token is %s, want one that says that nobody can see whether its process lives", l.Token())
			}
			result := wait(t, m, lock)
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
			woken(t, result, time.Now())

			if n := told.n.Load(); n != 1 {
				t.Errorf("the user was told %d times, want once", n)
			}
			// It tries again, but not without rest.
			tries, began := connections.Load(), time.Now()
			// A command may need a connection as well, so some are let go.
			eventually(t, "it has tried some times more", func() bool { return connections.Load() > tries+5 })
			if took := time.Since(began); took < refusedBackoff {
				t.Errorf("it has made 6 connections within %v, want %v between two attempts", took, refusedBackoff)
			}
			if n := told.n.Load(); n != 1 {
				t.Errorf("the user was told %d times, want once, however often it is tried", n)
			}
		})
	}
}

// A server that tells again, as when the user's rights were mended, is listened to.
func TestTrackingIsAllowedLater(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
	m := attend(t, clientOf(t, userOf(server, "limited")), fleet.Config{Prefix: redistest.Prefix(t)})
	m.Settle(t.Context())
	if m.Tracking() {
		t.Fatal("Tracking returned true, want false: the user may not track")
	}
	lock := m.Prefix + "{k}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	result := wait(t, m, lock)
	server.Do(t, "ACL", "SETUSER", "limited", "+client|tracking")
	eventually(t, "the server tells of changes", m.Tracking)
	stillWaiting(t, result)
	server.Do(t, "DEL", lock)
	woken(t, result, time.Now())
}

// Who may not publish, or not ask who is subscribed, is told of changes all the same, and
// keeps its one connection.
func TestFewRights(t *testing.T) {
	for name, way := range map[string]struct {
		rule string
		sign byte // in tokens
	}{
		"no PUBLISH": {"-publish", '+'},
		"no PUBSUB":  {"-pubsub", '-'},
		"no EVAL":    {"-eval", '-'},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			server.Do(t, "ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", way.rule)
			opt := userOf(server, "limited")
			var connections atomic.Int64
			opt.OnConnect = func(context.Context, *redis.Conn) error { connections.Add(1); return nil }
			told := newWarnings()
			cfg := fleet.Config{Prefix: redistest.Prefix(t), Logger: slog.New(told)}
			m := join(t, clientOf(t, opt), cfg)
			l := take(t, join(t, server.Client(t), cfg), cfg.Prefix+"{k}")
			result := wait(t, m, l.Lock())
			before := connections.Load()
			time.Sleep(2 * time.Second) // the span in which connections are counted
			if n := connections.Load() - before; n > 1 {
				t.Errorf("%d new connections in 2 s, want the first ones to live", n)
			}
			stillWaiting(t, result)
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
			if took := woken(t, result, time.Now()); took > soon {
				t.Errorf("woken after %v, want at once", took)
			}
			own := take(t, m, cfg.Prefix+"{own}")
			if own.Token()[16] != way.sign {
				t.Errorf("the token is %s, want the sign %c in it", own.Token(), way.sign)
			}
			if n := told.n.Load(); n != 0 {
				t.Errorf("the user was told %d times that locks are polled, want never", n)
			}
			// A lock of one that is dead ends with its TTL, or before.
			dead := cfg.Prefix + "{dead}"
			server.Do(t, "SET", dead, fleet.DeadToken(), "PX", "1500")
			began := time.Now()
			if took := woken(t, wait(t, m, dead), began); took > 1500*time.Millisecond+soon {
				t.Errorf("woken after %v, want it at the end of the TTL at the latest", took)
			}
		})
	}
}
