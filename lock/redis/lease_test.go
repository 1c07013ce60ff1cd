package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/redis"
)

// never is a TTL after which no test waits: what happens, happens for another reason.
const never = 10 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

func redistestWithPassword(t testing.TB) *redistest.Server {
	t.Helper()
	return redistest.Start(t, "--requirepass", "secret")
}

// TestRenewal holds a lease for five TTLs, while a rival tries and waits for it.
func TestRenewal(t *testing.T) {
	const ttl = 400 * time.Millisecond
	server := redistest.Shared(t)
	a, b := pair(t, clients(t, server), redis.Config{TTL: ttl})
	lease := acquire(t, a, "key")
	ctx, cancel := context.WithTimeout(t.Context(), 5*ttl)
	defer cancel()
	if _, err := obtain(ctx, b, "key"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a rival got the lease (%v) within five TTLs, though its holder lives", err)
	}
	if isLost(lease) {
		t.Fatal("the holder was told that its lease is lost")
	}
	if err := lease.Release(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := obtain(within(t), b, "key"); err != nil {
		t.Fatalf("after the release: %v", err)
	}
}

// TestRenewalOfMany holds more leases than are renewed at once.
func TestRenewalOfMany(t *testing.T) {
	const ttl = time.Second
	proxy, client := behind(t, redistest.Shared(t))
	l := open(t, client, redis.Config{TTL: ttl})
	var leases []lock.Lease
	for i := range 600 {
		leases = append(leases, acquire(t, l, fmt.Sprint("key ", i)))
	}
	proxy.Delay(time.Millisecond) // one after the other they would take longer than a TTL
	<-time.After(3 * ttl)
	for _, lease := range leases {
		if isLost(lease) {
			t.Fatalf("the lease of %q was lost, though its holder lives", lease.Key())
		}
	}
}

// TestLoss wants the holder to be told at once, not only when it renews.
func TestLoss(t *testing.T) {
	for name, c := range map[string][]any{
		"Deleted":     {"DEL", "{name}"},
		"Expired":     {"PEXPIRE", "{name}", 1},
		"Overwritten": {"SET", "{name}", "another token"},
		"Emptied":     {"SET", "{name}", ""},
		"OtherType":   {"EVAL", "redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'a', 'b')", 1, "{name}"},
		"Flushed":     {"FLUSHALL"},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Shared(t)
			if name == "Flushed" {
				server = redistest.Start(t)
			}
			prefix := space(t)
			a := open(t, server.Client(t), redis.Config{Prefix: prefix, TTL: never})
			b := open(t, server.Client(t), redis.Config{Prefix: prefix, TTL: never})
			lease, other := acquire(t, a, "key"), acquire(t, b, "other")
			lockName := prefix + ":mutex:{key}"
			command := append([]any{}, c...)
			for i := range command {
				if command[i] == "{name}" {
					command[i] = lockName
				}
			}
			server.Do(t, command...)
			awaitLoss(t, lease, name)
			if name != "Flushed" && isLost(other) {
				t.Error("a lease was lost that nobody touched")
			}
			if err := lease.Release(within(t)); err != nil {
				t.Errorf("Release of a lost lease = %v, want nil", err)
			}
			if name == "Overwritten" {
				if got := server.Do(t, "GET", lockName); got != "another token" {
					t.Errorf("releasing a lost lease has changed the lock to %v", got)
				}
				refused(t, b, "key")
			}
		})
	}
}

// TestLossWithoutPush wants the holder to be told when it renews where the server does
// not tell of changes, and not only when its TTL is over.
func TestLossWithoutPush(t *testing.T) {
	const ttl = 6 * time.Second
	server := redistest.Start(t)
	l := open(t, poller(t, server), redis.Config{Prefix: "p", TTL: ttl, Logger: quiet})
	began := time.Now()
	lease := acquire(t, l, "key")
	server.Do(t, "DEL", "p:mutex:{key}")
	awaitLoss(t, lease, "its lock was deleted")
	if took := time.Since(began); took >= ttl {
		t.Errorf("the loss was told after %v, want less than the TTL of %v", took, ttl)
	}
}

// TestShortTTL is one that is shorter than a round trip: an attempt takes as long as
// its caller allows, not as long as the lease will last.
func TestShortTTL(t *testing.T) {
	proxy, client := behind(t, redistest.Shared(t))
	l := open(t, client, redis.Config{TTL: time.Millisecond})
	if err := acquire(t, l, "warm").Release(within(t)); err != nil {
		t.Fatal(err)
	}
	proxy.Delay(50 * time.Millisecond)
	lease, err := l.TryAcquire(context.Background(), "key")
	if err != nil {
		t.Fatalf("TryAcquire = %v, want the lease, however short", err)
	}
	awaitLoss(t, lease, "its TTL is over")
}

