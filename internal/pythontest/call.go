package pythontest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Creator says what the creator of a call does. The zero Creator returns None at once.
type Creator struct {
	// Value is what it returns: anything that JSON can say, or [Py]. For calls with
	// several keys it is a map from the key, or the text of the id, to the value.
	Value any
	// Duration is how long it takes.
	Duration time.Duration
	// Hold makes it wait for [Call.Release] first.
	Hold bool
	// Fail, if not empty, is the message of the exception Failed that it raises.
	Fail string
}

func (c Creator) request() request {
	q := request{"value": c.Value}
	if c.Duration > 0 {
		q["seconds"] = c.Duration.Seconds()
	}
	if c.Hold {
		q["hold"] = true
	}
	if c.Fail != "" {
		q["fail"] = c.Fail
	}
	return q
}

// Call is a call under way in a worker, with a thread of its own there. It is safe for
// concurrent use.
type Call struct {
	worker *Worker
	id     int

	creating chan struct{} // closed when a creator has begun
	once     sync.Once     // guards that
	done     chan struct{} // closed when the answer is there
	ending   sync.Once     // guards that
	answer   message
	err      error
}

func newCall(w *Worker, id int) *Call {
	return &Call{worker: w, id: id, creating: make(chan struct{}), done: make(chan struct{})}
}

func (c *Call) began() { c.once.Do(func() { close(c.creating) }) }

func (c *Call) end(m message, err error) {
	c.ending.Do(func() {
		c.answer, c.err = m, err
		close(c.done)
	})
}

// AwaitCreating waits until the creator of the call has begun. The test fails if the
// call ends without one.
func (c *Call) AwaitCreating(t testing.TB) {
	t.Helper()
	timeout, stop := late()
	defer stop()
	select {
	case <-c.creating:
	case <-c.done:
		select {
		case <-c.creating:
		default:
			t.Fatalf("a Python call ends (%s, %v) without its creator", c.answer.Result, c.failure())
		}
	case <-timeout:
		t.Fatal("the creator of a Python call does not begin")
	}
}

// Creating is closed when the creator of the call has begun.
func (c *Call) Creating() <-chan struct{} { return c.creating }

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { return c.done }

// Created reports whether the creator of the call has begun.
func (c *Call) Created() bool {
	select {
	case <-c.creating:
		return true
	default:
		return false
	}
}

// Release lets a creator with [Creator.Hold] go on, also one that has not begun. It does
// nothing to a call that has ended.
func (c *Call) Release() { _ = c.worker.write(request{"op": "release", "call": c.id}) }

// ReleaseWith is [Call.Release] that changes what the creator does: all of it.
func (c *Call) ReleaseWith(creator Creator) {
	_ = c.worker.write(request{"op": "release", "call": c.id, "creator": creator.request()})
}

// Wait waits for the end of the call and returns its error, which is an [*Exception] or
// wraps [ErrEnded].
func (c *Call) Wait() error { return c.into(nil) }

// Value waits for the end of a call that returns one value.
func (c *Call) Value() (Value, error) {
	var v Value
	err := c.into(&v)
	return v, err
}

// Values waits for the end of a call that returns a list.
func (c *Call) Values() ([]Value, error) {
	var v []Value
	err := c.into(&v)
	return v, err
}

func (c *Call) failure() error {
	if c.err != nil {
		return c.err
	}
	if c.answer.Error != nil {
		return c.answer.Error
	}
	return nil
}

// into waits for the end of the call and fills v, a pointer or nil, with what it returned.
func (c *Call) into(v any) error {
	timeout, stop := late()
	defer stop()
	select {
	case <-c.done:
	case <-timeout:
		return fmt.Errorf("a Python call has not ended after %v", Patience)
	}
	if err := c.failure(); err != nil || v == nil {
		return err
	}
	if err := json.Unmarshal(c.answer.Result, v); err != nil {
		return fmt.Errorf("what a Python call returned, %s: %w", c.answer.Result, err)
	}
	return nil
}
