package main

import (
	"fmt"
	"io"
)

// redisRival is who the others on Redis are measured by: go-redis, one GET, and the
// value decoded.
const redisRival = "go-redis_GET"

// memcachedRival is the same on memcached: gomemcache, one Get.
const memcachedRival = "gomemcache_Get"

// ours is how the region is called among the contestants of BenchmarkHerd.
const ours = "region"

func reportRedis(w io.Writer, m *metrics) {
	reportServerHits(w, m, "RedisHit", "Redis", redisRival)
	reportTrips(w, m)
	reportHerds(w, m)
	reportRedisGrowth(w, m)
	reportServerHits(w, m, "MemcachedHit", "memcached", memcachedRival)
	reportHerdsElsewhere(w, m)
	reportRedisBudgets(w, m)
}

// cell prints a number, or a dash where there is none.
func cell(w io.Writer, width, digits int, value float64, ok bool) {
	if !ok {
		fmt.Fprintf(w, "  %*s", width, "-")
		return
	}
	fmt.Fprintf(w, "  %*.*f", width, digits, value)
}

// reportServerHits reports hits on a server, each contestant in turns with rival.
func reportServerHits(w io.Writer, m *metrics, bench, server, rival string) {
	who := m.who(bench)
	if len(who) == 0 {
		return
	}
	fmt.Fprintf(w, "\nA hit on %s, by the median of %d runs. × is the time as a multiple of %s's, and the\n",
		server, len(m.values[metric{bench, who[0], "serial", "times"}]), rival)
	fmt.Fprintf(w, "throughput of 64 callers as a multiple of its throughput, each taken in turns with it. Its own\n")
	fmt.Fprintf(w, "line is %s in turns with another %s: how far it is from 1 is the error.\n\n", rival, rival)
	wide := width(who)
	fmt.Fprintf(w, "%-*s  %9s  %6s  %15s  %12s  %6s\n", wide, "who", "serial µs", "×", "64 callers: µs", "throughput ×", "allocs")
	for _, name := range who {
		fmt.Fprintf(w, "%-*s", wide, name)
		value, ok := m.median(metric{bench, name, "serial", "sec/op"})
		cell(w, 9, 1, value*1e6, ok)
		value, ok = m.median(metric{bench, name, "serial", "times"})
		cell(w, 6, 3, value, ok)
		value, ok = m.median(metric{bench, name, "parallel", "sec/op"})
		cell(w, 15, 1, value*1e6, ok)
		value, ok = m.median(metric{bench, name, "parallel", "times"})
		cell(w, 12, 2, 1/value, ok)
		value, ok = m.median(metric{bench, name, "serial", "allocs/hit"})
		cell(w, 6, 0, value, ok)
		fmt.Fprintln(w)
	}
}

func reportTrips(w io.Writer, m *metrics) {
	const bench = "RedisTrips"
	what := m.who(bench)
	if len(what) == 0 {
		return
	}
	fmt.Fprintf(w, "\nRound trips of a region where nobody is in the way, beside the plain commands of go-redis that\n")
	fmt.Fprintf(w, "come closest (GET; GET and SET; MGET and a pipeline of SETs; DEL; SET). × is the time.\n\n")
	wide := width(what)
	fmt.Fprintf(w, "%-*s  %5s  %8s  %9s  %6s\n", wide, "what", "trips", "go-redis", "µs", "×")
	for _, name := range what {
		fmt.Fprintf(w, "%-*s", wide, name)
		value, ok := m.most(metric{bench, name, "", "trips"})
		cell(w, 5, 0, value, ok)
		value, ok = m.most(metric{bench, name, "", "rival-trips"})
		cell(w, 8, 0, value, ok)
		value, ok = m.median(metric{bench, name, "", "sec/op"})
		cell(w, 9, 1, value*1e6, ok)
		value, ok = m.median(metric{bench, name, "", "times"})
		cell(w, 6, 2, value, ok)
		fmt.Fprintln(w)
	}
}

