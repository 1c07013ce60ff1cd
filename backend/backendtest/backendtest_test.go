package backendtest_test

import (
	"context"
	"sync"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/lock"
)

// TestPair runs the suite on two sides of one memory backend. It tests the suite,
// before there is a backend with two sides, and that a backend takes back the
// leases that a proxy has wrapped.
func TestPair(t *testing.T) {
	open := func(t *testing.T) (a, b backend.Backend) {
		server := memory.New(memory.Config{Copy: true})
		t.Cleanup(func() { server.Close() })
		return newSide(server), newSide(server)
	}
	t.Run("InBubble", func(t *testing.T) { backendtest.RunPair(t, open, backendtest.InBubble()) })
	t.Run("InRealTime", func(t *testing.T) { backendtest.RunPair(t, open) })
}

// side stands in for the backend of one of two processes on one server.
type side struct {
	server backend.Backend
	closed context.Context
	close  context.CancelCauseFunc

	mu   sync.Mutex
	mine map[*granted]backend.Key
}

func newSide(server backend.Backend) *side {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &side{server: server, closed: ctx, close: cancel, mine: map[*granted]backend.Key{}}
}

// granted is a lease that remembers which side it was granted to.
type granted struct {
	lock.Lease
	to *side
}

func (g *granted) Release(ctx context.Context) error {
	g.to.mu.Lock()
	defer g.to.mu.Unlock()
	delete(g.to.mine, g)
	return g.Lease.Release(ctx)
}

func (s *side) open() error { return context.Cause(s.closed) }

func (s *side) Bytes() bool { return s.server.Bytes() }

func (s *side) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	if err := s.open(); err != nil {
		return backend.Found{}, err
	}
	return s.server.Get(ctx, key, guards)
}

func (s *side) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if err := s.open(); err != nil {
		return nil, nil, err
	}
	return s.server.GetMulti(ctx, keys, guards)
}

func (s *side) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return nil, nil, err
	}
	grants, stamps, err := s.server.Acquire(ctx, keys, guards)
	for i := range grants {
		if grants[i].Lease != nil {
			g := &granted{grants[i].Lease, s}
			grants[i].Lease, s.mine[g] = g, keys[i]
		}
	}
	return grants, stamps, err
}

func (s *side) Wait(ctx context.Context, keys []backend.Key) error {
	if err := s.open(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.closed, func() { cancel(backend.ErrClosed) })()
	return s.server.Wait(ctx, keys)
}

func (s *side) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return s.server.Set(ctx, items, guards)
}

func (s *side) Delete(ctx context.Context, keys []backend.Key) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.server.Delete(ctx, keys)
}

func (s *side) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return s.server.Stamps(ctx, guards)
}

func (s *side) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.server.Renew(ctx, guards, soft)
}

// Close loses the leases of this side that are still held: an item without lease
// and entry voids the lease of its key and changes nothing else.
func (s *side) Close() error {
	s.close(backend.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for g, key := range s.mine {
		select {
		case <-g.Lost():
			continue
		default:
		}
		if grants, _, err := s.server.Acquire(context.Background(), []backend.Key{key}, nil); err == nil && grants[0].Lease != nil {
			// It had ended without being lost: it was published under.
			grants[0].Lease.Release(context.Background())
			continue
		}
		s.server.Set(context.Background(), []backend.Item{{Key: key}}, nil)
	}
	clear(s.mine)
	return nil
}
