package bench

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/region"
)

// onMemcached are the contestants on memcached. All of them talk to one server, each with
// a client of its own, and with keys of its own.
var onMemcached = []contestant{
	{"region.GetOrCreate", func(tb testing.TB, s *source) hit { return getOrCreate(openOnMemcached(tb), s) }},
	{"region.Cached_int64", func(tb testing.TB, s *source) hit {
		ctx, cached := context.Background(), region.Cached(openOnMemcached(tb), s.loadID)
		return func(i uint32) (user, error) { return cached(ctx, int64(i)) }
	}},
	{"gomemcache_Get", openMemcachedGet},
	{"gomemcache_GetMulti", openMemcachedGetMulti},
}

func openOnMemcached(tb testing.TB) *region.Region {
	tb.Helper()
	b, err := backend.Open(memcachedtest.Shared(tb, 1)[0].URL() + "?prefix=" + newPrefix())
	if err != nil {
		tb.Fatal(err)
	}
	return openOn(tb, b)
}

func onGomemcache(tb testing.TB, s *source) (*byHand, *memcache.Client) {
	tb.Helper()
	client := memcache.New(memcachedtest.Shared(tb, 1)[0].Addr)
	client.MaxIdleConns = callers
	tb.Cleanup(func() { _ = client.Close() })
	return &byHand{
		source: s,
		prefix: newPrefix() + ":",
		get: func(_ context.Context, key string) ([]byte, error) {
			item, err := client.Get(key)
			if errors.Is(err, memcache.ErrCacheMiss) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return item.Value, nil
		},
		set: func(_ context.Context, key string, value []byte) error {
			return client.Set(&memcache.Item{Key: key, Value: value, Expiration: int32(time.Hour / time.Second)})
		},
	}, client
}

// openMemcachedGet is the rival that the budget is set by: one Get.
func openMemcachedGet(tb testing.TB, s *source) hit {
	c, _ := onGomemcache(tb, s)
	return c.hit()
}

// openMemcachedGetMulti reads a second, short key with each value, as everybody has to
// who wants to invalidate many values at once.
func openMemcachedGetMulti(tb testing.TB, s *source) hit {
	c, client := onGomemcache(tb, s)
	second := c.prefix + "stamp"
	if err := c.set(context.Background(), second, make([]byte, 24)); err != nil {
		tb.Fatal(err)
	}
	c.get = func(_ context.Context, key string) ([]byte, error) {
		items, err := client.GetMulti([]string{key, second})
		if err != nil || items[key] == nil {
			return nil, err
		}
		return items[key].Value, nil
	}
	return c.hit()
}

// BenchmarkMemcachedHit is BenchmarkRedisHit on memcached, in turns with gomemcache.
func BenchmarkMemcachedHit(b *testing.B) {
	const keys = 1000
	order := zipfOrder(keys)
	for _, c := range onMemcached {
		b.Run("who="+c.who, func(b *testing.B) {
			s, rival := newRedisSource(keys), newRedisSource(keys)
			hit, rivalHit := c.open(b, s), openMemcachedGet(b, rival)
			s.fill(b, hit)
			rival.fill(b, rivalHit)
			b.Run("serial", func(b *testing.B) { serialTurns(b, hit, rivalHit, order) })
			b.Run("parallel", func(b *testing.B) { parallelTurns(b, hit, rivalHit, order) })
			s.allHits(b)
			rival.allHits(b)
		})
	}
}

// TestMemcachedContestants shows that the benchmarks measure hits.
func TestMemcachedContestants(t *testing.T) {
	for _, c := range onMemcached {
		t.Run(c.who, func(t *testing.T) {
			s := newRedisSource(100)
			hit := c.open(t, s)
			s.fill(t, hit)
			for i := range s.keys {
				u, err := hit(uint32(i))
				if want := (user{int64(i), s.name, i % 100}); err != nil || u != want {
					t.Fatalf("%s: got %+v, %v; want %+v", s.keys[i], u, err, want)
				}
			}
			s.allHits(t)
		})
	}
}
