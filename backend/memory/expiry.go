package memory

import (
	"math"
	"time"

	"github.com/maypok86/otter/v2"
)

// resolution is how exact the clock is that a read looks at. Reading the time
// itself would cost a third of a hit. An expired entry is returned for that much
// longer at most; a Backend is allowed two seconds.
const resolution = time.Second

// forever is the lifetime that otter takes for no expiration.
const forever = time.Duration(math.MaxInt64)

// clock is the coarse clock that otter reads, and a precise one of the same scale
// that writes are dated with.
type clock struct {
	coarse  *otter.CoarseClock
	started time.Time
	origin  int64 // what coarse said when it started
}

func newClock() *clock {
	// started is read first, so that precise is ahead of coarse, if anything.
	started := time.Now()
	coarse := otter.NewCoarseClock(resolution)
	return &clock{coarse: coarse, started: started, origin: coarse.NowNano()}
}

func (c *clock) precise() int64 { return c.origin + int64(time.Since(c.started)) }

// of returns what the clock said at t. It goes back a hundred years at most, so
// that differences of what it returns cannot overflow.
func (c *clock) of(t time.Time) int64 {
	const longest = 100 * 365 * 24 * time.Hour
	return c.precise() - int64(min(time.Since(t), longest))
}

// lifetime tells otter after which time on the coarse clock an entry expires. The
// coarse clock is late, so counting the TTL from what it shows would end an entry
// up to one resolution too early; what it is late is added. Seen by a coarse
// clock later, the entry then lives for its TTL or up to one resolution longer.
func (c *clock) lifetime(e otter.Entry[uint64, *stored]) time.Duration {
	if e.Value.ttl == 0 {
		return forever
	}
	late := max(0, time.Duration(c.precise()-e.SnapshotAtNano))
	if e.Value.ttl > forever-late {
		return forever
	}
	return e.Value.ttl + late
}
