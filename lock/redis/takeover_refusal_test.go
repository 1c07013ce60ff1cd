package redis_test

import (
	"testing"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock/redis"
)

// TestTakeoverAfterARefusal has somebody refused who does not wait, while another one
// waits for a process that then dies.
func TestTakeoverAfterARefusal(t *testing.T) {
	server := redistest.Start(t)
	l := open(t, server.Client(t), redis.Config{Prefix: "p", TTL: never})
	fleet := fleettest.Start(t, "hold", 1, holding{Addrs: []string{server.Addr}, Prefix: "p"})
	fleet.AwaitEvents("holding", 1)
	got := make(chan error, 1)
	go func() {
		_, err := obtain(within(t), l, "key")
		got <- err
	}()
	// A waiter asks once whose lock it is.
	for deadline := within(t); server.CommandsByName(t)["get"] == 0; {
		if deadline.Err() != nil {
			t.Fatal("the waiter never asked whose lock it is")
		}
	}
	refused(t, l, "key")
	fleet.Workers[0].Kill()
	if err := <-got; err != nil {
		t.Fatalf("the lock of a process that was killed was not taken over: %v", err)
	}
}
