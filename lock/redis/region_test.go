package redis_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	backendredis "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock/redis"
	"github.com/dogpile-go/dogpile/region"
)

// TestRegions has two regions of one name, as two processes have them, decide with
// this Locker who creates.
func TestRegions(t *testing.T) {
	server := redistest.Shared(t)
	check := func(t *testing.T, prefix string, backends [2]backend.Backend, client func() goredis.UniversalClient) {
		var regions []*region.Region
		for _, b := range backends {
			r, err := region.New("users", region.Config{
				Backend:    b,
				Mutex:      open(t, client(), redis.Config{Prefix: prefix, TTL: never}),
				Expiration: time.Hour,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			regions = append(regions, r)
		}
		for _, key := range []string{"user:42", "", "}"} {
			// The creator returns only when everybody has asked.
			var asked, created atomic.Int32
			const callers = 20
			all := make(chan struct{})
			var waiting sync.WaitGroup
			for i := range callers {
				waiting.Go(func() {
					if asked.Add(1) == callers {
						close(all)
					}
					got, err := region.GetOrCreate(within(t), regions[i%2], key, func(context.Context) (int32, error) {
						n := created.Add(1)
						<-all
						return n, nil
					})
					if err != nil || got != 1 {
						t.Errorf("GetOrCreate(%q) = %d, %v; want 1, what the first creator returned", key, got, err)
					}
				})
			}
			waiting.Wait()
			if n := created.Load(); n != 1 {
				t.Errorf("%d creations of %q in two regions, want 1", n, key)
			}
		}
		if left := stored(t, server, prefix+":mutex"); len(left) > 0 {
			t.Errorf("locks are left: %q", left)
		}
	}
	t.Run("Memory", func(t *testing.T) {
		shared := memory.New(memory.Config{})
		check(t, space(t), [2]backend.Backend{shared, shared}, clients(t, server))
	})
	t.Run("Redis", func(t *testing.T) {
		prefix := space(t)
		b := func() backend.Backend {
			return backendredis.New(server.Client(t), backendredis.Config{Prefix: prefix})
		}
		check(t, prefix, [2]backend.Backend{b(), b()}, clients(t, server))
	})
}
