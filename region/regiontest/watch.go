package regiontest

import (
	"testing"

	"github.com/dogpile-go/dogpile/region"
)

// Watcher compares what a region has done since [Watch] with what a test wants. A
// mismatch makes the test fail, and go on. It is safe for concurrent use, apart from
// Again.
type Watcher struct {
	t      testing.TB
	region *region.Region
	since  region.Stats
}

// Watch begins to count what the region does.
func Watch(t testing.TB, r *region.Region) *Watcher {
	return &Watcher{t: t, region: r, since: r.Stats()}
}

// Again begins to count anew.
func (w *Watcher) Again() { w.since = w.region.Stats() }

// Creations wants that creators have returned so many values.
func (w *Watcher) Creations(want int) {
	w.t.Helper()
	w.want("values were created", w.region.Stats().Creations-w.since.Creations, want)
}

// FailedCreations wants that so many creators have failed.
func (w *Watcher) FailedCreations(want int) {
	w.t.Helper()
	w.want("creators failed", w.region.Stats().FailedCreations-w.since.FailedCreations, want)
}

// Hits wants that so many reads were answered with fresh values.
func (w *Watcher) Hits(want int) {
	w.t.Helper()
	w.want("reads were answered with fresh values", w.region.Stats().Hits-w.since.Hits, want)
}

// StaleHits wants that so many reads were answered with stale values.
func (w *Watcher) StaleHits(want int) {
	w.t.Helper()
	w.want("reads were answered with stale values", w.region.Stats().StaleHits-w.since.StaleHits, want)
}

// Misses wants that so many reads have found nothing that they could use.
func (w *Watcher) Misses(want int) {
	w.t.Helper()
	w.want("reads found nothing", w.region.Stats().Misses-w.since.Misses, want)
}

// Invalidations wants that so many keys, tags, functions and whole regions were
// invalidated through this region.
func (w *Watcher) Invalidations(want int) {
	w.t.Helper()
	w.want("invalidations were made", w.region.Stats().Invalidations-w.since.Invalidations, want)
}

// NoErrors wants that the backend has not failed, and that nothing it has returned was
// unreadable, or of another type or codec: with one program, two functions share a key.
func (w *Watcher) NoErrors() {
	w.t.Helper()
	now := w.region.Stats()
	w.want("operations of the backend failed", now.Errors-w.since.Errors, 0)
	w.want("stored values could not be read", now.BadEntries-w.since.BadEntries, 0)
	w.want("reads found values of another type or codec", now.Foreign-w.since.Foreign, 0)
}

func (w *Watcher) want(what string, got int64, want int) {
	w.t.Helper()
	if got != int64(want) {
		w.t.Errorf("region %q: %d %s, want %d", w.region.Name(), got, what, want)
	}
}
