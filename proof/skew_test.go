package proof

import (
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// skews are by how much the clocks of the three processes of a history are wrong.
var skews = []time.Duration{-15 * time.Minute, 0, 15 * time.Minute}

// skewed is a backend whose clock is wrong.
type skewed struct {
	backend.Backend
	by time.Duration
}

// Now makes the region take the time from here.
func (s *skewed) Now() time.Time {
	if clock, ok := s.Backend.(backend.Clock); ok {
		return clock.Now().Add(s.by)
	}
	return time.Now().Add(s.by)
}
