package redis_test

import (
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// Reads that follow one another use one connection, which goes back to the pool soon
// after the last of them, and a server that was restarted meanwhile costs no error.
func TestReadsKeepAConnection(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	b := redis.New(client, redis.Config{})
	key, guards := backend.Key{Region: "users", Name: "k"}, []backend.Guard{{Region: "users"}}
	read := func() {
		t.Helper()
		if _, err := b.Get(t.Context(), key, guards); err != nil {
			t.Fatal(err)
		}
	}
	out := func() int { // connections that are not in the pool
		stats := client.PoolStats()
		return int(stats.TotalConns - stats.IdleConns)
	}
	eventually := func(want int, within time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(within); out() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are kept, want %d", out(), want)
			}
		}
	}
	for range 2 { // and it is kept again
		for range 3 {
			read()
		}
		eventually(1, 500*time.Millisecond) // others use the client for moments
		eventually(0, 10*time.Second)
	}
	for range 5 {
		read()
		read()
		server.Restart(t)
		read()
	}
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range 100 {
				read()
			}
		})
	}
	all.Wait()
	if n := out(); n > 1 {
		t.Errorf("after many reads at once %d connections are kept, want 1 at most", n)
	}
	read()
	read()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(0, 10*time.Second)
}

// Nothing is kept from a small pool, in which others would have to wait for it.
func TestSmallPool(t *testing.T) {
	opt := redistest.Shared(t).Options()
	opt.PoolSize, opt.PoolTimeout = 1, 100*time.Millisecond
	client := goredis.NewClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	b := redis.New(client, redis.Config{Prefix: space()})
	defer b.Close()
	key, guards := backend.Key{Region: "users", Name: "k"}, []backend.Guard{{Region: "users"}}
	for range 5 {
		if _, err := b.Get(t.Context(), key, guards); err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), []backend.Key{key}); err != nil {
			t.Fatal(err)
		}
	}
}