func reportHerds(w io.Writer, m *metrics) {
	const bench = "Herd"
	who := m.who(bench)
	if len(who) == 0 {
		return
	}
	fmt.Fprintf(w, "\nThe herd: 8 processes, each with 500 callers, on a cold key whose creator takes 300 ms or a little\n")
	fmt.Fprintf(w, "more. The last of all callers, in ms from when the creator returned (publication is included).\n")
	fmt.Fprintf(w, "Commands are those that the server counts, for each process. Takeover: ms from the SIGKILL of the\n")
	fmt.Fprintf(w, "creating process to the next creation; a region's lease is for 30 s, the rivals' for 4 s.\n\n")
	rows := make(map[string]metric)
	var names []string
	for _, name := range who {
		names = append(names, name)
		rows[name] = metric{bench: bench, who: name, part: "cold"}
		if fewer := (metric{bench: bench, who: name, part: "cold_50"}); m.values[fewer.of("creations")] != nil {
			label := name + ", 50 callers"
			names = append(names, label)
			rows[label] = fewer
		}
	}
	wide := width(names)
	fmt.Fprintf(w, "%-*s  %9s  %8s  %6s  %8s  %15s  %8s  %6s\n", wide, "who", "creations", "last ms", "most", "commands", "waiting for 2 s", "takeover", "most")
	for _, label := range names {
		row := rows[label]
		fmt.Fprintf(w, "%-*s", wide, label)
		value, ok := m.most(row.of("creations"))
		cell(w, 9, 0, value, ok)
		value, ok = m.median(row.of("last-ms"))
		cell(w, 8, 1, value, ok)
		value, ok = m.most(row.of("last-ms-max"))
		cell(w, 6, 1, value, ok)
		value, ok = m.median(row.of("commands/process"))
		cell(w, 8, 1, value, ok)
		if row.part == "cold" {
			row.part = "killed"
		}
		value, ok = m.median(row.of("waiting-commands/process"))
		cell(w, 15, 1, value, ok)
		value, ok = m.median(row.of("takeover-ms"))
		cell(w, 8, 0, value, ok)
		value, ok = m.most(row.of("takeover-ms-max"))
		cell(w, 6, 0, value, ok)
		fmt.Fprintln(w)
	}
}

func reportHerdsElsewhere(w io.Writer, m *metrics) {
	const bench = "HerdElsewhere"
	who := m.who(bench)
	if len(who) == 0 {
		return
	}
	fmt.Fprintf(w, "\nThe same herd on memcached and on files, where waiting is polling.\n\n")
	wide := width(who)
	fmt.Fprintf(w, "%-*s  %9s  %8s  %6s\n", wide, "who", "creations", "last ms", "most")
	for _, name := range who {
		row := metric{bench: bench, who: name, part: "cold"}
		fmt.Fprintf(w, "%-*s", wide, name)
		value, ok := m.most(row.of("creations"))
		cell(w, 9, 0, value, ok)
		value, ok = m.median(row.of("last-ms"))
		cell(w, 8, 1, value, ok)
		value, ok = m.most(row.of("last-ms-max"))
		cell(w, 6, 1, value, ok)
		fmt.Fprintln(w)
	}
}

// of returns the metric of that unit.
func (row metric) of(unit string) metric {
	row.unit = unit
	return row
}

func reportRedisGrowth(w io.Writer, m *metrics) {
	const bench = "RedisGrowth"
	who, sizes := m.who(bench), m.parts(bench)
	if len(who) == 0 {
		return
	}
	fmt.Fprintf(w, "\nGrowth on Redis: the time of a hit as a multiple of the same contestant's on 1,000 keys.\n\n")
	fmt.Fprintf(w, "%9s", "keys")
	for _, name := range who {
		fmt.Fprintf(w, "  %*s", len(name), name)
	}
	fmt.Fprintln(w)
	for _, size := range sizes {
		fmt.Fprintf(w, "%9s", size)
		for _, name := range who {
			value, ok := m.median(metric{bench, name, size, "times"})
			cell(w, len(name), 2, value, ok)
		}
		fmt.Fprintln(w)
	}
}
