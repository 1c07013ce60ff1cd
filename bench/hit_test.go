package bench

import (
	"sync/atomic"
	"testing"
)

// BenchmarkHit reads 10,000 keys, all of them stored, with a Zipf distribution.
func BenchmarkHit(b *testing.B) {
	const keys = 10_000
	order := zipfOrder(keys)
	for _, c := range contestants {
		b.Run("who="+c.who, func(b *testing.B) {
			s := newSource(keys)
			hit := c.open(b, s)
			s.fill(b, hit)
			b.Run("serial", func(b *testing.B) { serial(b, hit, order) })
			b.Run("parallel", func(b *testing.B) { parallel(b, hit, order) })
			s.allHits(b)
		})
	}
}

func serial(b *testing.B, hit hit, order order) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := order.at(i)
		if u, err := hit(key); err != nil || u.ID != int64(key) {
			b.Fatalf("key %d: %+v, %v", key, u, err)
		}
	}
}

func parallel(b *testing.B, hit hit, order order) {
	b.ReportAllocs()
	var goroutines atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		// Each goroutine begins elsewhere.
		for i := int(goroutines.Add(1)) * 7919; pb.Next(); i++ {
			key := order.at(i)
			if u, err := hit(key); err != nil || u.ID != int64(key) {
				b.Errorf("key %d: %+v, %v", key, u, err)
				return
			}
		}
	})
}
