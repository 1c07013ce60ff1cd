// Package proof checks law I1 of the regions, that no invalidation is lost, on histories
// of real fleets: who called what when, and what it returned. It is a module of its own,
// because it needs porcupine, which looks for an order of the operations of a history in
// which each of them is legal.
//
//	go test -race ./...                                        the short form, a minute
//	DOGPILE_LONG=1 go test -race -count=1 -timeout 60m ./...   the long form, some ten minutes
//	go test -artifacts -outputdir /tmp/proof ./...             keeps the drawings of what has failed
//
// # Histories
//
// Three processes, on Redis, on three servers of memcached or on one folder, have four
// clients each, which call GetOrCreate, GetOrCreateMulti, Get, Set, Delete, Expire,
// Invalidate, InvalidateTags, SoftTags and a wrapped function with its methods, on 32 keys
// with tags given by calls, by the wrapper and by creators. Three regions of one name on
// one memory.Backend stand for processes in memory. Creators take their time at random
// places and fail now and then. The clocks of the processes are 15 minutes apart, with an
// expiration that is longer than that, and with one that is shorter. Processes are stopped
// for longer than their leases, and killed. The connections are never broken: what a
// region does when a backend fails is tested elsewhere, and here any such failure fails
// the test. Nothing stale is served, so soft invalidations have to do what hard ones do; but
// in one history, in which it has to be seen that they revive nothing.
//
// # Time
//
// All moments are ticks of one counter in memory that the processes share. Every call
// takes one before it begins and one after it has returned, in its record, which is in
// that memory too and so outlives who is killed. No clock takes part.
//
// A value says when it began: the tick that its creator took before anything else, or the
// one before the call of its Set. It also says which tags it carries.
//
// # The model
//
// Keys are checked one by one; an operation on many keys is part of the history of each.
// The state of a key is
//
//   - a floor for each of its guards: the key itself (with its function and its region),
//     and each of its tags;
//   - the value that was Set and is the key's at present, if there is one.
//
// An invalidation raises the floors of its guards to the tick of its call, and ends a Set
// value that carries one of them. It does so at some moment between its call and its return;
// one that has failed or never returned at some moment since, or never.
//
// A Set makes its value the key's, in place of another one, and raises the floor of the
// key: it voids the lease of whoever creates.
//
// A read that yields a Set value is legal if that is the key's at some moment of the read.
// One that yields a created value is legal if that is not below any floor of what it
// carries. If the read began after the creator did, the value was published before the
// read returned, so it is the key's then, in place of a Set value, and no older one can
// follow: it raises the floor of the key to itself. If the read began before, it has the
// value as one of those who waited for it, whatever became of it, and tells nothing of
// other reads. A miss is always legal.
//
// # Is that the law?
//
// It is no weaker. Where an invalidation returned before a read began, it comes before it
// in every order, and then the floor is at least the tick of its call: a value of a
// creator that began before is illegal (TestWhatBreaksTheLawIsIllegal tries it on random
// histories). It is stricter in what the law does not say but everybody relies on: values
// do not come back. Once a read has seen a newer published value, no later read sees an
// older one, be the invalidation between them still under way or its process dead; a Set
// that has returned is not overwritten by an older creation; and of Set values none is
// seen that was replaced. Backends keep that because only the current lease may publish.
// Of expirations the model says nothing: a miss is always legal.
//
// A Set that overlaps an invalidation may come before it or after it, though it was called
// before: no backend could tell, and who calls both at once cannot either. But what has
// been created before such a Set and before the invalidation does not come back with it.
// The law counts from the call of an invalidation; a creator that begins while one is
// under way may be seen or not.
//
// # What else is checked
//
// That a history is one of a cache, by its share of hits. And law I2 on its counts, where
// no clock makes values die early and no lease was lost to a stop: a key is created once,
// and once more for every invalidation, failure, death and unproved value; see
// mostCreations. That is a bound from above, not the number that a fleet without
// invalidations needs: TestColdHerd and its like in the backends' folders count those.
//
// That the check can fail is shown on made-up histories, each of which breaks one law, and
// on real regions over backends that each break one promise: every one of them is found
// within a few thousand operations.
package proof
