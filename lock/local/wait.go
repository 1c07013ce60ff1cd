package local

import (
	"context"

	"github.com/dogpile-go/dogpile/lock"
)

// waiter is one call of Wait. It has room for one message, so whoever ends a
// lease never blocks, and a call that waits for several keys misses nothing.
type waiter chan struct{}

func (w waiter) wake() {
	select {
	case w <- struct{}{}:
	default: // woken already, by the end of another lease
	}
}

// Wait blocks while the leases of all keys are held, as [lock.Locker] says. It
// returns the cause of ctx or [lock.ErrClosed] and no other error. Nothing of the
// call is left behind when it has returned.
func (l *Locker) Wait(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	w := make(waiter, 1)
	watched := make([]*lease, 0, len(keys))
	defer func() {
		for _, h := range watched {
			h.forget(w)
		}
	}()
	for _, key := range keys {
		h, err := l.watch(key, w)
		if h == nil || err != nil {
			return err
		}
		watched = append(watched, h)
	}
	select {
	case <-w:
		if l.closed.Load() {
			return lock.ErrClosed
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch has w woken when the lease of key ends. It returns nil if there is none.
func (l *Locker) watch(key string, w waiter) (*lease, error) {
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.closed.Load() {
		return nil, lock.ErrClosed
	}
	h := s.held[key]
	if h == nil {
		return nil, nil
	}
	if h.waiters == nil {
		h.waiters = make(map[waiter]struct{})
	}
	h.waiters[w] = struct{}{}
	return h, nil
}

// forget undoes watch; it does nothing if the lease has ended.
func (h *lease) forget(w waiter) {
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	delete(h.waiters, w)
}
