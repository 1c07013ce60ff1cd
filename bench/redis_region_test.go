package bench

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/mangle"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// onRedis are the contestants on Redis. All of them talk to one server, each with a
// client of its own, and with keys of its own.
var onRedis = []contestant{
	{"region.GetOrCreate", openRedisGetOrCreate},
	{"region.Cached_int64", openRedisCachedInt64},
	{"decorate.CacheOnArguments", openRedisDecorated},
	{"region.GetOrCreate_dogpilepy", openRedisShared}, // as Python stores it: JSON instead of CBOR
	{"go-redis_GET", openGet1},
	{"go-redis_MGET", openGet2},
	{"go-redis-cache", openRedisGoRedisCache},
	{"rueidis_GET", openRueidisGet},
}

// newRedisSource has values of a size that is usual in a shared cache.
func newRedisSource(n int) *source {
	s := newSource(n)
	s.name = strings.Repeat("somebody ", 13) // so that a value is encoded to 140 bytes
	return s
}

// newPrefix makes the keys of a contestant differ from those of all others.
func newPrefix() string { return strings.ToLower(rand.Text()[:8]) }

// openByURL opens a region as programs do.
func openByURL(tb testing.TB, server *redistest.Server) *region.Region {
	tb.Helper()
	b, err := backend.Open(server.URL() + "?prefix=" + newPrefix())
	if err != nil {
		tb.Fatal(err)
	}
	return openOn(tb, b)
}

func openOn(tb testing.TB, b backend.Backend) *region.Region {
	tb.Helper()
	return openWith(tb, region.Config{Backend: b, Expiration: time.Hour})
}

func openWith(tb testing.TB, cfg region.Config) *region.Region {
	tb.Helper()
	r, err := region.New("users", cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

func openRedisGetOrCreate(tb testing.TB, s *source) hit {
	return getOrCreate(openByURL(tb, redistest.Shared(tb)), s)
}

func openRedisCachedInt64(tb testing.TB, s *source) hit {
	ctx, cached := context.Background(), region.Cached(openByURL(tb, redistest.Shared(tb)), s.loadID)
	return func(i uint32) (user, error) { return cached(ctx, int64(i)) }
}

func openRedisDecorated(tb testing.TB, s *source) hit {
	ctx, f := context.Background(), decorate.CacheOnArguments(openByURL(tb, redistest.Shared(tb)), s.loadID)
	return func(i uint32) (user, error) { return f.Call(ctx, int64(i)) }
}

// openRedisShared opens a region whose values are shared with dogpile.cache.
func openRedisShared(tb testing.TB, s *source) hit {
	b, err := backend.Open(redistest.Shared(tb).URL())
	if err != nil {
		tb.Fatal(err)
	}
	return getOrCreate(openWith(tb, region.Config{
		Backend: b, Expiration: time.Hour, Interop: dogpilepy.Format, KeyMangler: mangle.Prefix(newPrefix() + ":"),
	}), s)
}

// openCounted opens a region on a client whose round trips are counted.
func openCounted(tb testing.TB, server *redistest.Server) (*region.Region, *trips) {
	tb.Helper()
	client, counted := countedClient(tb, server)
	return openOn(tb, redis.New(client, redis.Config{Prefix: newPrefix()})), counted
}
