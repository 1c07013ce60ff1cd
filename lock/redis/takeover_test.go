package redis_test

import (
	"context"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock/redis"
)

type holding struct {
	Addrs   []string
	Cluster bool
	Prefix  string
}

// hold takes the lock of "key" and holds it until it is killed.
func hold(w *fleettest.Worker) error {
	var p holding
	if err := w.Params(&p); err != nil {
		return err
	}
	client := goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: p.Addrs, IsClusterMode: p.Cluster, DisableIdentity: true})
	l := redis.New(client, redis.Config{Prefix: p.Prefix, TTL: never})
	if _, err := l.TryAcquire(context.Background(), "key"); err != nil {
		return err
	}
	w.Event("holding", nil)
	w.Await("never")
	return nil
}

// TestTakeover kills the holder of a lease that would last for ten minutes.
func TestTakeover(t *testing.T) {
	check := func(t *testing.T, p holding, l *redis.Locker) {
		fleet := fleettest.Start(t, "hold", 1, p)
		fleet.AwaitEvents("holding", 1)
		refused(t, l, "key")
		got := make(chan error, 1)
		go func() {
			_, err := obtain(within(t), l, "key")
			got <- err
		}()
		fleet.Workers[0].Kill()
		began := time.Now()
		if err := <-got; err != nil {
			t.Fatalf("the lock of a process that was killed was not taken over: %v", err)
		}
		t.Logf("taken over after %v", time.Since(began))
	}
	t.Run("Standalone", func(t *testing.T) {
		server := redistest.Shared(t)
		prefix := space(t)
		check(t, holding{Addrs: []string{server.Addr}, Prefix: prefix}, open(t, server.Client(t), redis.Config{Prefix: prefix, TTL: never}))
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		prefix := space(t)
		check(t, holding{cluster.Addrs, true, prefix}, open(t, cluster.Client(t), redis.Config{Prefix: prefix, TTL: never}))
	})
}
