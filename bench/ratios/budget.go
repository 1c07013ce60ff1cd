package main

import (
	"fmt"
	"io"
)

// budget is how long a hit may take, as a multiple of the rival's, and how often
// it may allocate.
type budget struct {
	who    string
	times  float64
	allocs float64
}

var budgets = [...]budget{
	{"region.GetOrCreate", 1.3, 0},
	{"region.Cached_int64", 2, 0},
	{"region.Cached_string", 2, 0},
}

func reportBudgets(w io.Writer, r *results) {
	fmt.Fprintf(w, "\nBudgets, as multiples of %s:\n\n", rival)
	names := make([]string, len(budgets))
	for i, b := range budgets {
		names[i] = b.who
	}
	wide := width(names)
	for _, b := range budgets {
		for _, mode := range modes {
			fmt.Fprintf(w, "%-*s  %-8s  at most %.1f × with %.0f allocs: %s\n", wide, b.who, mode, b.times, b.allocs, b.verdict(r, mode))
		}
	}
}

// verdict says whether the budget holds, with the figures.
func (b budget) verdict(r *results, mode string) string {
	s := r.hits[hit{b.who, mode}]
	if s == nil {
		return "not measured"
	}
	times, allocs := s.time()/r.hits[hit{rival, mode}].time(), median(s.allocs)
	word := "holds"
	if times > b.times || allocs > b.allocs {
		word = "MISSED"
	}
	return fmt.Sprintf("%s (%.2f ×, %.0f allocs)", word, times, allocs)
}
