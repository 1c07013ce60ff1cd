package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// BenchmarkRedisGrowth reads more and more keys, each as often, in turns with the same
// contestant's hits on 1,000 keys of the same server: two servers would be two
// processes, which the kernel places as it likes, and one of them twice as well as the
// other. Redis itself takes a little longer for a key that is not in the processor's
// caches: that is what go-redis_GET shows.
func BenchmarkRedisGrowth(b *testing.B) {
	const few = 1000
	for _, c := range []struct {
		who  string
		open func(testing.TB, *redistest.Server, *source) hit
	}{
		{"region.GetOrCreate", openFilledRegion},
		{"go-redis_GET", openFilledGet},
	} {
		b.Run("who="+c.who, func(b *testing.B) {
			server := redistest.Start(b)
			small := c.open(b, server, newSource(few))
			smallOrder := uniformOrder(few)
			for _, keys := range []int{few, 100_000, 1_000_000} {
				b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
					large, order := c.open(b, server, newSource(keys)), uniformOrder(keys)
					alternate(b, serialSlice,
						func(i int) error { return checkedHit(large, order.at(i)) },
						func(i int) error { return checkedHit(small, smallOrder.at(i)) })
				})
			}
		})
	}
}

// fillSize is how many values are stored at once where there are many.
const fillSize = 1000

func openFilledRegion(tb testing.TB, server *redistest.Server, s *source) hit {
	ctx, r := context.Background(), openByURL(tb, server)
	users := make(map[string]user, fillSize)
	for from := 0; from < len(s.keys); from += fillSize {
		clear(users)
		for i, key := range s.keys[from:min(from+fillSize, len(s.keys))] {
			users[key], _ = s.loadID(ctx, int64(from+i))
		}
		if err := region.SetMulti(ctx, r, users); err != nil {
			tb.Fatal(err)
		}
	}
	s.turn = -1
	return getOrCreate(r, s)
}

func openFilledGet(tb testing.TB, server *redistest.Server, s *source) hit {
	ctx, codec := context.Background(), cbor.New()
	c, client := onGoRedis(tb, s, server)
	for from := 0; from < len(s.keys); from += fillSize {
		pipe := client.Pipeline()
		for i, key := range s.keys[from:min(from+fillSize, len(s.keys))] {
			u, _ := s.loadID(ctx, int64(from+i))
			data, err := codec.Append(nil, u)
			if err != nil {
				tb.Fatal(err)
			}
			pipe.Set(ctx, c.prefix+key, data, time.Hour)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	return c.hit()
}
