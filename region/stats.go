package region

import (
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/internal/striped"
)

// Stats are counts of what a region has done since it was made. Each key of a
// batch counts as one.
type Stats struct {
	// Hits are reads that found a fresh value.
	Hits int64

	// StaleHits are reads that were answered with a stale value.
	StaleHits int64

	// Misses are reads that found no value they could use.
	Misses int64

	// Creations are values that creators returned.
	Creations int64

	// FailedCreations are creators that returned an error, panicked, exited or
	// were cancelled.
	FailedCreations int64

	// CreationTime is the sum of the time that creators took, failed ones
	// included. A batch counts once.
	CreationTime time.Duration

	// Waits are calls that waited for a creation that another call of this
	// process had begun.
	Waits int64

	// Errors are operations in which the backend failed.
	Errors int64

	// BadEntries are stored values that could not be used: damaged, somebody else's
	// or, in a backend of values, of another type.
	BadEntries int64

	// Foreign are reads that found a value in use by binaries of another release,
	// whose type or codec is another one. It stops growing when the last of them is
	// gone; if it does not, two functions share keys. See "Rolling deploys".
	Foreign int64

	// Unstored are created values that were not stored: refused because the
	// lease was lost, not encodable, or the backend failed.
	Unstored int64

	// Invalidations are invalidations that succeeded; each key and each tag counts as
	// one.
	Invalidations int64

	// Owed are invalidations that have failed and are being tried again: how many there
	// are now. Each key and each tag counts as one.
	Owed int64
}

// HitRatio is the share of reads that found a fresh or a stale value; 0 when
// there were no reads. A caller who waits for a creation of somebody else is a
// miss, though it costs no query: how many queries were saved is told by the
// reads beside Creations.
func (s Stats) HitRatio() float64 {
	found := s.Hits + s.StaleHits
	if found+s.Misses == 0 {
		return 0
	}
	return float64(found) / float64(found+s.Misses)
}

// counters are what Stats is read from. Only hits are frequent enough to need
// more than one counter.
type counters struct {
	hits            striped.Counter
	staleHits       striped.Counter
	misses          atomic.Int64
	creations       atomic.Int64
	failedCreations atomic.Int64
	creationTime    atomic.Int64
	waits           atomic.Int64
	errors          atomic.Int64
	badEntries      atomic.Int64
	foreign         atomic.Int64
	unstored        atomic.Int64
	invalidations   atomic.Int64
}

// Stats returns the region's counts. They are read one after the other, so that
// they may not add up while the region is in use. They survive Reconfigure and
// Close.
func (r *Region) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	c := &r.counters
	var owed int64
	if st := r.state.Load(); st != nil {
		owed = int64(st.owed.Load().count())
	}
	return Stats{
		Hits:            c.hits.Load(),
		StaleHits:       c.staleHits.Load(),
		Misses:          c.misses.Load(),
		Creations:       c.creations.Load(),
		FailedCreations: c.failedCreations.Load(),
		CreationTime:    time.Duration(c.creationTime.Load()),
		Waits:           c.waits.Load(),
		Errors:          c.errors.Load(),
		BadEntries:      c.badEntries.Load(),
		Foreign:         c.foreign.Load(),
		Unstored:        c.unstored.Load(),
		Invalidations:   c.invalidations.Load(),
		Owed:            owed,
	}
}
