package filelock

import (
	"context"
	"errors"
	"fmt"
)

// Lease is a lease that was granted. It implements lock.Lease.
type Lease struct {
	member *Member
	name   Name
	key    string
	token  string
	lost   chan struct{}
}

// Key is Key of lock.Lease.
func (l *Lease) Key() string { return l.key }

// Token is Token of lock.Lease.
func (l *Lease) Token() string { return l.token }

// Lost is Lost of lock.Lease.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Release is Release of lock.Lease. It waits for a folder that is locked for a second
// at most; the lease is then given back in the background.
func (l *Lease) Release(ctx context.Context) error {
	m := l.member
	m.mu.Lock()
	held := m.leases[l.name] == l
	m.mu.Unlock()
	if !held {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	err := m.space.Locked(ctx, l.name.Shard(), func() error {
		m.endLocked(l)
		return nil
	})
	if err == nil || errors.Is(err, m.space.closed) {
		return nil // what has been closed has no leases
	}
	if m.forget(l) {
		m.leave(l)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: the lease is given back when it is free", ErrBusy)
	}
	return err
}
