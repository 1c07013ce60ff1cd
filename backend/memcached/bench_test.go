package memcached_test

import (
	"context"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// A hit beside what the library takes for a Get of the same value.
func BenchmarkHit(b *testing.B) {
	server := memcachedtest.Start(b)
	data := make([]byte, 1000)
	guards := []backend.Guard{{Region: "users"}}
	c := open(b, memcached.Config{Servers: []string{server.Addr}})
	items := []backend.Item{{Key: lateKey, Entry: &backend.Entry{Data: data}}}
	if _, err := c.Set(b.Context(), items, nil); err != nil || items[0].Err != nil {
		b.Fatal(err, items[0].Err)
	}
	if _, err := c.Stamps(b.Context(), guards); err != nil {
		b.Fatal(err)
	}
	raw := memcache.New(server.Addr)
	raw.MaxIdleConns = 64
	defer raw.Close()
	if err := raw.Set(&memcache.Item{Key: "raw", Value: data}); err != nil {
		b.Fatal(err)
	}
	ending, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	hit := func(ctx context.Context) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found, err := c.Get(ctx, lateKey, guards); err != nil || found.Entry == nil {
					b.Fatal(found, err)
				}
			}
		}
	}
	b.Run("raw", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := raw.Get("raw"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("backend", hit(context.Background()))
	b.Run("backend with a deadline", hit(ending))
}
