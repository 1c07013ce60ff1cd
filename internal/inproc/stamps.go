package inproc

import (
	"maps"
	"sync"
	"weak"

	"github.com/dogpile-go/dogpile/backend"
)

// stamps is the table of guards. A guard exists as soon as anybody names it, so that
// its stamps are never zero.
//
// Regions are few, and theirs are kept until the Core is gone. Tags can be many, and
// come and go with what carries them: their cells are held by the entries that carry
// them, and by those who are about to store one, and the table only knows where they
// are. So it drops no stamp that something rests on, and what the garbage collector has
// taken is swept out when the table has doubled. (runtime.AddCleanup would do it at once,
// on a goroutine of the runtime, which tests for leaks of goroutines take for one.)
type stamps struct {
	mu      sync.RWMutex
	regions map[string]*backend.LiveStamps
	tags    map[backend.Guard]weak.Pointer[backend.LiveStamps]
	sweepAt int // how many tags there may be

	// Cells that were made lately. Whoever captures stamps through the interface of a
	// backend has copies of them, which hold no cell, until an entry is stored.
	young []*backend.LiveStamps
	next  int
}

// fewTags is how many tags are never worth a sweep.
const fewTags = 1 << 10

// mostYoung is how many cells are kept for a while though nothing carries them. If more
// are made while a creator runs, its value may be dead when it is stored.
const mostYoung = 1 << 14

// Live is Live of [backend.Local]. It works after Close too.
func (c *Core) Live(guard backend.Guard) *backend.LiveStamps {
	s := &c.stamps
	s.mu.RLock()
	cell := s.cell(guard)
	s.mu.RUnlock()
	if cell != nil {
		return cell
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cell = s.cell(guard); cell != nil {
		return cell
	}
	cell = backend.NewLiveStamps()
	if guard.Tag == "" {
		s.regions[guard.Region] = cell
		return cell
	}
	if len(s.tags) >= max(s.sweepAt, fewTags) {
		maps.DeleteFunc(s.tags, func(_ backend.Guard, w weak.Pointer[backend.LiveStamps]) bool { return w.Value() == nil })
		s.sweepAt = 2 * len(s.tags)
	}
	s.tags[guard] = weak.Make(cell)
	if len(s.young) < mostYoung {
		s.young = append(s.young, cell)
	} else {
		s.young[s.next] = cell
		s.next = (s.next + 1) % mostYoung
	}
	return cell
}

// cell returns the cell of a guard, or nil. mu is held.
func (s *stamps) cell(guard backend.Guard) *backend.LiveStamps {
	if guard.Tag == "" {
		return s.regions[guard.Region]
	}
	return s.tags[guard].Value()
}

// Cells returns the cells of those guards that are tags. Whoever keeps what carries
// their stamps holds them for as long.
func (c *Core) Cells(guards []backend.Guard) []*backend.LiveStamps {
	var cells []*backend.LiveStamps
	for _, guard := range guards {
		if guard.Tag != "" {
			cells = append(cells, c.Live(guard))
		}
	}
	return cells
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

// Renew replaces one stamp of each guard, in their order: the soft one if soft is true.
func (c *Core) Renew(guards []backend.Guard, soft bool) {
	for _, guard := range guards {
		c.Live(guard).Renew(soft)
	}
}
