package redis_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// spaces counts the prefixes given out: each backend under test has keys of its own.
var spaces atomic.Int64

func space() string { return fmt.Sprint("test", spaces.Add(1)) }

// pair returns two backends that share everything but the process they think they
// are in.
func pair(t testing.TB, client func() goredis.UniversalClient) (a, b *redis.Backend) {
	cfg := redis.Config{Prefix: space()}
	a, b = redis.New(client(), cfg), redis.New(client(), cfg)
	for _, side := range []*redis.Backend{a, b} {
		if err := side.Err(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { side.Close() })
	}
	return a, b
}

func TestConformance(t *testing.T) {
	t.Run("Standalone", func(t *testing.T) {
		server := redistest.Shared(t)
		backendtest.RunPair(t, func(t *testing.T) (a, b backend.Backend) {
			return pair(t, func() goredis.UniversalClient { return server.Client(t) })
		})
	})
	t.Run("OneSide", func(t *testing.T) {
		server := redistest.Shared(t)
		backendtest.Run(t, func(t *testing.T) backend.Backend {
			a, _ := pair(t, func() goredis.UniversalClient { return server.Client(t) })
			return a
		})
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		backendtest.RunPair(t, func(t *testing.T) (a, b backend.Backend) {
			return pair(t, func() goredis.UniversalClient { return cluster.Client(t) })
		})
	})
}
