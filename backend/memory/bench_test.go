package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
)

// BenchmarkHit reads 10,000 keys with a Zipf distribution, from the backend and,
// for comparison, from otter as anybody would set it up.
func BenchmarkHit(b *testing.B) {
	const keys = 10_000
	names := make([][]byte, keys)
	values := make([]*backend.Entry, keys)
	for i := range names {
		names[i] = fmt.Appendf(nil, "user:%d", i)
		values[i] = &backend.Entry{Value: new(int)}
	}
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, keys-1)
	order := make([]uint16, 1<<16)
	for i := range order {
		order[i] = uint16(zipf.Uint64())
	}

	m := memory.New(memory.Config{})
	defer m.Close()
	local := m.In("users")
	full := make([]backend.Key, keys)
	for i, name := range names {
		full[i] = backend.Key{Region: "users", Name: string(name)}
		m.Set(b.Context(), []backend.Item{{Key: full[i], Entry: values[i], TTL: time.Hour}}, nil)
	}
	ctx, guards := context.Background(), []backend.Guard{{Region: "users"}}

	clock := otter.NewCoarseClock(time.Second)
	defer clock.Stop()
	plain := func(clock otter.Clock) *otter.Cache[string, *backend.Entry] {
		c := otter.Must(&otter.Options[string, *backend.Entry]{
			MaximumSize: 100_000, Clock: clock,
			ExpiryCalculator: otter.ExpiryWriting[string, *backend.Entry](time.Hour),
		})
		for i, name := range names {
			c.Set(string(name), values[i])
		}
		b.Cleanup(func() { c.StopAllGoroutines() })
		return c
	}
	coarse, precise := plain(clock), plain(nil)

	for _, bench := range []struct {
		name string
		hit  func(i uint16) bool
	}{
		{"otter", func(i uint16) bool { _, ok := precise.GetIfPresent(full[i].Name); return ok }},
		{"otter with a coarse clock", func(i uint16) bool { _, ok := coarse.GetIfPresent(full[i].Name); return ok }},
		{"Peek", func(i uint16) bool { e, _ := local.Peek(full[i].Name); return e != nil }},
		{"PeekBytes", func(i uint16) bool { e, _ := local.PeekBytes(names[i]); return e != nil }},
		{"Get", func(i uint16) bool {
			found, err := m.Get(ctx, full[i], guards)
			return err == nil && found.Entry != nil
		}},
	} {
		b.Run(bench.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !bench.hit(order[i%len(order)]) {
					b.Fatal("a miss")
				}
			}
		})
		b.Run(bench.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			var start atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for i := int(start.Add(7919)); pb.Next(); i++ {
					if !bench.hit(order[i%len(order)]) {
						b.Error("a miss")
					}
				}
			})
		})
	}
}

func BenchmarkSet(b *testing.B) {
	for name, config := range map[string]memory.Config{"MaxEntries": {MaxEntries: 10_000}, "MaxBytes": {MaxBytes: 10 << 20}} {
		b.Run(name, func(b *testing.B) {
			m := memory.New(config)
			defer m.Close()
			keys := make([]backend.Key, 20_000)
			for i := range keys {
				keys[i] = user(fmt.Sprint(i))
			}
			value, ctx := "a value", context.Background()
			items := make([]backend.Item, 1)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				items[0] = backend.Item{Key: keys[i%len(keys)], Entry: &backend.Entry{Value: &value}, TTL: time.Hour}
				m.Set(ctx, items, nil)
			}
		})
	}
}
