package redis_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// trips counts round trips: commands and pipelines.
type trips struct{ n atomic.Int64 }

func (h *trips) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *trips) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		h.n.Add(1)
		return next(ctx, cmd)
	}
}

func (h *trips) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		h.n.Add(1)
		return next(ctx, cmds)
	}
}

func TestRoundTrips(t *testing.T) {
	client := redistest.Shared(t).Client(t)
	count := new(trips)
	client.AddHook(count)
	r, err := region.New("users", region.Config{
		Backend:    redis.New(client, redis.Config{Prefix: space()}),
		Expiration: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx := t.Context()
	create := func(context.Context) (string, error) { return "v", nil }
	createAll := func(_ context.Context, missing []string) (map[string]string, error) {
		values := make(map[string]string)
		for _, key := range missing {
			values[key] = key
		}
		return values, nil
	}
	thousand := make([]string, 1000)
	values := make(map[string]string)
	for i := range thousand {
		thousand[i] = fmt.Sprint("key ", i)
		values[thousand[i]] = "v"
	}
	if _, err := region.GetOrCreate(ctx, r, "warm up", create); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		most int64
		do   func() error
	}{
		{"GetOrCreate, a miss", 3, func() error { _, err := region.GetOrCreate(ctx, r, "k", create); return err }},
		{"GetOrCreate, a hit", 1, func() error { _, err := region.GetOrCreate(ctx, r, "k", create); return err }},
		{"Get", 1, func() error { _, _, err := region.Get[string](ctx, r, "k"); return err }},
		{"GetOrCreateMulti of a thousand, all missing", 3, func() error {
			_, err := region.GetOrCreateMulti(ctx, r, thousand, createAll)
			return err
		}},
		{"GetOrCreateMulti of a thousand, all there", 1, func() error {
			_, err := region.GetOrCreateMulti(ctx, r, thousand, createAll)
			return err
		}},
		{"GetMulti of a thousand", 1, func() error { _, err := region.GetMulti[string](ctx, r, thousand); return err }},
		{"SetMulti of a thousand", 3, func() error { return region.SetMulti(ctx, r, values) }},
		{"Delete of a thousand", 1, func() error { return r.Delete(ctx, thousand...) }},
		{"Invalidate, hard", 1, func() error { return r.Invalidate(ctx, region.Hard) }},
		{"Invalidate, soft", 1, func() error { return r.Invalidate(ctx, region.Soft) }},
	} {
		before := count.n.Load()
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		// The first script of a kind takes one more; each is run twice.
		first := count.n.Load() - before
		if first > c.most+1 {
			t.Errorf("%s: %d round trips, want %d", c.name, first, c.most)
		}
		if c.name == "GetOrCreate, a miss" {
			continue
		}
		before = count.n.Load()
		if c.name == "GetOrCreateMulti of a thousand, all missing" {
			if err := r.Delete(ctx, thousand...); err != nil {
				t.Fatal(err)
			}
			before = count.n.Load()
		}
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := count.n.Load() - before; n > c.most {
			t.Errorf("%s: %d round trips, want %d", c.name, n, c.most)
		}
	}
}
