package bench

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/bsm/redislock"
	rediscache "github.com/go-redis/cache/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
	"golang.org/x/sync/singleflight"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/region"
)

// keepFor is the expiration of all values.
const keepFor = time.Hour

func joinRegion(addr string, create creator) (creator, func() error, error) {
	b, err := backend.Open("redis://" + addr + "?prefix=herd&lease_ttl=" + ourLease.String())
	if err != nil {
		return nil, nil, err
	}
	r, err := region.New("herd", region.Config{Backend: b, Expiration: keepFor})
	if err != nil {
		return nil, nil, err
	}
	ask := func(ctx context.Context, key string) (string, error) {
		return region.GetOrCreate(ctx, r, key, func(ctx context.Context) (string, error) { return create(ctx, key) })
	}
	return ask, r.Close, nil
}

// joinGoRedisCache has a flight in each process and no lock between them.
func joinGoRedisCache(addr string, create creator) (creator, func() error, error) {
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	cache := rediscache.New(&rediscache.Options{Redis: client})
	ask := func(ctx context.Context, key string) (value string, err error) {
		err = cache.Once(&rediscache.Item{Ctx: ctx, Key: key, Value: &value, TTL: keepFor,
			Do: func(item *rediscache.Item) (any, error) { return create(item.Context(), item.Key) }})
		return value, err
	}
	return ask, client.Close, nil
}

// joinRedislock is what one writes by hand: one caller in each process tries for the
// lock ten times a second, and looks for the value each time.
func joinRedislock(addr string, create creator) (creator, func() error, error) {
	const retry = 100 * time.Millisecond
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	locks := redislock.New(client)
	once := func(ctx context.Context, key string) (string, error) {
		for {
			value, err := client.Get(ctx, key).Result()
			if !errors.Is(err, goredis.Nil) {
				return value, err
			}
			lock, err := locks.Obtain(ctx, "lock:"+key, rivalLease, nil)
			if errors.Is(err, redislock.ErrNotObtained) {
				time.Sleep(retry)
				continue
			}
			if err != nil {
				return "", err
			}
			value, err = createUnderLock(ctx, key, create, client)
			return value, errors.Join(err, lock.Release(ctx))
		}
	}
	return shared(once), client.Close, nil
}

// createUnderLock looks again, since somebody else may have had the lock before.
func createUnderLock(ctx context.Context, key string, create creator, client *goredis.Client) (string, error) {
	value, err := client.Get(ctx, key).Result()
	if !errors.Is(err, goredis.Nil) {
		return value, err
	}
	if value, err = create(ctx, key); err != nil {
		return "", err
	}
	return value, client.Set(ctx, key, value, keepFor).Err()
}

// joinRueidislock is the same with a lock whose waiters are woken by the server. Once in
// a while one of them is not, so each looks again after the time of a lease.
func joinRueidislock(addr string, create creator) (creator, func() error, error) {
	locks, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{addr}},
		KeyValidity:    rivalLease,
		KeyMajority:    1, // one server
		NoLoopTracking: true,
	})
	if err != nil {
		return nil, nil, err
	}
	client := locks.Client()
	get := func(ctx context.Context, key string) (string, error) {
		return client.Do(ctx, client.B().Get().Key(key).Build()).ToString()
	}
	once := func(ctx context.Context, key string) (value string, err error) {
		var unlock context.CancelFunc
		for unlock == nil {
			if value, err = get(ctx, key); !rueidis.IsRedisNil(err) {
				return value, err
			}
			patient, cancel := context.WithTimeout(ctx, rivalLease)
			defer cancel()
			_, unlock, err = locks.WithContext(patient, key)
			if err != nil && patient.Err() == nil {
				return "", err
			}
		}
		defer unlock()
		if value, err = get(ctx, key); !rueidis.IsRedisNil(err) {
			return value, err
		}
		if value, err = create(ctx, key); err != nil {
			return "", err
		}
		return value, client.Do(ctx, client.B().Set().Key(key).Value(value).Ex(keepFor).Build()).Error()
	}
	return shared(once), func() error { locks.Close(); return nil }, nil
}

// shared has callers in this process who want the same key share one call.
func shared(once creator) creator {
	var flights singleflight.Group
	return func(ctx context.Context, key string) (string, error) {
		value, err, _ := flights.Do(key, func() (any, error) { return once(ctx, key) })
		return strings.Clone(value.(string)), err
	}
}
