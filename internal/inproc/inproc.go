// Package inproc is what the backends that live in one process have in common:
// leases that a [local.Locker] grants, the rules of publishing under them, and a
// table of stamps. A backend adds the place where entries are kept.
package inproc

import (
	"context"
	"errors"
	"sync/atomic"
	"weak"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/local"
)

var errNegativeTTL = errors.New("backend: an item has a negative TTL; give zero to keep it for ever")

// Core is a backend without the entries. Open it with [New]. All methods are safe
// for concurrent use; those that can fail return [backend.ErrClosed] after Close.
//
// # Why an old value is never published over a newer one
//
// Every change of what is stored under a key runs in Publish or Remove, and so
// under the Locker's mutex for that key, in one step with what it means for the
// key's lease. Let C be a creation that holds a lease L, and W a write or delete
// of its key that took L away. The publication of C needs L to be held, in the
// same step; W ends L, in the same step. So either C published before W, which
// then replaced or removed its value, or C comes after W and is refused. There is
// no moment at which L is void and the old entry still there for the next holder
// to find, nor one at which a publication that was let through has yet to happen.
type Core struct {
	leases *local.Locker
	stamps stamps
	closed atomic.Bool
}

// New returns an open Core.
func New() *Core {
	return &Core{leases: local.New(), stamps: stamps{
		regions: map[string]*backend.LiveStamps{},
		tags:    map[backend.Guard]weak.Pointer[backend.LiveStamps]{},
	}}
}

// Open returns nil, or [backend.ErrClosed] after Close.
func (c *Core) Open() error {
	if c.closed.Load() {
		return backend.ErrClosed
	}
	return nil
}

// Acquire is Acquire of [backend.Backend], with read to look up an entry.
func (c *Core) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard,
	read func(backend.Key) *backend.Entry) ([]backend.Grant, []backend.Stamps, error) {
	if err := c.Open(); err != nil {
		return nil, nil, err
	}
	grants := make([]backend.Grant, len(keys))
	for i, key := range keys {
		lease, err := c.leases.TryAcquire(ctx, key.String())
		switch {
		case err == nil:
			grants[i].Lease = lease
		case !errors.Is(err, lock.ErrHeld):
			// The Locker was closed meanwhile. That has ended every lease, those
			// granted here as well.
			return nil, nil, closedHere(err)
		}
	}
	for i, key := range keys {
		if grants[i].Lease != nil {
			grants[i].Entry = read(key)
		}
	}
	return grants, c.Stamps(guards), nil
}

// Wait is Wait of [backend.Backend].
func (c *Core) Wait(ctx context.Context, keys []backend.Key) error {
	if err := c.Open(); err != nil {
		return err
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.String()
	}
	return closedHere(c.leases.Wait(ctx, names...))
}

// Publish does what Set of [backend.Backend] does with one item, with store to
// keep its entry, and returns what belongs into the item's Err, or
// [backend.ErrClosed] for the whole Set. store must be quick and must not call
// the Core.
func (c *Core) Publish(item *backend.Item, store func()) error {
	if item.Entry == nil {
		store = func() {} // the item is there for its lease alone
	}
	switch {
	case item.TTL < 0:
		return errNegativeTTL
	case item.Lease == nil:
		return c.Remove(item.Key, store)
	case item.Lease.Key() != item.Key.String() || !c.leases.Finish(item.Lease, store):
		return backend.ErrLeaseLost
	}
	return nil
}

// Remove voids the lease of key and runs remove before anybody can take it again.
// remove must be quick and must not call the Core.
func (c *Core) Remove(key backend.Key, remove func()) error {
	if !c.leases.Supersede(key.String(), remove) {
		return backend.ErrClosed
	}
	return nil
}

// Close ends every lease and wakes every waiter. Nothing is stored or removed any
// more when it has returned.
func (c *Core) Close() {
	c.closed.Store(true)
	c.leases.Close()
}

// closedHere translates the Locker's word for "closed" into the backend's.
func closedHere(err error) error {
	if errors.Is(err, lock.ErrClosed) {
		return backend.ErrClosed
	}
	return err
}
