package redis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// job is an operation of a lane under test.
type job struct {
	n     int64
	heavy int
	saw   int64 // what the clock showed when it was sent
}

// lab is a lane whose batches are held up until they are let through.
type lab struct {
	lane[*job]
	clock   atomic.Int64
	gate    chan error
	batches atomic.Int64
}

func newLab(gated bool) *lab {
	l := new(lab)
	if gated {
		l.gate = make(chan error)
	}
	l.lane = lane[*job]{
		run: func(_ context.Context, jobs []*job) error {
			l.batches.Add(1)
			now := l.clock.Load()
			for _, j := range jobs {
				j.saw = now
			}
			if l.gate != nil {
				return <-l.gate
			}
			return nil
		},
		size:  func(j *job) int { return 1 + j.heavy },
		room:  10,
		width: 1,
		most:  3,
		slack: time.Second,
		limit: time.Minute,
		spawn: func(f func()) { go f() },
	}
	return l
}

// start runs n jobs, each of which knows when it came.
func (l *lab) start(ctx context.Context, n, heavy int) <-chan error {
	done := make(chan error, n)
	for range n {
		go func() {
			j := &job{n: l.clock.Add(1), heavy: heavy}
			err := l.do(ctx, j)
			if err == nil && j.saw < j.n {
				err = errors.New("it was sent before it came")
			}
			done <- err
		}()
	}
	synctest.Wait()
	return done
}

func (l *lab) allWell(t *testing.T, done <-chan error) {
	t.Helper()
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestWhatComesMeanwhileIsTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(true)
		first, rest := l.start(t.Context(), 1, 0), l.start(t.Context(), 9, 0)
		if n := l.batches.Load(); n != 1 {
			t.Errorf("%d batches under way, want 1", n)
		}
		l.gate <- nil
		l.allWell(t, first)
		l.gate <- nil
		l.allWell(t, rest)
		if n := l.batches.Load(); n != 2 {
			t.Errorf("%d batches, want 2", n)
		}
	})
}

func TestABatchHasRoomForSoMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(true)
		done := []<-chan error{l.start(t.Context(), 1, 0), l.start(t.Context(), 5, 3), l.start(t.Context(), 1, 100)}
		go func() {
			for range 5 { // 1, 2 of 4, 2 of 4, 1 of 4, 1 of 101
				l.gate <- nil
			}
		}()
		for _, d := range done {
			l.allWell(t, d)
		}
		if n := l.batches.Load(); n != 5 {
			t.Errorf("%d batches, want 5", n)
		}
	})
}

func TestAnErrorIsEverybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(true)
		broken := errors.New("broken")
		first, rest := l.start(t.Context(), 1, 0), l.start(t.Context(), 3, 0)
		l.gate <- nil
		l.gate <- broken
		l.allWell(t, first)
		for range 3 {
			if err := <-rest; err != broken {
				t.Errorf("got %v, want the error of the batch", err)
			}
		}
	})
}

// One that is stuck is not waited for, but not without limit.
func TestAStuckBatchDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(true)
		all := []<-chan error{l.start(t.Context(), 1, 0)}
		for range 5 {
			time.Sleep(2 * time.Second)
			all = append(all, l.start(t.Context(), 1, 0))
		}
		if n := l.batches.Load(); n != 3 {
			t.Errorf("%d batches under way, want 3", n)
		}
		for range 4 { // the last one takes all that wait
			l.gate <- nil
		}
		for _, d := range all {
			l.allWell(t, d)
		}
	})
}

func TestWhoGivesUpLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(true)
		first := l.start(t.Context(), 1, 0)
		cause := errors.New("the caller has had enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		leaver := l.start(ctx, 1, 0)
		rest := l.start(t.Context(), 2, 0)
		cancel(cause)
		began := time.Now()
		if err := <-leaver; err != cause {
			t.Errorf("who gave up got %v, want its cause", err)
		}
		if took := time.Since(began); took > l.slack {
			t.Errorf("it got it after %v, want %v at most", took, l.slack)
		}
		l.gate <- nil
		l.allWell(t, first)
		l.gate <- nil
		l.allWell(t, rest)
	})
}

// A caller whose deadline is near does not wait for the batch that it has begun.
func TestADeadlineIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		for _, done := range []<-chan error{l.start(ctx, 1, 0), l.start(ctx, 1, 0)} {
			if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want DeadlineExceeded", err)
			}
		}
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("the deadline of 100ms was kept after %v", took)
		}
		l.gate <- nil
	})
}

// Callers come and leave at all moments, and nobody is forgotten.
func TestLaneUnderTraffic(t *testing.T) {
	l := newLab(false)
	l.width = 2
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			for round := range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+round)%5 == 0 {
					go cancel()
				}
				j := &job{n: l.clock.Add(1)}
				if err := l.do(ctx, j); err == nil && j.saw < j.n {
					t.Errorf("came at %d, was sent at %d", j.n, j.saw)
				} else if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running != 0 || len(l.queue) != 0 {
		t.Errorf("%d batches run and %d operations wait when all are done", l.running, len(l.queue))
	}
}

// Whoever runs its operation itself has a place like any other: others form the next
// batch meanwhile, and nobody enters where others wait, or with a deadline that is near.
func TestAPlaceForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(false)
		ctx := t.Context()
		near, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if l.enter(near) {
			t.Error("entered with a deadline within which a batch may not end")
		}
		if !l.enter(ctx) {
			t.Fatal("could not enter an empty lane")
		}
		if l.enter(ctx) {
			t.Error("entered a lane without a place")
		}
		rest := l.start(ctx, 5, 0)
		if n := l.batches.Load(); n != 0 {
			t.Errorf("%d batches while the only place is taken", n)
		}
		l.leave()
		l.allWell(t, rest)
		if n := l.batches.Load(); n != 1 {
			t.Errorf("%d batches, want 1", n)
		}
		if !l.enter(ctx) {
			t.Error("the place was not given back")
		}
		l.leave()
		over, end := context.WithCancel(ctx)
		end()
		if l.enter(over) {
			t.Error("entered with a ctx that had ended")
		}
	})
}
