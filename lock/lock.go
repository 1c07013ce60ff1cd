// Package lock defines the mutex that stands behind a cache miss: a Locker
// grants leases on keys, and whoever holds the lease of a key creates its value
// while everyone else waits.
//
// A lease is an efficiency lock. It keeps a fleet from creating one value many
// times; it does not make a value correct. Correctness comes from the backend,
// which stores a created value only while the lease it was created under is
// still held (see [github.com/dogpile-go/dogpile/backend.Item]).
//
// The folders below hold the implementations; locktest is the conformance suite
// that each of them passes.
package lock

import (
	"context"
	"errors"
)

// ErrHeld is returned by [Locker.TryAcquire] when somebody else holds the lease.
// It is an answer, not a failure: wait with [Locker.Wait], or go on without.
var ErrHeld = errors.New("lock: the lease is held by another creator")

// ErrLost is the reason given to a holder whose lease ended before it was
// released: it expired, it was voided by a write or a delete of the key, or its
// server forgot it.
var ErrLost = errors.New("lock: the lease was lost before it was released")

// ErrClosed is returned by a Locker that has been closed.
var ErrClosed = errors.New("lock: the locker is closed; open a new one")

// Locker grants leases on keys. A key is any string, including the empty one and
// one of 64 KiB; different keys never share a lease.
//
// All methods are safe for concurrent use.
type Locker interface {
	// TryAcquire makes one attempt at the lease of key and never waits for its
	// holder. It returns [ErrHeld] when there is one, [ErrClosed] after Close,
	// and any other error when the lock could not be asked.
	TryAcquire(ctx context.Context, key string) (Lease, error)

	// Wait blocks while the leases of all keys are held by others and returns
	// nil as soon as one of them may be free: released, expired, voided. It
	// returns at once if one is free already, so a lease that ends between a
	// TryAcquire and the Wait is never waited for. It may return early without a
	// reason; it never grants anything. Without keys it returns nil.
	//
	// It returns the cause of ctx when ctx ends first, and [ErrClosed] when the
	// Locker is closed meanwhile.
	Wait(ctx context.Context, keys ...string) error

	// Void ends the leases of keys, whoever holds them: their holders learn of
	// it through Lost, waiters wake, and the next TryAcquire succeeds. A key
	// without a lease is skipped. It returns [ErrClosed] after Close.
	Void(ctx context.Context, keys ...string) error

	// Close ends every lease that this Locker granted and wakes every waiter.
	// A second Close does nothing and returns nil.
	Close() error
}

// Lease is the right to create the value of one key, until it is released or
// lost. All methods are safe for concurrent use.
type Lease interface {
	// Key returns the key that the lease was asked for.
	Key() string

	// Token returns the text that tells this lease from every other one. It is
	// never empty.
	Token() string

	// Lost returns a channel that is closed when the lease is known to have
	// ended before its holder ended it: by Release, or by storing under it. It is
	// never closed after that.
	Lost() <-chan struct{}

	// Release gives the lease back and wakes those who wait for it, if it can
	// also when ctx has ended. Releasing a lease that has been lost or released is
	// not an error and touches nobody else's lease.
	Release(ctx context.Context) error
}
