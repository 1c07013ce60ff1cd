package bench

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// trips counts round trips: batches that were written, of one command or many.
type trips struct{ n atomic.Int64 }

func countedClient(tb testing.TB, server *redistest.Server) (goredis.UniversalClient, *trips) {
	client, counted := openClient(tb, server), new(trips)
	client.AddHook(counted)
	return client, counted
}

func (t *trips) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (t *trips) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		t.n.Add(1)
		return next(ctx, cmd)
	}
}

func (t *trips) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		t.n.Add(1)
		return next(ctx, cmds)
	}
}

// BenchmarkRedisTrips counts the round trips of an operation that nobody else is in the
// way of, in turns with the commands that come closest to it: without a lock, and
// without any promise.
func BenchmarkRedisTrips(b *testing.B) {
	const many = 1000
	for _, what := range []struct {
		name  string
		slice int
		ours  func(*ourTrips) func(i int) error
		rival func(*rivalTrips) func(i int) error
	}{
		{"hit", 32, (*ourTrips).hit, (*rivalTrips).hit},
		{"creation", 16, (*ourTrips).creation, (*rivalTrips).creation},
		{"creation_of_1000", 1, (*ourTrips).creations, (*rivalTrips).creations},
		{"delete_1000", 1, (*ourTrips).delete, (*rivalTrips).delete},
		{"invalidate_region", 32, (*ourTrips).invalidate, (*rivalTrips).invalidate},
		{"tagged_hit", 32, (*ourTrips).taggedHit, (*rivalTrips).hit},
		{"tagged_hit_unnamed", 32, (*ourTrips).taggedHitUnnamed, (*rivalTrips).hit},
		{"tagged_creation", 16, (*ourTrips).taggedCreation, (*rivalTrips).creation},
		{"invalidate_tag_of_1000", 1, (*ourTrips).invalidateTag, (*rivalTrips).invalidateTag},
	} {
		b.Run("what="+what.name, func(b *testing.B) {
			server, keys := redistest.Shared(b), newRedisSource(many)
			ours := &ourTrips{source: keys}
			ours.region, ours.trips = openCounted(b, server)
			rival := &rivalTrips{source: keys, prefix: newPrefix() + ":"}
			rival.client, rival.trips = countedClient(b, server)
			first, second := what.ours(ours), what.rival(rival)
			var tripsOf [2]int64
			// The second time all connections are there and all scripts known. The third
			// is for what a backend says in its first moments, which nobody waits for.
			for i := range 3 {
				ours.trips.n.Store(0)
				rival.trips.n.Store(0)
				if err := first(-1 - i); err != nil {
					b.Fatal(err)
				}
				if err := second(-1 - i); err != nil {
					b.Fatal(err)
				}
				n := [2]int64{ours.trips.n.Load(), rival.trips.n.Load()}
				if i == 1 || i == 2 && n[0] < tripsOf[0] {
					tripsOf = n
				}
			}
			alternate(b, what.slice, first, second)
			b.ReportMetric(float64(tripsOf[0]), "trips")
			b.ReportMetric(float64(tripsOf[1]), "rival-trips")
		})
	}
}

// ourTrips are the operations on a region.
type ourTrips struct {
	*source
	region *region.Region
	trips  *trips
}

var background = context.Background()

func (o *ourTrips) hit() func(int) error {
	return func(int) error {
		_, err := region.GetOrCreate(background, o.region, "key", o.loadTurn)
		return err
	}
}

func (o *ourTrips) creation() func(int) error {
	return func(i int) error {
		_, err := region.GetOrCreate(background, o.region, "key:"+strconv.Itoa(i), o.loadTurn)
		return err
	}
}

// fresh returns keys that nobody has asked for.
func (s *source) fresh(i int) []string {
	keys := make([]string, len(s.keys))
	for j, key := range s.keys {
		keys[j] = strconv.Itoa(i) + ":" + key
	}
	return keys
}

func (o *ourTrips) creations() func(int) error {
	return func(i int) error {
		users, err := region.GetOrCreateMulti(background, o.region, o.fresh(i), o.loadAll)
		if err == nil && len(users) != len(o.keys) {
			err = fmt.Errorf("%d users, want %d", len(users), len(o.keys))
		}
		return err
	}
}

// loadAll loads any keys.
func (s *source) loadAll(ctx context.Context, keys []string) (map[string]user, error) {
	users := make(map[string]user, len(keys))
	for i, key := range keys {
		users[key], _ = s.loadID(ctx, int64(i))
	}
	return users, nil
}

