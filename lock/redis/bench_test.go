package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/bsm/redislock"

	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock/redis"
)

// BenchmarkLock takes and gives back a lease that nobody else wants, beside redislock
// on its own.
func BenchmarkLock(b *testing.B) {
	ctx := context.Background()
	server := redistest.Shared(b)
	b.Run("Locker", func(b *testing.B) {
		l := open(b, server.Client(b), redis.Config{})
		b.ReportAllocs()
		for b.Loop() {
			lease, err := l.TryAcquire(ctx, "key")
			if err != nil {
				b.Fatal(err)
			}
			if err := lease.Release(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("redislock", func(b *testing.B) {
		l := redislock.New(server.Client(b))
		key := space(b)
		b.ReportAllocs()
		for b.Loop() {
			held, err := l.Obtain(ctx, key, 10*time.Second, nil)
			if err != nil {
				b.Fatal(err)
			}
			if err := held.Release(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}
