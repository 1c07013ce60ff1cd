package bench

import (
	"fmt"
	"testing"
)

// BenchmarkGrowth reads more and more keys, each as often, so that the processor's
// caches help less and less. What it shows is the distance to the rival, which
// should stay the same.
func BenchmarkGrowth(b *testing.B) {
	for _, c := range []contestant{
		{"region.GetOrCreate", openGetOrCreate},
		{"otter_TTL", openOtterTTL},
	} {
		b.Run("who="+c.who, func(b *testing.B) {
			for keys := 1_000; keys <= 1_000_000; keys *= 10 {
				grown(b, c, keys)
			}
		})
	}
}

func grown(b *testing.B, c contestant, keys int) {
	b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
		s := newSource(keys)
		hit := c.open(b, s)
		s.fill(b, hit)
		serial(b, hit, uniformOrder(keys))
		s.allHits(b)
	})
}
