package regiontest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// patience is how long an event may take that a test waits for. Only a test that fails
// waits that long; in a bubble it is the bubble's time, and passes at once.
const patience = 10 * time.Second

// errUnanswered is what a creator returns whom nobody has answered when its test ends.
var errUnanswered = errors.New("regiontest: the test has ended without telling the creator what to return")

// Creator is a creator that does nothing until the test says what it returns:
//
//	c := regiontest.NewCreator[string](t)
//	go region.GetOrCreate(t.Context(), users, "user:42", c.Create)
//	c.WaitBegan(1)
//	// … what the test wants to see while a creator is at work …
//	c.Release("Ann")
//
// A call that waits for its answer ends when its context does, as that of any creator
// should. What still waits when the test ends is released, and makes the test fail.
//
// Open it with [NewCreator]. All methods are safe for concurrent use; WaitBegan has to be
// called by the test's own goroutine.
type Creator[T any] struct {
	t testing.TB

	mu      sync.Mutex // guards what follows
	ended   bool       // the test has
	began   int        // calls, in all
	running int
	most    int // that were running at once
	left    int // calls that nobody had answered when the test ended
	waiting []chan<- answer[T]
	answers []answer[T]     // for calls that are yet to come
	always  *answer[T]      // for all that come after those
	starts  []chan struct{} // of those who wait for a call to begin
}

// answer makes what a call returns, on the goroutine of the call.
type answer[T any] func() (T, error)

// NewCreator returns a Creator for one test. Make it behind the region that it is used
// with, so that it ends before the region is closed.
func NewCreator[T any](t testing.TB) *Creator[T] {
	c := &Creator[T]{t: t}
	t.Cleanup(func() {
		t.Helper()
		if n := c.end(); n > 0 {
			t.Errorf("regiontest: %d calls of a creator still waited for an answer when the test ended; call Release, Fail or Panic for each", n)
		}
	})
	return c
}

// Create is the creator, to be passed to GetOrCreate. It waits until it is told what to
// return or ctx ends, whose cause it then returns.
func (c *Creator[T]) Create(ctx context.Context) (T, error) {
	next, waiting := c.begin()
	defer c.done()
	if waiting == nil {
		return next()
	}
	select {
	case next = <-waiting:
	case <-ctx.Done():
		if next = c.leave(waiting); next == nil {
			var none T
			return none, context.Cause(ctx)
		}
	}
	return next()
}

// begin counts a call in. It returns its answer or, if that is not there yet, a channel
// that it comes through.
func (c *Creator[T]) begin() (answer[T], chan answer[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began++
	c.running++
	c.most = max(c.most, c.running)
	for _, start := range c.starts {
		close(start)
	}
	c.starts = nil
	switch {
	case len(c.answers) > 0:
		next := c.answers[0]
		c.answers = c.answers[1:]
		return next, nil
	case c.always != nil:
		return *c.always, nil
	case c.ended:
		return fails[T](errUnanswered), nil
	}
	// It is made here, and not with the Creator, so that it belongs to the bubble, if any,
	// of those who use it.
	waiting := make(chan answer[T], 1)
	c.waiting = append(c.waiting, waiting)
	return nil, waiting
}

// leave ends the waiting of a call whose context has ended. It returns the answer if there
// is one all the same.
func (c *Creator[T]) leave(waiting chan answer[T]) answer[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case next := <-waiting:
		return next
	default:
	}
	for i, w := range c.waiting {
		if w == waiting {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			break
		}
	}
	if c.t.Context().Err() != nil {
		c.left++ // its callers have left because the test is over
	}
	return nil
}

func (c *Creator[T]) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
}

// end releases what waits, and what is still to come, and returns how many have waited.
func (c *Creator[T]) end() (unanswered int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	unanswered = c.left + len(c.waiting)
	for _, w := range c.waiting {
		w <- fails[T](errUnanswered)
	}
	c.waiting = nil
	return unanswered
}

func fails[T any](err error) answer[T] {
	return func() (none T, _ error) { return none, err }
}

// Release lets one call return value: the one that has waited longest or, if none waits,
// the next one to come.
func (c *Creator[T]) Release(value T) { c.answer(func() (T, error) { return value, nil }) }

// Fail is Release with an error instead of a value.
func (c *Creator[T]) Fail(err error) { c.answer(fails[T](err)) }

// Panic is Release with a panic of v instead of a value.
func (c *Creator[T]) Panic(v any) { c.answer(func() (T, error) { panic(v) }) }

// ReleaseAll lets all calls that wait return value, and those that are still to come for
// which there is no other answer.
func (c *Creator[T]) ReleaseAll(value T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := answer[T](func() (T, error) { return value, nil })
	c.always = &a
	for _, w := range c.waiting {
		w <- a
	}
	c.waiting = nil
}

func (c *Creator[T]) answer(a answer[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.answers = append(c.answers, a)
		return
	}
	c.waiting[0] <- a // has room
	c.waiting = c.waiting[1:]
}

// Began returns how many calls have begun so far.
func (c *Creator[T]) Began() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.began
}

// WaitBegan waits until n calls have begun, counted from the first one. After ten seconds,
// of a bubble's time in a bubble, the test fails at once.
func (c *Creator[T]) WaitBegan(n int) {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		start := c.next(n)
		if start == nil {
			return
		}
		select {
		case <-start:
		case <-timer.C:
			c.t.Fatalf("regiontest: %d calls of the creator have begun after %v, want %d", c.Began(), patience, n)
		}
	}
}

// next returns a channel that is closed when one more call begins, or nil if n have.
func (c *Creator[T]) next(n int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began >= n {
		return nil
	}
	start := make(chan struct{})
	c.starts = append(c.starts, start)
	return start
}

// Calls wants that the creator was called so many times.
func (c *Creator[T]) Calls(want int) {
	c.t.Helper()
	if got := c.Began(); got != want {
		c.t.Errorf("regiontest: the creator was called %d times, want %d", got, want)
	}
}

// AtOnce wants that the most calls that were ever at work at the same time were so many.
func (c *Creator[T]) AtOnce(want int) {
	c.t.Helper()
	c.mu.Lock()
	got := c.most
	c.mu.Unlock()
	if got != want {
		c.t.Errorf("regiontest: %d calls of the creator were at work at once, want %d", got, want)
	}
}
