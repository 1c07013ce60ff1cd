package bench

import (
	"fmt"
	"testing"
)

// BenchmarkRedisHit reads 1,000 keys, all of them stored, with a Zipf distribution,
// in turns with go-redis, which does one GET and decodes the value.
func BenchmarkRedisHit(b *testing.B) {
	const keys = 1000
	order := zipfOrder(keys)
	for _, c := range onRedis {
		b.Run("who="+c.who, func(b *testing.B) {
			s, rival := newRedisSource(keys), newRedisSource(keys)
			hit, rivalHit := c.open(b, s), openGet1(b, rival)
			s.fill(b, hit)
			rival.fill(b, rivalHit)
			b.Run("serial", func(b *testing.B) { serialTurns(b, hit, rivalHit, order) })
			b.Run("parallel", func(b *testing.B) { parallelTurns(b, hit, rivalHit, order) })
			s.allHits(b)
			rival.allHits(b)
		})
	}
}

// TestRedisContestants shows that the benchmarks measure hits.
func TestRedisContestants(t *testing.T) {
	for _, c := range onRedis {
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

// checkedHit asks for a key and looks whether it is that one's user that comes.
func checkedHit(hit hit, key uint32) error {
	u, err := hit(key)
	if err == nil && u.ID != int64(key) {
		err = fmt.Errorf("key %d has user %d", key, u.ID)
	}
	return err
}
