package main

import (
	"fmt"
	"io"
)

// redisBudget is a bound of a metric.
type redisBudget struct {
	what   string
	of     metric
	bound  float64
	unit   string
	digits int  // of bound and of what was measured, behind the point
	most   bool // the greatest value of all runs counts, and not their median
}

var redisBudgets = [...]redisBudget{
	{"hit, GetOrCreate", metric{"RedisHit", "region.GetOrCreate", "serial", "times"}, 1.05, "× " + redisRival, 2, false},
	{"hit, Cached(int64)", metric{"RedisHit", "region.Cached_int64", "serial", "times"}, 1.05, "× " + redisRival, 2, false},
	{"64 callers, GetOrCreate", metric{"RedisHit", "region.GetOrCreate", "parallel", "times"}, 0.5, "× " + redisRival, 2, false},
	{"64 callers, Cached(int64)", metric{"RedisHit", "region.Cached_int64", "parallel", "times"}, 0.5, "× " + redisRival, 2, false},
	{"a hit", metric{"RedisTrips", "hit", "", "trips"}, 1, "round trip", 0, true},
	{"GetOrCreateMulti, 1,000 keys", metric{"RedisTrips", "creation_of_1000", "", "trips"}, 3, "round trips", 0, true},
	{"Invalidate", metric{"RedisTrips", "invalidate_region", "", "trips"}, 1, "round trip", 0, true},
	{"hit whose call names the tags", metric{"RedisTrips", "tagged_hit", "", "trips"}, 1, "round trip", 0, true},
	{"hit whose value has tags", metric{"RedisTrips", "tagged_hit_unnamed", "", "trips"}, 2, "round trips", 0, true},
	{"creation with a new tag", metric{"RedisTrips", "tagged_creation", "", "trips"}, 3, "round trips", 0, true},
	{"InvalidateTags, 1,000 values", metric{"RedisTrips", "invalidate_tag_of_1000", "", "trips"}, 1, "round trip", 0, true},
	{"herd", metric{"Herd", ours, "cold", "creations"}, 1, "creation", 0, true},
	{"herd, last caller", metric{"Herd", ours, "cold", "last-ms"}, 20, "ms", 1, false},
	{"herd, traffic", metric{"Herd", ours, "cold", "commands/process"}, 8, "commands a process", 1, false},
	{"herd, while waiting", metric{"Herd", ours, "killed", "waiting-commands/process"}, 3, "commands a process in 2 s", 1, false},
	{"herd, holder killed", metric{"Herd", ours, "killed", "takeover-ms-max"}, 500, "ms", 0, true},
	{"memcached hit, GetOrCreate", metric{"MemcachedHit", "region.GetOrCreate", "serial", "times"}, 1.1, "× " + memcachedRival, 2, false},
	{"memcached hit, Cached(int64)", metric{"MemcachedHit", "region.Cached_int64", "serial", "times"}, 1.1, "× " + memcachedRival, 2, false},
	{"herd on memcached", metric{"HerdElsewhere", "region_on_memcached", "cold", "creations"}, 1, "creation", 0, true},
	{"herd on memcached, last caller", metric{"HerdElsewhere", "region_on_memcached", "cold", "last-ms"}, 60, "ms", 1, false},
	{"herd on files", metric{"HerdElsewhere", "region_on_files", "cold", "creations"}, 1, "creation", 0, true},
	{"herd on files, last caller", metric{"HerdElsewhere", "region_on_files", "cold", "last-ms"}, 60, "ms", 1, false},
	{"growth to 1,000,000 keys", metric{"RedisGrowth", "region.GetOrCreate", "1000000", "times"}, 1.1, "× 1,000 keys", 2, false},
}

func reportRedisBudgets(w io.Writer, m *metrics) {
	fmt.Fprintf(w, "\nBudgets on servers and files: the time, unless it says otherwise, by the median; creations, round trips and the\n")
	fmt.Fprintf(w, "takeover by the worst of all runs.\n\n")
	names := make([]string, len(redisBudgets))
	for i, b := range redisBudgets {
		names[i] = b.what
	}
	wide := width(names)
	for _, b := range redisBudgets {
		fmt.Fprintf(w, "%-*s  at most %.*f %s: %s\n", wide, b.what, b.digits, b.bound, b.unit, b.verdict(m))
	}
}

// verdict says whether the budget holds, with the figure.
func (b redisBudget) verdict(m *metrics) string {
	value, ok := m.median(b.of)
	if b.most {
		value, ok = m.most(b.of)
	}
	if !ok {
		return "not measured"
	}
	word := "holds"
	if value > b.bound {
		word = "MISSED"
	}
	return fmt.Sprintf("%s (%.*f)", word, b.digits+1, value)
}
