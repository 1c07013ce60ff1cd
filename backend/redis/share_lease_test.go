package redis_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// shareHolder is the role of a process that takes a lease and keeps it.
func shareHolder(w *fleettest.Worker) error {
	var params struct{ URL, LockPrefix, Key string }
	if err := w.Params(&params); err != nil {
		return err
	}
	b, err := backend.Open(params.URL)
	if err != nil {
		return err
	}
	v, err := b.(backend.Sharer).Share(codec.Layout{LockPrefix: params.LockPrefix})
	if err != nil {
		return err
	}
	grants, _, err := v.Acquire(context.Background(), []backend.Key{keyOf(params.Key)}, nil)
	if err != nil || grants[0].Lease == nil {
		return fmt.Errorf("Acquire = %v, %w", grants, err)
	}
	w.Ready()
	w.Await("end")
	return b.Close()
}

// A process of ours that is killed is not waited for.
func TestFaultShareHolderIsKilled(t *testing.T) {
	v := newView(t, codec.Layout{}, "&lease_ttl=1m")
	key := space()
	fleet := fleettest.Start(t, "share holder", 1, map[string]string{
		"URL": v.server.URL() + "?prefix=" + space() + "&lease_ttl=1m", "LockPrefix": v.layout.LockPrefix, "Key": key,
	})
	fleet.AwaitReady()
	granted := v.waiting(t.Context(), key)
	killed := time.Now()
	fleet.Workers[0].Kill()
	took := (<-granted).Sub(killed)
	t.Logf("granted %v after the kill", took)
	if took > 5*time.Second {
		t.Errorf("the lease was granted %v after its holder was killed, want soon", took)
	}
}

// A lease is renewed while it is held, and its end is told.
func TestShareLeaseIsRenewed(t *testing.T) {
	v := newView(t, codec.Layout{}, "&lease_ttl=300ms")
	other := v.another(v.server.Addr, "")
	key := space()
	g := v.acquire(key)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // three leases
	defer cancel()
	if _, err := other.await(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a lease that is held = %v, want context.DeadlineExceeded", err)
	}
	select {
	case <-g.Lease.Lost():
		t.Error("the lease is lost")
	default:
	}
	v.publish(g, key, "value")
	g = v.acquire(key)
	other.delete(key)
	select {
	case <-g.Lease.Lost():
	case <-time.After(10 * time.Second):
		t.Error("the holder is not told that its lease was voided")
	}
}

// Close ends leases and waits, and leaves no lock and no goroutine.
func TestShareClose(t *testing.T) {
	server := redistest.Start(t)
	v := openView(t, server, server.Addr, codec.Layout{LockPrefix: "_lock"}, "")
	g := v.acquire("held")
	v.foreign("theirs", 0)
	woken := make(chan error, 1)
	v.refused("theirs")
	go func() { woken <- v.Wait(t.Context(), []backend.Key{keyOf("theirs")}) }()
	for !strings.Contains(fmt.Sprint(running("Wait")), "redis.(*shared).Wait") {
		runtime.Gosched()
	}
	if err := v.owner.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-woken; !errors.Is(err, backend.ErrClosed) {
		t.Errorf("Wait = %v, want backend.ErrClosed", err)
	}
	select {
	case <-g.Lease.Lost():
	default:
		t.Error("the lease was not ended")
	}
	if keys := fmt.Sprint(server.Do(t, "KEYS", "*")); keys != "[_locktheirs]" {
		t.Errorf("after Close there are the keys %s, want [_locktheirs]", keys)
	}
	var left []string
	for deadline := time.Now().Add(time.Second); ; runtime.Gosched() {
		if left = running("backend/redis.(", "internal/fleet."); left == nil || time.Now().After(deadline) {
			break
		}
	}
	for _, stack := range left {
		t.Errorf("after Close there is\n%s", stack)
	}
	if clients := fmt.Sprint(server.Do(t, "CLIENT", "LIST")); strings.Contains(clients, " sub=2 ") {
		t.Errorf("after Close the server still has a connection that listens:\n%s", clients)
	}
}
