package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// results are the benchmarks that were run, each as often as it was.
type results struct {
	who    []string // contestants of BenchmarkHit in the order in which they ran
	keys   []string // sizes of BenchmarkGrowth, likewise
	hits   map[hit]*series
	growth map[growth]*series
	redis  metrics // of the benchmarks on servers and files
}

// hit names a part of BenchmarkHit, such as otter_TTL and serial; growth one of
// BenchmarkGrowth, such as otter_TTL and 1000.
type (
	hit    struct{ who, mode string }
	growth struct{ who, keys string }
)

// series are the runs of one benchmark.
type series struct{ ns, allocs []float64 }

// time returns the median time of an operation in nanoseconds.
func (s *series) time() float64 { return median(s.ns) }

// spread returns how far apart the fastest and the slowest run are, as a part of
// the median.
func (s *series) spread() float64 { return (slices.Max(s.ns) - slices.Min(s.ns)) / median(s.ns) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// read reads files, or standard input if there are none. The error says why no
// table can be made of them.
func read(paths []string) (*results, error) {
	r := &results{hits: map[hit]*series{}, growth: map[growth]*series{}, redis: metrics{values: map[metric][]float64{}}}
	files := benchfmt.Files{Paths: paths, AllowStdin: true}
	procs := ""
	for files.Scan() {
		result, ok := files.Result().(*benchfmt.Result)
		if !ok {
			continue // a line that is no result
		}
		p, err := r.add(result)
		if err != nil {
			return nil, err
		}
		if p != "" && procs != "" && p != procs {
			return nil, fmt.Errorf("there are results for GOMAXPROCS=%s and %s; compare those of one run", procs[1:], p[1:])
		}
		procs = max(procs, p)
	}
	if err := files.Err(); err != nil {
		return nil, err
	}
	if len(r.hits) == 0 && len(r.redis.values) > 0 {
		return r, nil // only those were run
	}
	for _, mode := range modes {
		if r.hits[hit{rival, mode}] == nil {
			return nil, fmt.Errorf("BenchmarkHit/who=%s/%s is not in the input; nothing can be compared with it", rival, mode)
		}
	}
	return r, nil
}

// add takes one result, unless it is of another benchmark, and returns the
// GOMAXPROCS in its name, such as "-2".
func (r *results) add(result *benchfmt.Result) (procs string, err error) {
	base, rest := result.Name.Parts()
	if n := len(rest); n > 0 && rest[n-1][0] == '-' {
		procs, rest = string(rest[n-1]), rest[:n-1]
	}
	if isShared(string(base)) {
		return procs, r.redis.add(string(base), rest, result)
	}
	if len(rest) != 2 {
		return procs, nil
	}
	who, isContestant := strings.CutPrefix(string(rest[0]), "/who=")
	if !isContestant {
		return procs, nil
	}
	var s *series
	switch what := string(rest[1][1:]); string(base) {
	case "Hit":
		r.who = appendNew(r.who, who)
		s = of(r.hits, hit{who, what})
	case "Growth":
		what = strings.TrimPrefix(what, "keys=")
		r.keys = appendNew(r.keys, what)
		s = of(r.growth, growth{who, what})
	default:
		return procs, nil
	}
	seconds, timed := result.Value("sec/op")
	allocs, counted := result.Value("allocs/op")
	if !timed || !counted {
		return procs, errors.New(result.Name.String() + " has no time or no allocations")
	}
	s.ns, s.allocs = append(s.ns, seconds*1e9), append(s.allocs, allocs)
	return procs, nil
}

func of[K comparable](m map[K]*series, key K) *series {
	if m[key] == nil {
		m[key] = new(series)
	}
	return m[key]
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
