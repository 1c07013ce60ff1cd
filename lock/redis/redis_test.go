package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/locktest"
	"github.com/dogpile-go/dogpile/lock/redis"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{"hold": hold})
	goleak.VerifyTestMain(redistest.WithShared(m))
}

// patience is how long an event may take that has to happen.
const patience = 20 * time.Second

// space returns a prefix that no other test has.
func space(t testing.TB) string { return strings.TrimSuffix(redistest.Prefix(t), ":") }

// open returns a Locker that is closed with the test.
func open(t testing.TB, client goredis.UniversalClient, cfg redis.Config) *redis.Locker {
	t.Helper()
	if cfg.Prefix == "" {
		cfg.Prefix = space(t)
	}
	l := redis.New(client, cfg)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	})
	return l
}

// pair returns two Lockers of one prefix, as two processes have them.
func pair(t testing.TB, client func() goredis.UniversalClient, cfg redis.Config) (a, b *redis.Locker) {
	t.Helper()
	cfg.Prefix = space(t)
	return open(t, client(), cfg), open(t, client(), cfg)
}

func clients(t testing.TB, server *redistest.Server) func() goredis.UniversalClient {
	return func() goredis.UniversalClient { return server.Client(t) }
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func acquire(t testing.TB, l *redis.Locker, key string) lock.Lease {
	t.Helper()
	lease, err := l.TryAcquire(within(t), key)
	if err != nil {
		t.Fatalf("TryAcquire(%.40q) = %v, want the lease, because nobody holds it", key, err)
	}
	return lease
}

func refused(t testing.TB, l *redis.Locker, key string) {
	t.Helper()
	if _, err := l.TryAcquire(within(t), key); !errors.Is(err, lock.ErrHeld) {
		t.Fatalf("TryAcquire(%.40q) = %v, want lock.ErrHeld", key, err)
	}
}

// obtain waits for the lease of key.
func obtain(ctx context.Context, l *redis.Locker, key string) (lock.Lease, error) {
	for {
		lease, err := l.TryAcquire(ctx, key)
		if !errors.Is(err, lock.ErrHeld) {
			return lease, err
		}
		if err := l.Wait(ctx, key); err != nil {
			return nil, err
		}
	}
}

func awaitLoss(t testing.TB, lease lock.Lease, why string) {
	t.Helper()
	select {
	case <-lease.Lost():
	case <-within(t).Done():
		t.Fatalf("the holder was not told within %v that its lease is lost: %s", patience, why)
	}
}

func isLost(lease lock.Lease) bool {
	select {
	case <-lease.Lost():
		return true
	default:
		return false
	}
}

func TestConformance(t *testing.T) {
	t.Run("Standalone", func(t *testing.T) {
		server := redistest.Shared(t)
		locktest.RunPair(t, func(t *testing.T) (a, b lock.Locker) {
			return pair(t, clients(t, server), redis.Config{})
		})
	})
	t.Run("OneSide", func(t *testing.T) {
		server := redistest.Shared(t)
		locktest.Run(t, func(t *testing.T) lock.Locker { return open(t, server.Client(t), redis.Config{}) })
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		locktest.RunPair(t, func(t *testing.T) (a, b lock.Locker) {
			return pair(t, func() goredis.UniversalClient { return cluster.Client(t) }, redis.Config{})
		})
	})
	t.Run("ClusterOneSide", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		locktest.Run(t, func(t *testing.T) lock.Locker { return open(t, cluster.Client(t), redis.Config{}) })
	})
	// A user who may not have changes pushed: those who wait poll, and a holder
	// learns of a loss when it renews.
	t.Run("Polling", func(t *testing.T) {
		server := redistest.Start(t)
		locktest.RunPair(t, func(t *testing.T) (a, b lock.Locker) {
			return pair(t, func() goredis.UniversalClient { return poller(t, server) },
				redis.Config{TTL: 2 * time.Second, Logger: quiet})
		})
	})
}
