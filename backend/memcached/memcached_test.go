package memcached_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// spaces counts the prefixes given out: each backend under test has keys of its own.
var spaces atomic.Int64

func space() string { return fmt.Sprint("test", spaces.Add(1)) }

// open returns a backend that is closed when the test ends.
func open(t testing.TB, cfg memcached.Config) *memcached.Backend {
	t.Helper()
	b := memcached.New(cfg)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	for name, n := range map[string]int{"OneServer": 1, "ThreeServers": 3} {
		t.Run(name, func(t *testing.T) {
			servers := memcachedtest.Addrs(memcachedtest.Shared(t, n))
			backendtest.RunPair(t, func(t *testing.T) (a, b backend.Backend) {
				cfg := memcached.Config{Servers: servers, Prefix: space(), LeaseTTL: 2 * time.Second}
				return open(t, cfg), open(t, cfg)
			})
		})
	}
	t.Run("OneSide", func(t *testing.T) {
		servers := memcachedtest.Addrs(memcachedtest.Shared(t, 3))
		backendtest.Run(t, func(t *testing.T) backend.Backend {
			return open(t, memcached.Config{Servers: servers, Prefix: space(), LeaseTTL: 2 * time.Second, Chunked: true, Compress: true, MaxValueSize: 1024})
		})
	})
}
