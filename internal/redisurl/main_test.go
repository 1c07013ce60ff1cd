package redisurl

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) {
	// go-redis logs every server that it cannot reach, which is what is tested here.
	redis.SetLogger(silence{})
	goleak.VerifyTestMain(redistest.WithShared(m),
		// It tries a server that is down once a second, and notices at the next try
		// that its pool was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// open returns the client of the URL raw and closes it when the test ends.
func open(t *testing.T, raw string) redis.UniversalClient {
	t.Helper()
	o, err := Open(parse(t, raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	t.Cleanup(func() {
		if err := o.Client.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return o.Client
}

// once is a command that says that it may not be sent twice.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }
