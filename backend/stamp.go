package backend

import (
	"crypto/rand"
	"sync/atomic"
)

// Stamp is 96 random bits. Two stamps are equal only if one is a copy of the
// other. The zero Stamp means that there is none; it is never equal to a stamp
// that exists.
type Stamp [12]byte

// NewStamp returns a new random stamp, which is not zero.
func NewStamp() Stamp {
	var s Stamp
	for s.IsZero() {
		rand.Read(s[:]) // never fails; see crypto/rand
	}
	return s
}

// IsZero reports whether s is no stamp at all.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// Stamps are the two stamps of a guard. They are kept apart so that a soft
// invalidation never revives what a hard one has killed.
type Stamps struct {
	// Hard is replaced by a hard invalidation: older values are dead.
	Hard Stamp

	// Soft is replaced by a soft invalidation: older values are stale.
	Soft Stamp
}

// LiveStamps holds the current stamps of one guard for readers in the same
// process. It is safe for concurrent use. The zero value holds no stamps; use
// [NewLiveStamps].
type LiveStamps struct {
	current atomic.Pointer[Stamps]
}

// NewLiveStamps returns a cell with two new random stamps.
func NewLiveStamps() *LiveStamps {
	l := new(LiveStamps)
	l.current.Store(&Stamps{Hard: NewStamp(), Soft: NewStamp()})
	return l
}

// Load returns the current stamps.
func (l *LiveStamps) Load() Stamps {
	if s := l.current.Load(); s != nil {
		return *s
	}
	return Stamps{}
}

// Are reports whether stamps are the current ones.
func (l *LiveStamps) Are(stamps Stamps) bool {
	current := l.current.Load()
	return current != nil && *current == stamps
}

// Renew replaces the hard stamp or, when soft is true, the soft one.
func (l *LiveStamps) Renew(soft bool) {
	for {
		old := l.current.Load()
		next := new(Stamps)
		if old != nil {
			*next = *old
		}
		if soft {
			next.Soft = NewStamp()
		} else {
			next.Hard = NewStamp()
		}
		if l.current.CompareAndSwap(old, next) {
			return
		}
	}
}
