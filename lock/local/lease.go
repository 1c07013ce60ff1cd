package local

import "context"

// lease is held exactly while it stands in its shard under its key.
type lease struct {
	shard *shard
	key   string
	token string
	lost  chan struct{}

	// waiters are told when the lease ends. Guarded by shard.mu.
	waiters map[waiter]struct{}
}

func (h *lease) Key() string           { return h.key }
func (h *lease) Token() string         { return h.token }
func (h *lease) Lost() <-chan struct{} { return h.lost }

// Release gives the lease back, also when ctx has ended: a lease that is kept
// because its holder gave up would block everybody else.
func (h *lease) Release(context.Context) error {
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	if h.shard.held[h.key] == h {
		h.shard.end(h)
	}
	return nil
}
