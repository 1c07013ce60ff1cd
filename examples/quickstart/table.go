package main

import (
	"fmt"
	"io"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

func printHeader(w io.Writer) {
	fmt.Fprintf(w, "%-28s %7s  %7s  %7s   %s\n", "", "callers", "queries", "slowest", "answer")
}

// printOutcome prints a line, and below it one for each answer if they differ.
func printOutcome(w io.Writer, name string, o outcome) {
	all := group{
		value:   o.answers[0].value,
		callers: len(o.answers),
		slowest: o.answers[len(o.answers)-1].took,
	}
	groups := grouped(o.answers)
	if len(groups) > 1 {
		all.value = fmt.Sprintf("%d answers:", len(groups))
	}
	printGroup(w, name, fmt.Sprint(o.queries), all)
	if len(groups) > 1 {
		for _, g := range groups {
			printGroup(w, "  of these", "", g)
		}
	}
}

func printGroup(w io.Writer, name, queries string, g group) {
	fmt.Fprintf(w, "%-28s %7d  %7s  %7v   %s\n", name, g.callers, queries, rounded(g.slowest), g.value)
}

// group is callers who got the same value.
type group struct {
	value   string
	callers int
	slowest time.Duration
}

// grouped sorts answers into groups, that of the quickest caller first.
func grouped(answers []answer) []group {
	var groups []group
	index := map[string]int{}
	for _, a := range answers {
		i, seen := index[a.value]
		if !seen {
			i = len(groups)
			index[a.value] = i
			groups = append(groups, group{value: a.value})
		}
		groups[i].callers++
		groups[i].slowest = a.took // the answers come in this order
	}
	return groups
}

// rounded leaves two digits that matter.
func rounded(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 100 {
		unit *= 10
	}
	return d.Round(unit)
}

// printStats prints what regions counted themselves.
func printStats(w io.Writer, regions ...*region.Region) {
	fmt.Fprintf(w, "\n%-28s %7s  %7s  %7s  %7s  %7s  %9s\n",
		"what the regions counted", "hits", "stale", "misses", "created", "waited", "hit ratio")
	for _, r := range regions {
		s := r.Stats()
		fmt.Fprintf(w, "%-28s %7d  %7d  %7d  %7d  %7d  %8.0f%%\n",
			r.Name(), s.Hits, s.StaleHits, s.Misses, s.Creations, s.Waits, 100*s.HitRatio())
	}
}
