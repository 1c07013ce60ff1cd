package redis_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// waiting starts to wait for the lease of name, and returns when it was granted.
func (v view) waiting(ctx context.Context, name string) <-chan time.Time {
	v.t.Helper()
	v.refused(name)
	granted := make(chan time.Time, 1)
	go func() {
		g, err := v.await(ctx, name)
		at := time.Now()
		if err != nil {
			v.t.Errorf("waiting for %q: %v", name, err)
			return
		}
		if err := g.Lease.Release(ctx); err != nil {
			v.t.Error(err)
		}
		granted <- at
	}()
	return granted
}

// Whoever waits here is woken at once when Python releases a lock, and Python waits for
// the locks of this library.
func TestSharePythonLock(t *testing.T) {
	v := newView(t, codec.Layout{}, "")
	other := v.another(v.server.Addr, "")
	for _, timeout := range []time.Duration{0, time.Minute} {
		p := startPython(t, v.server, v.layout.LockPrefix, timeout)
		var late []time.Duration
		for range rounds(20, 200) {
			name := space()
			p.do("acquire", name)
			granted := v.waiting(t.Context(), name)
			also := other.waiting(t.Context(), name)
			released := p.do("release", name).(float64)
			for _, granted := range []<-chan time.Time{granted, also} {
				select {
				case at := <-granted:
					late = append(late, at.Sub(time.UnixMicro(int64(released*1e6))))
				case <-time.After(10 * time.Second):
					t.Fatal("nobody was woken when Python released the lock")
				}
			}
			v.holds(name, nil)

			// And the other way round: Python has it once it is released.
			g := v.acquire(name)
			p.ask("acquire", name)
			v.publish(g, name, "value")
			if p.answer() != true {
				t.Error("Python did not get the lock")
			}
			v.refused(name)
			p.do("release", name)
		}
		slices.Sort(late)
		median, worst := late[len(late)/2], late[len(late)-1]
		t.Logf("timeout %v: woken %v after Python began to release, %v at the latest", timeout, median, worst)
		if median > 50*time.Millisecond {
			t.Errorf("whoever waits is woken %v after Python began to release, want some milliseconds", median)
		}
	}
}

// Python's own lock is left alone by all that ends ours, so that Python can release it.
func TestSharePythonLockIsLeft(t *testing.T) {
	v := newView(t, codec.Layout{}, "")
	p := startPython(t, v.server, v.layout.LockPrefix, 0)
	name := space()
	p.do("acquire", name)
	g := v.try(name)
	if g.Lease != nil {
		t.Fatal("a lock that Python holds was granted")
	}
	v.set(name, "value")
	v.delete(name)
	if err := v.store(backend.Item{Key: keyOf(name)}); err != nil {
		t.Error(err)
	}
	p.do("release", name) // which fails if it is not there any more
	v.acquire(name)
}

// A Python that is killed keeps its lock until that expires; one that never expires is
// taken away after StealAfter.
func TestSharePythonIsKilled(t *testing.T) {
	v := newView(t, codec.Layout{}, "&lease_ttl=1m")
	p := startPython(t, v.server, v.layout.LockPrefix, time.Second)
	name := space()
	acquired := time.Now()
	p.do("acquire", name)
	granted := v.waiting(t.Context(), name)
	p.kill()
	took := (<-granted).Sub(acquired)
	t.Logf("a lock of a second was granted %v after it was taken", took)
	if took < 900*time.Millisecond || took > 4*time.Second {
		t.Errorf("a lock of a second was granted %v after it was taken", took)
	}

	const after = 500 * time.Millisecond
	v = newView(t, codec.Layout{StealAfter: after}, "&lease_ttl=1m")
	p = startPython(t, v.server, v.layout.LockPrefix, 0)
	acquired = time.Now()
	p.do("acquire", name)
	granted = v.waiting(t.Context(), name)
	p.kill()
	took = (<-granted).Sub(acquired)
	t.Logf("a lock for ever was granted %v after it was taken, with StealAfter %v", took, after)
	if took < after || took > after+4*time.Second {
		t.Errorf("a lock for ever was granted %v after it was taken, want %v", took, after)
	}

	v = newView(t, codec.Layout{}, "&lease_ttl=200ms")
	p = startPython(t, v.server, v.layout.LockPrefix, 0)
	p.do("acquire", name)
	p.kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := v.await(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a lock for ever without StealAfter = %v, want context.DeadlineExceeded", err)
	}
}

// A region of dogpile.cache waits for a creation here, and finds the value.
func TestSharePythonRegion(t *testing.T) {
	server := redistest.Start(t)
	v := openView(t, server, server.Addr, codec.Layout{LockPrefix: "_lock"}, "")
	p := startPython(t, server, "_lock", 0)
	g := v.acquire("k")
	p.ask("get_or_create", "k")
	for server.CommandsByName(t)["set"] < 6 { // those of Python that asks for the lock again and again
		time.Sleep(10 * time.Millisecond)
	}
	v.publish(g, "k", `{"ct": 4000000000.5, "v": 2}|"made in Go"`)
	if got := p.answer(); got != "made in Go" {
		t.Errorf("Python has %v, want what was made in Go", got)
	}
	p.do("get_or_create", "other")
	found, err := v.Get(t.Context(), keyOf("other"), nil)
	if err != nil || found.Entry == nil || !has(`"v": 2}|"made in Python"`)(found.Entry.Data) {
		t.Errorf("what Python has made is %v, %v here", found.Entry, err)
	}
	v.acquire("other")
}
