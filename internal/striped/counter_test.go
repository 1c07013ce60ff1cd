package striped_test

import (
	"sync"
	"testing"

	"github.com/dogpile-go/dogpile/internal/striped"
)

func TestCounterLosesNothing(t *testing.T) {
	var c striped.Counter
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 1000 {
				c.Add(1)
			}
			c.Add(-500)
		})
	}
	wg.Wait()
	if got := c.Load(); got != 64*500 {
		t.Errorf("the sum is %d, want %d", got, 64*500)
	}
}

func BenchmarkAdd(b *testing.B) {
	var c striped.Counter
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Add(1)
		}
	})
}
