// Package striped counts events that happen on many cores at once, without
// making the cores fight over one cache line.
package striped

import (
	"sync/atomic"
	"unsafe"
)

// stripes is a power of two, large enough that a few dozen cores rarely meet.
const stripes = 32

// Counter is a counter whose Add is cheap under contention and whose Load is not
// meant to be called often. The zero value is ready to use. It is safe for
// concurrent use.
type Counter struct {
	cells [stripes]cell
}

// cell fills two cache lines, because processors fetch them in pairs.
type cell struct {
	n atomic.Int64
	_ [120]byte
}

// Add adds n.
func (c *Counter) Add(n int64) {
	// The address of a local variable differs from goroutine to goroutine and
	// stays mostly the same within one, which is all that a choice of stripe
	// needs. It costs nothing, where a random number would cost more than the
	// addition. The pointer is only looked at as a number and never used.
	var here byte
	at := uintptr(unsafe.Pointer(&here))
	c.cells[(at>>10^at>>16)%stripes].n.Add(n)
}

// Load returns the sum of everything added. Additions that happen meanwhile may
// or may not be in it.
func (c *Counter) Load() int64 {
	var sum int64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}
