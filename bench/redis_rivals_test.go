package bench

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	rediscache "github.com/go-redis/cache/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/internal/redisurl"
)

// openClient opens a client with the options that one of a region has.
func openClient(tb testing.TB, server *redistest.Server) goredis.UniversalClient {
	tb.Helper()
	u, err := url.Parse(server.URL())
	if err != nil {
		tb.Fatal(err)
	}
	opened, err := redisurl.Open(u)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = opened.Client.Close() })
	return opened.Client
}

// byHand is what one writes who has no cache library: read and decode, and on a miss
// load, encode and store.
type byHand struct {
	*source
	prefix string
	get    func(ctx context.Context, key string) ([]byte, error) // nil, nil: there is none
	set    func(ctx context.Context, key string, value []byte) error
}

func (c *byHand) hit() hit {
	ctx, codec := context.Background(), cbor.New()
	return func(i uint32) (u user, err error) {
		key := c.prefix + c.keys[i]
		data, err := c.get(ctx, key)
		if err != nil {
			return u, err
		}
		if data != nil {
			return u, codec.Decode(data, &u)
		}
		if u, err = c.load(ctx, c.keys[i]); err != nil {
			return u, err
		}
		if data, err = codec.Append(nil, u); err != nil {
			return u, err
		}
		return u, c.set(ctx, key, data)
	}
}

func onGoRedis(tb testing.TB, s *source, server *redistest.Server) (*byHand, goredis.UniversalClient) {
	tb.Helper()
	client := openClient(tb, server)
	return &byHand{
		source: s,
		prefix: newPrefix() + ":",
		get: func(ctx context.Context, key string) ([]byte, error) {
			data, err := client.Get(ctx, key).Bytes()
			if errors.Is(err, goredis.Nil) {
				return nil, nil
			}
			return data, err
		},
		set: func(ctx context.Context, key string, value []byte) error {
			return client.Set(ctx, key, value, time.Hour).Err()
		},
	}, client
}

// openGet1 is the rival that the budgets are set by: one GET.
func openGet1(tb testing.TB, s *source) hit {
	c, _ := onGoRedis(tb, s, redistest.Shared(tb))
	return c.hit()
}

// openGet2 reads a second, short key with each value, as everybody has to who wants
// to invalidate many values at once.
func openGet2(tb testing.TB, s *source) hit {
	c, client := onGoRedis(tb, s, redistest.Shared(tb))
	second := c.prefix + "stamp"
	if err := client.Set(context.Background(), second, strings.Repeat("s", 24), 0).Err(); err != nil {
		tb.Fatal(err)
	}
	c.get = func(ctx context.Context, key string) ([]byte, error) {
		values, err := client.MGet(ctx, key, second).Result()
		if err != nil || values[0] == nil {
			return nil, err
		}
		return []byte(values[0].(string)), nil
	}
	return c.hit()
}

// openRedisGoRedisCache uses Redis alone, without the local cache.
func openRedisGoRedisCache(tb testing.TB, s *source) hit {
	prefix, ctx := newPrefix()+":", context.Background()
	cache := rediscache.New(&rediscache.Options{Redis: openClient(tb, redistest.Shared(tb))})
	load := func(item *rediscache.Item) (any, error) {
		return s.load(item.Context(), strings.TrimPrefix(item.Key, prefix))
	}
	return func(i uint32) (u user, err error) {
		err = cache.Once(&rediscache.Item{Ctx: ctx, Key: prefix + s.keys[i], Value: &u, TTL: time.Hour, Do: load})
		return u, err
	}
}

// openRueidisGet is a GET by another client, which sends what many callers want over
// one connection.
func openRueidisGet(tb testing.TB, s *source) hit {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:  []string{redistest.Shared(tb).Addr},
		DisableCache: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	c := &byHand{
		source: s,
		prefix: newPrefix() + ":",
		get: func(ctx context.Context, key string) ([]byte, error) {
			data, err := client.Do(ctx, client.B().Get().Key(key).Build()).AsBytes()
			if rueidis.IsRedisNil(err) {
				return nil, nil
			}
			return data, err
		},
		set: func(ctx context.Context, key string, value []byte) error {
			return client.Do(ctx, client.B().Set().Key(key).Value(rueidis.BinaryString(value)).Ex(time.Hour).Build()).Error()
		},
	}
	return c.hit()
}
