// Package bench measures what a hit costs, beside caches that one could use
// instead. It is a module of its own, so that nobody who uses dogpile downloads
// its rivals.
//
//	make bench                                            from the root: everything, and the table
//	go test -run '^$' -bench Hit/who=otter_TTL            one contestant
//	go test -run '^$' -bench . -count 6 . | go run ./ratios
//	go tool benchstat -col /who results.txt
//
// All numbers of one table come from one run. Every contestant answers through
// one call of a func value; what that costs is the line slice_index. The caller's
// keys are equal to those that are stored but are other strings, as in a program,
// so that no comparison of keys ends at the pointer.
//
// Rivals load on a miss, if they can, and keep values for an hour, unless their
// name says otherwise. A rival is never charged for a closure that it makes its
// callers write; for ours, region.GetOrCreate_closure shows what one costs.
package bench
