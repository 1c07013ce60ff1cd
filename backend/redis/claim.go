package redis

import (
	"context"
	"sync"

	"github.com/dogpile-go/dogpile/internal/fleet"
)

// claim is one call that asks for locks. It may take several attempts, because
// connections break, and each has tokens of its own: what comes late of an attempt that
// was given up takes a lock, if any, that nobody stores under, and that is given back.
type claim struct {
	ask   func(ctx context.Context, key, lock string) *fleet.Lease
	keys  []string
	locks []string

	mu     sync.Mutex
	left   bool // nobody wants them any more
	closed bool
	leases []*fleet.Lease // of the last attempt
}

// attempt returns the leases that are to be asked for now, and the tokens of the
// attempt before, or "". It returns false if nothing is to be asked for.
func (c *claim) attempt() (leases []*fleet.Lease, before []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = make([]string, len(c.locks))
	for i, l := range c.leases {
		before[i] = l.Token()
		l.Abandon()
	}
	c.leases = nil
	if c.left {
		return nil, nil, false
	}
	leases = make([]*fleet.Lease, len(c.locks))
	for i, lock := range c.locks {
		if leases[i] = c.ask(context.Background(), c.keys[i], lock); leases[i] == nil {
			c.closed = true // and Close ends the others
			return nil, nil, false
		}
	}
	c.leases = leases
	return leases, before, true
}

// asked returns the leases of the last attempt, when that is over. It returns false if
// the backend was closed meanwhile.
func (c *claim) asked() ([]*fleet.Lease, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leases, !c.closed
}

// leave gives up: what has been granted, or is yet, is given back.
func (c *claim) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	for _, l := range c.leases {
		l.Abandon()
	}
	c.leases = nil
}
