package bench

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A round trip takes 25 µs in one moment and 100 µs in the next, as the kernel and
// the machine's other guests please, so two that were measured one after the other
// cannot be compared to a few per cent. Here the two take turns, and what is reported
// is the median of many short slices, each with the ratio of what the two took in it.

const (
	// callers ask at the same time in the parallel part.
	callers = 64

	// A slice has so many hits of each of the two.
	serialSlice   = 32
	parallelSlice = 32 * callers
)

// turns are slices of a measurement of two who take turns: the nanoseconds that the
// first one took for an operation, and that as a multiple of what the second took.
type turns struct{ ns, ratio []float64 }

func (t *turns) add(took [2]time.Duration, operations int) {
	t.ns = append(t.ns, float64(took[0].Nanoseconds())/float64(operations))
	t.ratio = append(t.ratio, float64(took[0])/float64(took[1]))
}

// report reports what b was about. A run of a single operation, as testing makes it
// to find out how many there should be, has no slices.
func (t *turns) report(b *testing.B) {
	if len(t.ns) > 0 {
		b.ReportMetric(median(t.ns), "ns/op")
		b.ReportMetric(median(t.ratio), "times")
	}
}

// alternate has two operations take turns one by one. Who is first changes too.
func alternate(b *testing.B, slice int, first, second func(i int) error) {
	var t turns
	var took [2]time.Duration
	who := [2]func(int) error{first, second}
	n := 0
	for b.Loop() {
		for turn := range 2 {
			w := (n + turn) & 1
			began := time.Now()
			err := who[w](n)
			took[w] += time.Since(began)
			if err != nil {
				b.Fatal(err)
			}
		}
		if n++; n%slice == 0 {
			t.add(took, slice)
			took = [2]time.Duration{}
		}
	}
	t.report(b)
}

// serialTurns has a contestant and its rival take turns hit by hit.
func serialTurns(b *testing.B, ours, rival hit, order order) {
	checked := func(hit hit) func(int) error {
		return func(i int) error { return checkedHit(hit, order.at(i)) }
	}
	alternate(b, serialSlice, checked(ours), checked(rival))
	i := 0
	b.ReportMetric(testing.AllocsPerRun(200, func() {
		_, _ = ours(order.at(i))
		i++
	}), "allocs/hit")
}

// parallelTurns has them take turns slice by slice, in which callers ask for as much as
// they can.
func parallelTurns(b *testing.B, ours, rival hit, order order) {
	var t turns
	who := [2]hit{ours, rival}
	for i := 0; b.Loop(); i++ {
		var took [2]time.Duration
		for turn := range 2 {
			w := (i + turn) & 1
			took[w] = crowd(b, who[w], order, i*parallelSlice)
		}
		t.add(took, parallelSlice)
	}
	t.report(b)
}

// crowd returns how long the callers take for a slice.
func crowd(b *testing.B, hit hit, order order, from int) time.Duration {
	var asked atomic.Int64
	var asking sync.WaitGroup
	began := time.Now()
	for range callers {
		asking.Go(func() {
			for n := asked.Add(1); n <= parallelSlice; n = asked.Add(1) {
				if err := checkedHit(hit, order.at(from+int(n))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	asking.Wait()
	return time.Since(began)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
