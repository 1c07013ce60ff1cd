package inproc

import (
	"sync"

	"github.com/dogpile-go/dogpile/backend"
)

// stamps is the table of guards. A guard exists as soon as anybody names it, so
// that its stamps are never zero, and is kept until the Core is gone: a process
// has few regions. Guards of tags can be many; bounding them is still to come,
// and is safe, because a stamp that was dropped can only invalidate.
type stamps struct {
	mu    sync.RWMutex
	cells map[backend.Guard]*backend.LiveStamps
}

// Live is Live of [backend.Local]. It works after Close too.
func (c *Core) Live(guard backend.Guard) *backend.LiveStamps {
	s := &c.stamps
	s.mu.RLock()
	cell := s.cells[guard]
	s.mu.RUnlock()
	if cell != nil {
		return cell
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cell = s.cells[guard]; cell == nil {
		cell = backend.NewLiveStamps()
		s.cells[guard] = cell
	}
	return cell
}

// Stamps returns the current stamps of guards, none of them zero.
func (c *Core) Stamps(guards []backend.Guard) []backend.Stamps {
	if len(guards) == 0 {
		return nil
	}
	current := make([]backend.Stamps, len(guards))
	for i, guard := range guards {
		current[i] = c.Live(guard).Load()
	}
	return current
}

// Renew replaces one stamp of each guard, the soft one if soft is true.
func (c *Core) Renew(guards []backend.Guard, soft bool) {
	for _, guard := range guards {
		c.Live(guard).Renew(soft)
	}
}
