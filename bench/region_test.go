package bench

import (
	"context"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// openRegion opens a region in memory.
func openRegion(tb testing.TB, s *source, inMemory memory.Config, proxies ...func(backend.Backend) backend.Backend) *region.Region {
	tb.Helper()
	inMemory.MaxEntries = room(s)
	r, err := region.New("users", region.Config{
		Backend:    memory.New(inMemory),
		Wrap:       proxies,
		Expiration: time.Hour,
	})
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

// getOrCreate passes a creator that is made once.
func getOrCreate(r *region.Region, s *source) hit {
	ctx, create := context.Background(), s.loadTurn
	return func(i uint32) (user, error) { return region.GetOrCreate(ctx, r, s.keys[i], create) }
}

func openGetOrCreate(tb testing.TB, s *source) hit {
	return getOrCreate(openRegion(tb, s, memory.Config{}), s)
}

// openGetOrCreateCopy has each caller decode a value of its own.
func openGetOrCreateCopy(tb testing.TB, s *source) hit {
	return getOrCreate(openRegion(tb, s, memory.Config{Copy: true}), s)
}

// proxy passes on everything, but hides what the backend can do besides.
type proxy struct{ backend.Backend }

func openGetOrCreateProxy(tb testing.TB, s *source) hit {
	wrap := func(b backend.Backend) backend.Backend { return proxy{b} }
	return getOrCreate(openRegion(tb, s, memory.Config{}, wrap), s)
}

// openGetOrCreateClosure passes a creator that is made for each call, because it
// has to know the key.
func openGetOrCreateClosure(tb testing.TB, s *source) hit {
	ctx, r := context.Background(), openRegion(tb, s, memory.Config{})
	return func(i uint32) (user, error) {
		key := s.keys[i]
		return region.GetOrCreate(ctx, r, key, func(ctx context.Context) (user, error) { return s.load(ctx, key) })
	}
}

func openGet(tb testing.TB, s *source) hit {
	ctx, r := context.Background(), openRegion(tb, s, memory.Config{})
	return func(i uint32) (user, error) {
		u, ok, err := region.Get[user](ctx, r, s.keys[i])
		if ok || err != nil {
			return u, err
		}
		if u, err = s.loadTurn(ctx); err != nil {
			return u, err
		}
		return u, region.Set(ctx, r, s.keys[i], u)
	}
}

func openCachedInt64(tb testing.TB, s *source) hit {
	ctx, cached := context.Background(), region.Cached(openRegion(tb, s, memory.Config{}), s.loadID)
	return func(i uint32) (user, error) { return cached(ctx, int64(i)) }
}

// openCachedTags gives every value two tags.
func openCachedTags(tb testing.TB, s *source) hit {
	ctx, cached := context.Background(), region.Cached(openRegion(tb, s, memory.Config{}), s.loadID, region.WithTags("users", "table:users"))
	return func(i uint32) (user, error) { return cached(ctx, int64(i)) }
}

func openDecorated(tb testing.TB, s *source) hit {
	ctx, f := context.Background(), decorate.CacheOnArguments(openRegion(tb, s, memory.Config{}), s.loadID)
	return func(i uint32) (user, error) { return f.Call(ctx, int64(i)) }
}

func openCachedString(tb testing.TB, s *source) hit {
	ctx, cached := context.Background(), region.Cached(openRegion(tb, s, memory.Config{}), s.load)
	return func(i uint32) (user, error) { return cached(ctx, s.keys[i]) }
}
