package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/Yiling-J/theine-go"
	rediscache "github.com/go-redis/cache/v9"
	"github.com/jellydator/ttlcache/v3"
	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"
	"github.com/viccon/sturdyc"
)

// loadingOtter asks otter's loading Get.
func loadingOtter(tb testing.TB, s *source, options otter.Options[string, user]) hit {
	tb.Helper()
	options.MaximumSize = room(s)
	cache, err := otter.New(&options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { cache.StopAllGoroutines() })
	ctx, loader := context.Background(), otter.LoaderFunc[string, user](s.load)
	return func(i uint32) (user, error) { return cache.Get(ctx, s.keys[i], loader) }
}

// openOtterTTL is the rival that the budgets are set by: the fastest loading cache
// there is, with an expiration, which a region always has.
func openOtterTTL(tb testing.TB, s *source) hit {
	return loadingOtter(tb, s, otter.Options[string, user]{
		ExpiryCalculator: otter.ExpiryWriting[string, user](time.Hour),
	})
}

func openOtter(tb testing.TB, s *source) hit {
	return loadingOtter(tb, s, otter.Options[string, user]{})
}

func openOtterStats(tb testing.TB, s *source) hit {
	return loadingOtter(tb, s, otter.Options[string, user]{
		ExpiryCalculator: otter.ExpiryWriting[string, user](time.Hour),
		StatsRecorder:    stats.NewCounter(),
	})
}

func openTheine(tb testing.TB, s *source) hit {
	cache, err := theine.NewBuilder[string, user](int64(room(s))).BuildWithLoader(
		func(ctx context.Context, key string) (theine.Loaded[user], error) {
			u, err := s.load(ctx, key)
			return theine.Loaded[user]{Value: u, Cost: 1, TTL: time.Hour}, err
		})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cache.Close)
	ctx := context.Background()
	return func(i uint32) (user, error) { return cache.Get(ctx, s.keys[i]) }
}

func openSturdyc(tb testing.TB, s *source) hit {
	// Its continuous evictions are a goroutine that cannot be stopped.
	cache := sturdyc.New[user](room(s), 64, time.Hour, 10, sturdyc.WithNoContinuousEvictions())
	ctx, fetch := context.Background(), s.loadTurn
	return func(i uint32) (user, error) { return cache.GetOrFetch(ctx, s.keys[i], fetch) }
}

func openTTLCache(tb testing.TB, s *source) hit {
	ctx := context.Background()
	cache := ttlcache.New(
		ttlcache.WithCapacity[string, user](uint64(room(s))),
		ttlcache.WithTTL[string, user](time.Hour),
		ttlcache.WithDisableTouchOnHit[string, user](), // the others count from the write too
		ttlcache.WithLoader(ttlcache.LoaderFunc[string, user](
			func(cache *ttlcache.Cache[string, user], key string) *ttlcache.Item[string, user] {
				u, err := s.load(ctx, key)
				if err != nil {
					return nil
				}
				return cache.Set(key, u, ttlcache.DefaultTTL)
			})))
	return func(i uint32) (user, error) { return cache.Get(s.keys[i]).Value(), nil }
}

// openGoRedisCache uses the local cache alone, without Redis behind it.
func openGoRedisCache(tb testing.TB, s *source) hit {
	cache := rediscache.New(&rediscache.Options{LocalCache: rediscache.NewTinyLFU(room(s), time.Hour)})
	ctx := context.Background()
	load := func(item *rediscache.Item) (any, error) { return s.load(item.Context(), item.Key) }
	return func(i uint32) (u user, err error) {
		err = cache.Once(&rediscache.Item{Ctx: ctx, Key: s.keys[i], Value: &u, TTL: time.Hour, Do: load})
		return u, err
	}
}

// openSyncMap is the floor: no bound, no expiration.
func openSyncMap(tb testing.TB, s *source) hit {
	var m sync.Map
	ctx := context.Background()
	return func(i uint32) (user, error) {
		if v, ok := m.Load(s.keys[i]); ok {
			return v.(user), nil
		}
		u, err := s.load(ctx, s.keys[i])
		m.Store(s.keys[i], u)
		return u, err
	}
}

// openSlice is what the benchmark itself costs.
func openSlice(tb testing.TB, s *source) hit {
	users := make([]user, len(s.keys))
	ctx := context.Background()
	return func(i uint32) (user, error) {
		if users[i].Name == "" {
			users[i], _ = s.load(ctx, s.keys[i])
		}
		return users[i], nil
	}
}