func (o *ourTrips) delete() func(int) error {
	return func(int) error { return o.region.Delete(background, o.keys...) }
}

func (o *ourTrips) invalidate() func(int) error {
	return func(int) error { return o.region.Invalidate(background, region.Hard) }
}

// taggedHit is a hit whose call names the tags, taggedHitUnnamed one that learns them
// from the value.
func (o *ourTrips) taggedHit() func(int) error {
	tags := region.WithTags("users", "user:1")
	return func(int) error {
		_, err := region.GetOrCreate(background, o.region, "tagged", o.loadTurn, tags)
		return err
	}
}

func (o *ourTrips) taggedHitUnnamed() func(int) error {
	tagged := func(ctx context.Context) (user, error) {
		region.FromContext(ctx).AddTags("users", "user:1")
		return o.loadTurn(ctx)
	}
	return func(int) error {
		_, err := region.GetOrCreate(background, o.region, "tagged late", tagged)
		return err
	}
}

// taggedCreation is one with a tag that was never there.
func (o *ourTrips) taggedCreation() func(int) error {
	return func(i int) error {
		_, err := region.GetOrCreate(background, o.region, "tagged:"+strconv.Itoa(i), o.loadTurn, region.WithTags("users", "user:"+strconv.Itoa(i)))
		return err
	}
}

// invalidateTag invalidates a tag that a thousand values have.
func (o *ourTrips) invalidateTag() func(int) error {
	tags := region.WithTags("many")
	_, err := region.GetOrCreateMulti(background, o.region, o.fresh(0), o.loadAll, tags)
	return func(int) error {
		if err != nil {
			return err
		}
		return o.region.InvalidateTags(background, "many")
	}
}

// rivalTrips are commands of go-redis.
type rivalTrips struct {
	*source
	prefix string
	client goredis.UniversalClient
	trips  *trips
}

func (r *rivalTrips) hit() func(int) error {
	return func(int) error { return r.getOrSet(r.prefix + "key") }
}

func (r *rivalTrips) creation() func(int) error {
	return func(i int) error { return r.getOrSet(r.prefix + strconv.Itoa(i)) }
}

func (r *rivalTrips) getOrSet(key string) error {
	codec := cbor.New()
	data, err := r.client.Get(background, key).Bytes()
	if err == nil {
		return codec.Decode(data, new(user))
	}
	u, err := r.loadTurn(background)
	if err != nil {
		return err
	}
	if data, err = codec.Append(nil, u); err != nil {
		return err
	}
	return r.client.Set(background, key, data, time.Hour).Err()
}

func (r *rivalTrips) creations() func(int) error {
	codec := cbor.New()
	return func(i int) error {
		keys := r.fresh(i)
		named := make([]string, len(keys))
		for j, key := range keys {
			named[j] = r.prefix + key
		}
		if err := r.client.MGet(background, named...).Err(); err != nil {
			return err
		}
		users, err := r.loadAll(background, keys)
		if err != nil {
			return err
		}
		pipe := r.client.Pipeline()
		for j, key := range keys {
			data, err := codec.Append(nil, users[key])
			if err != nil {
				return err
			}
			pipe.Set(background, named[j], data, time.Hour)
		}
		_, err = pipe.Exec(background)
		return err
	}
}

func (r *rivalTrips) delete() func(int) error {
	named := make([]string, len(r.keys))
	for i, key := range r.keys {
		named[i] = r.prefix + key
	}
	return func(int) error { return r.client.Del(background, named...).Err() }
}

// invalidateTag is what is done where a tag is a set of the keys that have it.
func (r *rivalTrips) invalidateTag() func(int) error {
	tag := r.prefix + "tag"
	return func(i int) error {
		pipe := r.client.Pipeline()
		for _, key := range r.fresh(i) {
			pipe.Set(background, r.prefix+key, "value", time.Hour)
			pipe.SAdd(background, tag, r.prefix+key)
		}
		if _, err := pipe.Exec(background); err != nil {
			return err
		}
		keys, err := r.client.SMembers(background, tag).Result()
		if err != nil {
			return err
		}
		return r.client.Del(background, append(keys, tag)...).Err()
	}
}

func (r *rivalTrips) invalidate() func(int) error {
	return func(i int) error { return r.client.Set(background, r.prefix+"generation", i, 0).Err() }
}
