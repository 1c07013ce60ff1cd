package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/internal/redisio"
	"github.com/dogpile-go/dogpile/lock"
)

// enter lets a call in that Close is to wait for; leave ends it. The ctx that it
// returns also ends, with lock.ErrClosed as its cause, when the Locker is closed.
func (l *Locker) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	if l.broken != nil {
		return nil, nil, l.broken
	}
	if !l.join() {
		return nil, nil, lock.ErrClosed
	}
	if l.ending.Err() != nil {
		l.working.Done()
		return nil, nil, lock.ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ending, func() { cancel(lock.ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		l.working.Done()
	}, nil
}

// join adds one to what Close waits for, unless it does so already.
func (l *Locker) join() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.working.Add(1)
	return true
}

// run calls f, which talks to the server, and returns when f does, or when ctx ends:
// go-redis may not notice that for some time. f is then left to itself, and orphaned,
// if it is not nil, is called with what comes of it. The ctx of f always has a
// deadline, because redislock would otherwise set one of a TTL.
func (l *Locker) run(ctx context.Context, f func(context.Context) error, orphaned func(error)) (left bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, l.client.Longest())
	if !l.join() {
		defer cancel()
		return false, explained(ctx, f(bounded))
	}
	done, gone := make(chan error), make(chan struct{})
	go func() {
		defer l.working.Done()
		defer cancel()
		err := f(bounded)
		select {
		case done <- err:
		case <-gone:
			if orphaned != nil {
				orphaned(err)
			}
		}
	}()
	select {
	case err := <-done:
		return false, explained(ctx, err)
	case <-ctx.Done():
		close(gone)
		return true, context.Cause(ctx)
	}
}

// explained makes of an error that came back under ctx one that says what to do, and
// that wraps the cause of ctx if that had ended.
func explained(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // a socket may notice a moment earlier
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return redisio.Explain(ctx, err)
}

// twice calls f, and again if the connection broke before an answer came, as when a
// server was restarted. f has to bear being executed twice.
func twice(ctx context.Context, f func() error) error {
	err := f()
	if err != nil && ctx.Err() == nil && redisio.Broken(err) {
		err = f()
	}
	return err
}
