package redis_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// Nothing of a backend runs on when Close has returned, also if the server hangs and
// callers have left what they asked for.
func TestNothingOutlivesClose(t *testing.T) {
	for kind, open := range map[string]func(*redistest.Server) backend.Backend{
		"by client": func(server *redistest.Server) backend.Backend {
			opt := server.Options()
			opt.ReadTimeout = 300 * time.Millisecond
			client := goredis.NewClient(opt)
			t.Cleanup(func() { _ = client.Close() })
			return redis.New(client, redis.Config{Prefix: space()})
		},
		"by URL": func(server *redistest.Server) backend.Backend {
			b, err := backend.Open("redis://" + server.Addr + "?prefix=" + space())
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	} {
		for _, met := range []bool{false, true} {
			server := redistest.Start(t)
			b := open(server)
			key := backend.Key{Region: "r", Name: "k"}
			if met {
				if _, err := b.Get(t.Context(), key, nil); err != nil {
					t.Fatal(err)
				}
			}
			server.Stop(t)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, err := b.Get(ctx, key, nil); err == nil {
				t.Errorf("%s, met %v: Get of a server that hangs has no error", kind, met)
			}
			if err := b.Delete(ctx, []backend.Key{key}); err == nil {
				t.Errorf("%s, met %v: Delete of a server that hangs has no error", kind, met)
			}
			cancel()
			_ = b.Close()
			// A goroutine that has done everything may still have to be taken away.
			var left []string
			for deadline := time.Now().Add(100 * time.Millisecond); ; runtime.Gosched() {
				if left = running("backend/redis.", "internal/fleet."); left == nil || time.Now().After(deadline) {
					break
				}
			}
			for _, stack := range left {
				t.Errorf("%s, met %v: after Close there is\n%s", kind, met, stack)
			}
			server.Continue(t)
		}
	}
}

// running returns the stacks of the goroutines that are in one of packages.
func running(packages ...string) (found []string) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		for _, name := range packages {
			if strings.Contains(stack, name) {
				found = append(found, stack)
				break
			}
		}
	}
	return found
}
