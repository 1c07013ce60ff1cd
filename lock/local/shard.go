package local

import "sync"

// roomy is the number of leases above which an emptied shard gives its map back:
// a Go map never shrinks, and one burst of keys must not cost memory for ever.
const roomy = 256

// shard holds the leases of the keys that hash to it.
type shard struct {
	mu   sync.Mutex
	held map[string]*lease
	peak int // the most leases that held has had at once

	_ [64]byte // keeps the mutexes of two shards off one cache line
}

// add enters h. The caller holds mu.
func (s *shard) add(h *lease) {
	s.held[h.key] = h
	s.peak = max(s.peak, len(s.held))
}

// end removes h and wakes its waiters. The caller holds mu and knows that h is
// held.
func (s *shard) end(h *lease) {
	delete(s.held, h.key)
	if len(s.held) == 0 && s.peak > roomy {
		s.held, s.peak = make(map[string]*lease), 0
	}
	for waiter := range h.waiters {
		waiter.wake()
	}
	h.waiters = nil
}

// lose ends h against its holder's will. The caller holds mu and knows that h is
// held.
func (s *shard) lose(h *lease) {
	s.end(h)
	close(h.lost)
}

// loseAll ends every lease of the shard.
func (s *shard) loseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		s.lose(h)
	}
}
