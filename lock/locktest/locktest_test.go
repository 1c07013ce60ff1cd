package locktest_test

import (
	"context"
	"sync"
	"testing"

	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/lock/locktest"
)

// TestPair runs the suite on two sides of one Locker, because no implementation
// below this package has two.
func TestPair(t *testing.T) {
	open := func(*testing.T) (a, b lock.Locker) {
		server := local.New()
		return newSide(server), newSide(server)
	}
	t.Run("InBubble", func(t *testing.T) { locktest.RunPair(t, open, locktest.InBubble()) })
	t.Run("InRealTime", func(t *testing.T) { locktest.RunPair(t, open) })
}

// side stands in for one of two processes on one lock server.
type side struct {
	server *local.Locker
	closed context.Context
	close  context.CancelCauseFunc

	mu   sync.Mutex
	mine map[lock.Lease]bool
}

func newSide(server *local.Locker) *side {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &side{server: server, closed: ctx, close: cancel, mine: map[lock.Lease]bool{}}
}

func (s *side) TryAcquire(ctx context.Context, key string) (lock.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Err() != nil {
		return nil, lock.ErrClosed
	}
	lease, err := s.server.TryAcquire(ctx, key)
	if err != nil {
		return nil, err
	}
	s.mine[lease] = true
	return &granted{lease, s}, nil
}

func (s *side) Wait(ctx context.Context, keys ...string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.closed, func() { cancel(lock.ErrClosed) })()
	if s.closed.Err() != nil {
		return lock.ErrClosed
	}
	return s.server.Wait(ctx, keys...)
}

func (s *side) Void(ctx context.Context, keys ...string) error {
	if s.closed.Err() != nil {
		return lock.ErrClosed
	}
	return s.server.Void(ctx, keys...)
}

func (s *side) Close() error {
	s.close(lock.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for lease := range s.mine {
		select {
		case <-lease.Lost():
		default:
			s.server.Void(context.Background(), lease.Key())
		}
	}
	clear(s.mine)
	return nil
}

type granted struct {
	lock.Lease
	to *side
}

func (g *granted) Release(ctx context.Context) error {
	g.to.mu.Lock()
	defer g.to.mu.Unlock()
	delete(g.to.mine, g.Lease)
	return g.Lease.Release(ctx)
}
