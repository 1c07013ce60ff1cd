package main

import (
	"fmt"
	"io"
	"slices"
)

// rival is who the others are measured by.
const rival = "otter_TTL"

var modes = [...]string{"serial", "parallel"}

// report prints everything that r has.
func report(w io.Writer, r *results) {
	if len(r.hits) > 0 {
		reportHits(w, r)
		reportBudgets(w, r)
		reportGrowth(w, r)
	}
	if len(r.redis.values) > 0 {
		reportRedis(w, &r.redis)
	}
}

func reportHits(w io.Writer, r *results) {
	serial, parallel := r.hits[hit{rival, "serial"}], r.hits[hit{rival, "parallel"}]
	fmt.Fprintf(w, "A hit, by the median of %d runs. × is the time as a multiple of %s's,\n", len(serial.ns), rival)
	fmt.Fprintf(w, "whose own runs are up to %.0f %% (serial) and %.0f %% (parallel) apart.\n\n", 100*serial.spread(), 100*parallel.spread())

	wide := width(r.who)
	fmt.Fprintf(w, "%-*s  %9s  %6s  %11s  %6s  %6s\n", wide, "who", "serial ns", "×", "parallel ns", "×", "allocs")
	for _, who := range r.who {
		fmt.Fprintf(w, "%-*s", wide, who)
		allocs := 0.0
		for i, mode := range modes {
			s := r.hits[hit{who, mode}]
			if s == nil {
				fmt.Fprintf(w, "  %*s  %6s", 9+2*i, "-", "-")
				continue
			}
			fmt.Fprintf(w, "  %*.1f  %6.2f", 9+2*i, s.time(), s.time()/r.hits[hit{rival, mode}].time())
			allocs = max(allocs, median(s.allocs))
		}
		fmt.Fprintf(w, "  %6.0f\n", allocs)
	}
}

// reportGrowth prints how two contestants do at growing sizes.
func reportGrowth(w io.Writer, r *results) {
	const ours = "region.GetOrCreate"
	rows := slices.DeleteFunc(slices.Clone(r.keys), func(keys string) bool {
		return r.growth[growth{ours, keys}] == nil || r.growth[growth{rival, keys}] == nil
	})
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\nGrowth: keys asked for evenly, serial.\n\n")
	fmt.Fprintf(w, "%9s  %*s ns  %*s ns  %6s\n", "keys", len(ours), ours, len(rival), rival, "×")
	for _, keys := range rows {
		a, b := r.growth[growth{ours, keys}].time(), r.growth[growth{rival, keys}].time()
		fmt.Fprintf(w, "%9s  %*.1f  %*.1f  %6.2f\n", keys, len(ours)+3, a, len(rival)+3, b, a/b)
	}
}

// width returns the length of the longest string.
func width(list []string) int {
	longest := 0
	for _, s := range list {
		longest = max(longest, len(s))
	}
	return longest
}
