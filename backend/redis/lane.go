package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// lane runs operations in batches. An operation that comes while nothing is under
// way is sent at once; those that come meanwhile form the next batch. So every
// operation is sent after it has come, and what is read for one may be given to the
// others of its batch. Databases know this as group commit.
//
// The caller whose operation begins a batch runs it itself, without a goroutine, so
// that a lone one costs nothing more.
type lane[O any] struct {
	run   func(ctx context.Context, ops []O) error // must set what the operations are to know
	size  func(op O) int                           // how much of a batch's room it takes
	room  int                                      // of one batch
	width int                                      // batches under way, as a rule
	most  int                                      // batches under way, when some are stuck
	slack time.Duration                            // see open
	limit time.Duration                            // how long a batch takes at most
	spawn func(f func())                           // runs f on another goroutine

	mu      sync.Mutex
	running int
	began   time.Time // when the last batch began
	queue   []*turn[O]
	late    chan struct{} // closed within slack; nil: nobody has asked for one
}

// turn is an operation's place in the queue.
type turn[O any] struct {
	op   O
	wake chan struct{} // closed when the operation is done, or is to lead
	err  error

	// Guarded by lane.mu.
	batch []*turn[O] // set when it is to lead this batch, itself included
	taken bool       // it is in a batch
}

// do runs op and returns the error of its batch. If ctx ends before, it returns the
// cause: op may have been run or not, and must not be looked at.
func (l *lane[O]) do(ctx context.Context, op O) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.mu.Lock()
	if len(l.queue) == 0 && l.open() {
		l.start()
		l.mu.Unlock()
		return l.lead(ctx, []*turn[O]{{op: op}})
	}
	t := &turn[O]{op: op, wake: make(chan struct{})}
	l.queue = append(l.queue, t)
	if l.open() {
		// What is under way takes so long that it is not waited for.
		l.start()
		l.next()
	}
	late := l.lateness()
	l.mu.Unlock()

	if !l.await(ctx, t, late) {
		l.mu.Lock()
		if !t.taken {
			l.remove(t)
		}
		batch := t.batch
		l.mu.Unlock()
		if batch != nil {
			l.spawn(func() { _ = l.runAll(batch) }) // its members are told
		}
		return context.Cause(ctx)
	}
	l.mu.Lock()
	batch := t.batch
	l.mu.Unlock()
	if batch != nil {
		return l.lead(ctx, batch)
	}
	return t.err
}

// enter takes a place for one operation that its caller runs itself, with ctx left aside,
// and then calls leave. It returns false if there is no place at once, or if ctx may end
// before a batch has to.
func (l *lane[O]) enter(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && time.Until(deadline) <= l.limit {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 || l.running >= l.width {
		return false
	}
	l.start()
	return true
}

// leave gives the place to what has come meanwhile.
func (l *lane[O]) leave() {
	l.mu.Lock()
	l.next()
	l.mu.Unlock()
}

// await waits until t is woken, and returns false if ctx ends before. Asking a context
// for its Done channel costs more than everything else here, so that is left until
// the answer is late.
func (l *lane[O]) await(ctx context.Context, t *turn[O], late <-chan struct{}) bool {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > l.slack {
		select {
		case <-t.wake:
			return true
		case <-late:
		}
	}
	select {
	case <-t.wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// lateness returns a channel that is closed within slack. Those who come at about
// the same time share it. mu is held.
func (l *lane[O]) lateness() <-chan struct{} {
	if l.late == nil {
		late := make(chan struct{})
		l.late = late
		time.AfterFunc(l.slack, func() {
			l.mu.Lock()
			l.late = nil
			l.mu.Unlock()
			close(late)
		})
	}
	return l.late
}

// open reports whether a batch may begin: there is a place, or nothing has begun for
// so long that those under way must be stuck. mu is held.
func (l *lane[O]) open() bool {
	return l.running < l.width || l.running < l.most && time.Since(l.began) > l.slack
}

// start counts a batch that begins. mu is held.
func (l *lane[O]) start() {
	l.running++
	if l.running >= l.width {
		l.began = time.Now()
	}
}

// next makes a batch of what waits and wakes its leader, or gives up the place that
// start has taken. mu is held.
func (l *lane[O]) next() {
	if len(l.queue) == 0 {
		l.running--
		return
	}
	n, room := 0, l.room
	for n < len(l.queue) && (n == 0 || room >= l.size(l.queue[n].op)) {
		room -= l.size(l.queue[n].op)
		l.queue[n].taken = true
		n++
	}
	batch := l.queue[:n:n]
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	l.began = time.Now()
	leader := batch[0]
	leader.batch = batch
	close(leader.wake)
}

func (l *lane[O]) remove(t *turn[O]) {
	for i, other := range l.queue {
		if other == t {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			return
		}
	}
}

// lead runs a batch and tells its members. If the leader's deadline may come before
// the batch has ended, the batch goes on without it.
func (l *lane[O]) lead(ctx context.Context, batch []*turn[O]) error {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > l.limit {
		return l.runAll(batch)
	}
	done := make(chan error, 1)
	l.spawn(func() { done <- l.runAll(batch) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// runAll runs a batch and tells its members, whatever happens.
func (l *lane[O]) runAll(batch []*turn[O]) (err error) {
	err = errExited
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		l.leave()
		for _, t := range batch[1:] {
			t.err = err
			close(t.wake)
		}
	}()
	ops := make([]O, len(batch))
	for i, t := range batch {
		ops[i] = t.op
	}
	return l.run(context.Background(), ops)
}

// panicked is the error of a client, or of a hook of it, that has panicked.
func panicked(p any) error { return fmt.Errorf("redis: the client panicked: %v", p) }

// errExited is what the others get of a batch whose goroutine a hook has ended.
var errExited = errors.New("redis: a hook of the client has ended the goroutine")
