package main

import (
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// metrics are what the benchmarks on servers and files have reported, each value as often as they
// were run. Their units are their own, but for the time.
type metrics struct {
	rows   []metric // who and parts in the order in which they ran, without units
	values map[metric][]float64
}

// metric names one: of BenchmarkHerd, region, cold, the unit last-ms.
type metric struct{ bench, who, part, unit string }

// isShared reports whether a benchmark is about what several processes can share.
func isShared(bench string) bool {
	return strings.HasPrefix(bench, "Herd") || strings.HasPrefix(bench, "Redis") || strings.HasPrefix(bench, "Memcached")
}

// add takes a result of a name such as Herd/who=region/cold or RedisTrips/what=hit.
func (m *metrics) add(bench string, rest [][]byte, result *benchfmt.Result) error {
	if len(rest) == 0 || len(rest) > 2 {
		return nil
	}
	row := metric{bench: bench}
	_, row.who, _ = strings.Cut(string(rest[0]), "=")
	if len(rest) == 2 {
		row.part = strings.TrimPrefix(string(rest[1][1:]), "keys=")
	}
	if !slices.Contains(m.rows, row) {
		m.rows = append(m.rows, row)
	}
	for _, value := range result.Values {
		row.unit = value.Unit
		m.values[row] = append(m.values[row], value.Value)
	}
	return nil
}

// who returns the contestants of a benchmark in the order in which they ran.
func (m *metrics) who(bench string) (who []string) {
	for _, row := range m.rows {
		if row.bench == bench {
			who = appendNew(who, row.who)
		}
	}
	return who
}

// parts returns the parts of a benchmark.
func (m *metrics) parts(bench string) (parts []string) {
	for _, row := range m.rows {
		if row.bench == bench {
			parts = appendNew(parts, row.part)
		}
	}
	return parts
}

// median and most return the median and the greatest value of a metric; ok is false if
// it was not measured.
func (m *metrics) median(of metric) (value float64, ok bool) {
	if values := m.values[of]; len(values) > 0 {
		return median(values), true
	}
	return 0, false
}

func (m *metrics) most(of metric) (value float64, ok bool) {
	if values := m.values[of]; len(values) > 0 {
		return slices.Max(values), true
	}
	return 0, false
}
