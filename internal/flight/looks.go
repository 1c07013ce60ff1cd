package flight

import (
	"context"
	"sync"
)

// Looks lets callers in one process who want to look at the same key take one look
// together. A look is shared only with those who came before it was taken: whoever
// comes while one is under way gathers for the next. R is what a look shows. The
// zero value is ready to use. All methods are safe for concurrent use.
type Looks[R any] struct {
	mu    sync.Mutex // guards everything below, and what is said so of a Look
	under map[string]*Look[R]
	peak  int      // the most looks that the map has held since it was made
	spare *Look[R] // one that is over and that nobody but its leader knew
}

// Look is one look that is under way, or for which callers gather.
type Look[R any] struct {
	looks  *Looks[R]
	key    string
	before chan struct{} // closed when the look before this one is over; nil: there was none

	// Guarded by looks.mu.
	done chan struct{} // closed when this look is over; nil: nobody waits
	next *Look[R]      // those who gather for the next one

	// Written before done is closed, read only after.
	shown R
	good  bool
}

// Enter puts the caller among those who look at key next. One of them leads: it waits
// for its Turn, looks, and calls Finish, whatever happens. The others Wait.
func (g *Looks[R]) Enter(key string) (l *Look[R], leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	under := g.under[key]
	if under == nil {
		if l = g.spare; l == nil {
			l = new(Look[R])
		}
		g.spare = nil
		*l = Look[R]{looks: g, key: key}
		if g.under == nil {
			g.under = make(map[string]*Look[R])
		}
		g.under[key] = l
		g.peak = max(g.peak, len(g.under))
		return l, true
	}
	if under.next == nil {
		under.next = &Look[R]{looks: g, key: key, before: under.over()}
		return under.next, true
	}
	under.next.over()
	return under.next, false
}

// over returns the channel that is closed at the end of the look. looks.mu is held.
func (l *Look[R]) over() chan struct{} {
	if l.done == nil {
		l.done = make(chan struct{})
	}
	return l.done
}

// Turn waits until the look before this one is over, and returns false if ctx ends
// first.
func (l *Look[R]) Turn(ctx context.Context) bool {
	if l.before == nil {
		return true
	}
	select {
	case <-l.before:
		return true
	case <-ctx.Done():
		return false
	}
}

// Finish tells the others what the leader has seen, if it is good for them, and lets
// those look who came meanwhile. The leader must not use the Look any more.
func (l *Look[R]) Finish(shown R, good bool) {
	g := l.looks
	g.mu.Lock()
	defer g.mu.Unlock()
	switch under := g.under[l.key]; {
	case under != l:
		under.next = nil // its leader has left before its turn
	case l.next != nil:
		g.under[l.key] = l.next
	default:
		delete(g.under, l.key)
		if len(g.under) == 0 && g.peak > 1024 {
			g.under, g.peak = nil, 0 // Go's maps do not shrink
		}
	}
	if l.done == nil {
		g.spare = l
		return
	}
	l.shown, l.good = shown, good
	close(l.done)
}

// Wait waits for what the leader sees. It returns false if that is good for nobody
// else, or ctx ends first: the caller then has to look for itself.
func (l *Look[R]) Wait(ctx context.Context) (shown R, good bool) {
	l.looks.mu.Lock()
	done := l.over()
	l.looks.mu.Unlock()
	select {
	case <-done:
		return l.shown, l.good
	case <-ctx.Done():
		return shown, false
	}
}
