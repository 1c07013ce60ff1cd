package redis

import (
	"sync"
	"time"
)

// gate counts calls under way and can be closed against newcomers.
type gate struct {
	mu     sync.Mutex
	inside int
	empty  chan struct{} // not nil once it is closed; closed when nobody is inside
}

// enter reports whether the gate is open, and then counts one in.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
	}
}

// close shuts the gate and waits until everybody has left, for d at most. It is called
// once.
func (g *gate) close(d time.Duration) {
	g.mu.Lock()
	g.empty = make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-g.empty:
	case <-timer.C:
	}
}
