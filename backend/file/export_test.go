package file

import (
	"context"
	"runtime"
)

// Sweep sweeps b's directory, after whoever sweeps it now.
func Sweep(b *Backend) {
	for !b.sweep(context.Background(), true) {
		runtime.Gosched()
	}
}

// SweepIfDue sweeps it if it is time, and reports whether it has.
func SweepIfDue(b *Backend) bool { return b.sweep(context.Background(), false) }

// KeepStamps has sweeps keep the stamps of n regions.
func KeepStamps(b *Backend, n int) { b.sweeper.maxStamps = n }
