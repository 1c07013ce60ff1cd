// Package bench measures what a hit costs, beside caches that one could use
// instead. It is a module of its own, so that nobody who uses dogpile downloads
// its rivals.
//
//	make bench                                            from the root: everything, and the tables
//	make bench BENCH='Redis|Herd'                         what needs a redis-server
//	go test -run '^$' -bench ^BenchmarkHit/who=otter_TTL  one contestant
//	go test -run '^$' -bench . -count 6 . | go run ./ratios
//	go tool benchstat -col /who results.txt
//
// All numbers of one table come from one run.
//
// # In memory
//
// Every contestant answers through
// one call of a func value; what that costs is the line slice_index. The caller's
// keys are equal to those that are stored but are other strings, as in a program,
// so that no comparison of keys ends at the pointer.
//
// Rivals load on a miss, if they can, and keep values for an hour, unless their
// name says otherwise. A rival is never charged for a closure that it makes its
// callers write; for ours, region.GetOrCreate_closure shows what one costs.
//
// # On Redis
//
// The server is one of our own on this machine. A round trip to it takes 25 µs or 100 µs,
// as the kernel pleases, for seconds on end, so two contestants that were measured one
// after the other cannot be compared to a few per cent. Each is therefore measured in
// turns with its rival, hit by hit, first one and then the other in front. 32 hits of
// each make a slice, which has a ratio, and what is reported is the median of the
// ratios of all slices: hundreds in a run. Where the rival is measured in turns with
// itself the ratio is 1.00 to within a hundredth, which the table shows as well.
// With 64 callers the turns are slices of 2,048 hits.
//
// The rival is what one writes without a library: a GET by a go-redis client with the
// same options as a region's, over a connection of its own, and the value decoded by
// the same codec. go-redis_MGET reads a second, short key with each value: no cache that
// can invalidate a whole region for a whole fleet at once reads less from the server.
// Values are encoded to 140 bytes.
//
// Round trips are counted by a hook of the client. Commands are counted by the server,
// in its INFO commandstats, where a script counts and each command in it too.
//
// The herd is 8 processes, which is this test's program started again. Each has been
// running for a while when its callers come: it is connected and has created a value of
// its own. Creators are counted by the parent, outside of any cache. The rivals, but
// for go-redis-cache, are locks, with what has to be written around them: a look before
// and after taking the lock, and one caller for all of a process.
// rueidisaside, which comes nearest to a region, is missing, because Go's module proxy
// does not have it. rueidislock is its sibling and is told by the server as well.
package bench
