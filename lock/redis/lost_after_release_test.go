package redis_test

import (
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock/redis"
)

// TestReleasedIsNeverLost releases a lease while the server does not answer until its
// TTL is over: its holder has ended it, so it was not lost.
func TestReleasedIsNeverLost(t *testing.T) {
	server := redistest.Start(t)
	l := open(t, server.Client(t), redis.Config{Prefix: "p", TTL: 2 * time.Second})
	lease := acquire(t, l, "key")
	server.Stop(t)
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lease.Lost():
		t.Error("a lease that was released is told to be lost when its TTL is over")
	case <-time.After(4 * time.Second):
	}
	server.Continue(t)
	closing := acquire(t, l, "key")
	server.Stop(t)
	if err := closing.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if isLost(closing) {
		t.Error("a lease that was released is told to be lost when its Locker is closed")
	}
	server.Continue(t)
}