// TestServerStops is a server that does not answer for longer than a TTL: the holder
// cannot know that nobody else has its lock by now.
func TestServerStops(t *testing.T) {
	server := redistest.Start(t)
	a, b := pair(t, clients(t, server), redis.Config{TTL: 500 * time.Millisecond})
	lease := acquire(t, a, "key")
	server.Stop(t)
	awaitLoss(t, lease, "its server has not answered for a TTL")
	server.Continue(t)
	if _, err := obtain(within(t), b, "key"); err != nil {
		t.Errorf("a rival after the server was back: %v", err)
	}
}

// TestScriptFlush locks while the server forgets its scripts all the time.
func TestScriptFlush(t *testing.T) {
	server := redistest.Start(t)
	a, b := pair(t, clients(t, server), redis.Config{TTL: 2 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	var flushing, locking sync.WaitGroup
	flusher := server.Client(t)
	flushing.Go(func() {
		for ctx.Err() == nil {
			if err := flusher.ScriptFlush(context.Background()).Err(); err != nil {
				t.Errorf("SCRIPT FLUSH: %v", err)
				return
			}
		}
	})
	deadline := within(t)
	for i, l := range []*redis.Locker{a, b, a, b, a, b, a, b} {
		locking.Go(func() {
			for turn := range 100 {
				lease, err := obtain(deadline, l, fmt.Sprint("key ", (i+turn)%3))
				if err != nil {
					t.Errorf("an error while scripts are flushed: %v", err)
					return
				}
				if err := lease.Release(deadline); err != nil {
					t.Errorf("Release while scripts are flushed: %v", err)
				}
			}
		})
	}
	locking.Wait()
	cancel()
	flushing.Wait()
	if stats := server.Do(t, "INFO", "errorstats").(string); !strings.Contains(stats, "errorstat_NOSCRIPT") {
		t.Errorf("the server always knew the scripts, so nothing was tested: %q", stats)
	}
}

// TestRoundTrips wants one command for an attempt, whatever comes of it, and one for
// a release.
func TestRoundTrips(t *testing.T) {
	server := redistest.Start(t)
	a, b := pair(t, clients(t, server), redis.Config{TTL: never})
	for _, l := range []*redis.Locker{a, b} { // the server learns the scripts, the Lockers that it tells of changes
		if err := acquire(t, l, "warm").Release(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	before := server.CommandsByName(t)
	lease := acquire(t, a, "key")
	refused(t, b, "key")
	refused(t, b, "key")
	if err := lease.Release(within(t)); err != nil {
		t.Fatal(err)
	}
	after := server.CommandsByName(t)
	if got := after["evalsha"] - before["evalsha"]; got != 4 {
		t.Errorf("%d scripts for an acquisition, two refusals and a release; want 4", got)
	}
	for _, name := range []string{"eval", "script|load"} {
		if got := after[name] - before[name]; got != 0 {
			t.Errorf("%d %s besides", got, strings.ToUpper(name))
		}
	}
}

func TestTheClientStaysOpen(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	l := open(t, client, redis.Config{})
	acquire(t, l, "key")
	if n := listeners(t, server); n != 1 {
		t.Fatalf("%d connections are told of changes while the Locker is open, want 1", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(within(t)).Err(); err != nil {
		t.Errorf("PING with the client of a closed Locker = %v, want nil", err)
	}
	deadline := within(t)
	for listeners(t, server) > 0 {
		if deadline.Err() != nil {
			t.Fatal("the connection of a closed Locker is still there")
		}
	}
	if left := stored(t, server, ""); len(left) > 0 {
		t.Errorf("a closed Locker has left %q", left)
	}
}

// listeners returns how many connections the server tells of changes.
func listeners(t *testing.T, server *redistest.Server) (n int) {
	t.Helper()
	for line := range strings.Lines(server.Do(t, "CLIENT", "LIST").(string)) {
		_, flags, _ := strings.Cut(line, " flags=")
		flags, _, _ = strings.Cut(flags, " ")
		if strings.ContainsAny(flags, "tB") {
			n++
		}
	}
	return n
}

// disobedient returns a client that ignores deadlines, as go-redis makes them by
// default.
func disobedient(t testing.TB, server *redistest.Server) *goredis.Client {
	opt := server.Options()
	opt.ContextTimeoutEnabled = false
	client := goredis.NewClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// poller returns a client of a user to whom the server does not tell of changes.
func poller(t testing.TB, server *redistest.Server) *goredis.Client {
	t.Helper()
	server.Do(t, "ACL", "SETUSER", "poller", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
	opt := server.Options()
	opt.Username, opt.Password = "poller", "secret"
	client := goredis.NewClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
