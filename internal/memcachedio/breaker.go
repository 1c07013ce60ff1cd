package memcachedio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// mostLate is how many answers in a row may be late before a server counts as
	// down. One may be the fault of what was asked.
	mostLate = 3

	// How long a server that is down is left alone: first after it was found to be,
	// and longest in the end.
	firstRest   = 100 * time.Millisecond
	longestRest = time.Second
)

// breaker keeps calls away from a server that is down, so that it costs one timeout
// and not one for each call. While it is open the server is asked in the background
// whether it is back; no caller waits for that.
type breaker struct {
	down  atomic.Bool
	slips atomic.Int32 // answers in a row that were late

	mu      sync.Mutex
	cause   error
	probing bool
	next    time.Time // when to ask again
	rest    time.Duration
}

func (b *breaker) isOpen() bool { return b.down.Load() }

// open notes that a connection could not be made.
func (b *breaker) open(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cause = cause
	if !b.down.Swap(true) {
		b.rest = firstRest
		b.next = time.Now().Add(b.rest)
	}
}

// late notes that an answer did not come in time.
func (b *breaker) late(cause error) {
	if b.slips.Add(1) >= mostLate {
		b.open(cause)
	}
}

// answered notes that the server works. While the breaker is open only a ping closes
// it: an answer may be to what was asked before.
func (b *breaker) answered() {
	if b.slips.Load() != 0 {
		b.slips.Store(0)
	}
}

// close notes that the server is back.
func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slips.Store(0)
	b.down.Store(false)
}

// refuse returns the error of a server that is down, after it has seen to it that the
// server is asked again when it is time.
func (b *breaker) refuse(s *Server) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.down.Load() {
		return nil
	}
	if now := time.Now(); !b.probing && !now.Before(b.next) {
		b.probing = s.client.Go(func() { b.probe(s) })
	}
	return unsentError{fmt.Errorf("%w: %s: %w", ErrDown, s.addr.text, b.cause)}
}

// unsentError is that of a request which was not sent.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// Unsent reports whether err says that a request was not sent, and will not be.
func Unsent(err error) bool {
	var unsent unsentError
	return errors.As(err, &unsent)
}

func (b *breaker) probe(s *Server) {
	s.dropIdle() // what connections there are date from before
	err := s.ping(context.Background())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if err != nil {
		b.rest = min(2*b.rest, longestRest)
		b.next = time.Now().Add(b.rest)
	}
}
