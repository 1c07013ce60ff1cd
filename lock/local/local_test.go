package local_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/lock/locktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	open := func(*testing.T) lock.Locker { return local.New() }
	t.Run("InBubble", func(t *testing.T) { locktest.Run(t, open, locktest.InBubble()) })
	t.Run("InRealTime", func(t *testing.T) { locktest.Run(t, open) })
}

func acquire(t *testing.T, l *local.Locker, key string) lock.Lease {
	t.Helper()
	lease, err := l.TryAcquire(t.Context(), key)
	if err != nil {
		t.Fatalf("TryAcquire(%q): %v", key, err)
	}
	return lease
}

func isLost(lease lock.Lease) bool {
	select {
	case <-lease.Lost():
		return true
	default:
		return false
	}
}

func TestFinishEndsTheLease(t *testing.T) {
	l := local.New()
	lease := acquire(t, l, "key")
	waited := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { waited <- l.Wait(ctx, "key") }()
	ran := 0
	if !l.Finish(lease, func() { ran++ }) || ran != 1 {
		t.Fatalf("Finish of a held lease ran publish %d times, want once and true", ran)
	}
	if err := <-waited; err != nil {
		t.Fatalf("Wait = %v, want nil after Finish", err)
	}
	acquire(t, l, "key")
	if isLost(lease) {
		t.Fatal("Finish is the end that the holder wanted, but Lost is closed")
	}
	if l.Finish(lease, func() { ran++ }) || ran != 1 {
		t.Fatal("a lease could be finished twice")
	}
}

func TestFinishRefuses(t *testing.T) {
	for name, lose := range map[string]func(*local.Locker, lock.Lease){
		"released":   func(l *local.Locker, h lock.Lease) { h.Release(context.Background()) },
		"voided":     func(l *local.Locker, h lock.Lease) { l.Void(context.Background(), h.Key()) },
		"superseded": func(l *local.Locker, h lock.Lease) { l.Supersede(h.Key(), func() {}) },
		"taken over": func(l *local.Locker, h lock.Lease) {
			l.Void(context.Background(), h.Key())
			l.TryAcquire(context.Background(), h.Key())
		},
		"closed": func(l *local.Locker, h lock.Lease) { l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l := local.New()
			lease := acquire(t, l, "key")
			lose(l, lease)
			if l.Finish(lease, func() { t.Error("publish ran") }) {
				t.Error("Finish = true")
			}
		})
	}
	t.Run("nil", func(t *testing.T) {
		if local.New().Finish(nil, func() { t.Error("publish ran") }) {
			t.Error("Finish = true")
		}
	})
	t.Run("another Locker's", func(t *testing.T) {
		l, other := local.New(), local.New()
		own, foreign := acquire(t, l, "key"), acquire(t, other, "key")
		if l.Finish(foreign, func() { t.Error("publish ran") }) {
			t.Error("Finish = true")
		}
		if !l.Finish(own, func() {}) {
			t.Error("the own lease suffered from a foreign one")
		}
	})
}

// wrapped is what a proxy of a backend may make of a lease.
type wrapped struct{ lock.Lease }

func TestFinishTakesWrappedLeases(t *testing.T) {
	l := local.New()
	if !l.Finish(wrapped{acquire(t, l, "key")}, func() {}) {
		t.Fatal("Finish refused the lease because a proxy has wrapped it")
	}
}

func TestNobodyComesBetweenFinishAndItsPublication(t *testing.T) {
	l := local.New()
	var changed, granted atomic.Bool
	var rivals sync.WaitGroup
	l.Finish(acquire(t, l, "key"), func() {
		rivals.Go(func() { l.Supersede("key", func() { changed.Store(true) }) })
		rivals.Go(func() {
			if _, err := l.TryAcquire(context.Background(), "key"); err == nil {
				granted.Store(true)
			}
		})
		for range 10_000 {
			runtime.Gosched()
		}
		if changed.Load() || granted.Load() {
			t.Errorf("while publish ran: the lease was superseded = %v, granted = %v", changed.Load(), granted.Load())
		}
	})
	rivals.Wait()
	if !changed.Load() {
		t.Error("a change that came meanwhile did not run afterwards")
	}
}

func TestFinishKeepsTheLeaseOfAPanic(t *testing.T) {
	l := local.New()
	lease := acquire(t, l, "key")
	func() {
		defer func() { recover() }()
		l.Finish(lease, func() { panic("publish") })
	}()
	if _, err := l.TryAcquire(t.Context(), "key"); !errors.Is(err, lock.ErrHeld) {
		t.Fatalf("TryAcquire after a panic in Finish = %v, want lock.ErrHeld", err)
	}
	if !l.Finish(lease, func() {}) {
		t.Fatal("the lease was lost by a panic")
	}
}

func TestSupersedeVoids(t *testing.T) {
	l := local.New()
	lease := acquire(t, l, "key")
	changed, early := false, false
	if !l.Supersede("key", func() { changed, early = true, isLost(lease) }) || !changed || !isLost(lease) {
		t.Fatalf("change ran: %v, the lease is lost: %v", changed, isLost(lease))
	}
	if early {
		t.Error("the holder, and who waits for it, heard of the change before it was made")
	}
	panicky := acquire(t, l, "key")
	func() {
		defer func() { recover() }()
		l.Supersede("key", func() { panic("change") })
	}()
	if !isLost(panicky) {
		t.Error("the lease outlives a change that panicked")
	}
	if !l.Supersede("free", func() {}) {
		t.Fatal("Supersede of a key without lease = false")
	}
	l.Close()
	if l.Supersede("key", func() { t.Error("change ran after Close") }) {
		t.Fatal("Supersede after Close = true")
	}
}

// TestChangesOfAKeyAreASequence is what backends build on: the creator of an old
// version never overwrites a newer one that was written with Supersede.
func TestChangesOfAKeyAreASequence(t *testing.T) {
	l := local.New()
	defer l.Close()
	var truth sync.Mutex // guards version
	version, stored := 0, 0
	read := func() int { truth.Lock(); defer truth.Unlock(); return version }

	var creators sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		creators.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				lease, err := l.TryAcquire(context.Background(), "key")
				if err != nil {
					l.Wait(t.Context(), "key")
					continue
				}
				v := read()
				l.Finish(lease, func() { stored = v })
			}
		})
	}
	for range 5000 {
		truth.Lock()
		version++
		v := version
		truth.Unlock()
		l.Supersede("key", func() { stored = v })
		l.Supersede("key", func() {
			if stored < v {
				t.Errorf("version %d is stored after version %d was written", stored, v)
			}
		})
	}
	close(stop)
	creators.Wait()
}

func TestReleaseWithEndedContext(t *testing.T) {
	l := local.New()
	lease := acquire(t, l, "key")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lease.Release(ctx); err != nil {
		t.Fatalf("Release: %v", err)
	}
	acquire(t, l, "key")
}

func BenchmarkTryAcquireRelease(b *testing.B) {
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprint("users:", i)
	}
	ctx := context.Background()
	b.Run("serial", func(b *testing.B) {
		l := local.New()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			lease, _ := l.TryAcquire(ctx, keys[i%len(keys)])
			lease.Release(ctx)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		l := local.New()
		var mu sync.Mutex
		next := 0
		b.RunParallel(func(pb *testing.PB) {
			mu.Lock()
			i := next
			next += len(keys) / 7
			mu.Unlock()
			for ; pb.Next(); i++ {
				if lease, err := l.TryAcquire(ctx, keys[i%len(keys)]); err == nil {
					lease.Release(ctx)
				}
			}
		})
	})
}
