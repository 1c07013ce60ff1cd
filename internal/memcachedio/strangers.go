package memcachedio

import (
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// mostStrangers bounds what a process remembers of the locks of others.
const mostStrangers = 1024

// strangers are the locks that programs with another library hold, and how long they
// have done so: memcached tells neither how old an item is nor when it ends.
type strangers struct {
	after time.Duration // zero: they are never taken for dead

	mu    sync.Mutex
	known map[string]stranger
}

type stranger struct {
	casID uint64 // nobody but their holder touches them, who never does
	since time.Time
}

// dead takes note of the lock as it was just read, and reports whether it has been the
// same one for so long that its holder is taken for dead.
func (s *strangers) dead(name string, item *memcache.Item) bool {
	if s.after == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if item == nil || TokenOf(item) != "" {
		delete(s.known, name)
		return false
	}
	now := time.Now()
	known, ok := s.known[name]
	if ok && known.casID == item.CasID {
		return now.Sub(known.since) >= s.after
	}
	if !ok && len(s.known) >= mostStrangers {
		for any := range s.known {
			delete(s.known, any)
			break
		}
	}
	if s.known == nil {
		s.known = map[string]stranger{}
	}
	s.known[name] = stranger{item.CasID, now}
	return false
}
