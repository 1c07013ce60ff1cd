// Package region memoizes query functions: whatever the load, one caller creates
// a value and nobody else piles on.
//
// A [Region] is a named space of keys, configured with a backend, an expiration
// and a mutex. It is declared where the functions live and configured at startup:
//
//	var Users = region.Declare("users")
//	var GetUser = region.Cached(Users, loadUser) // of the same type as loadUser
//
//	func main() {
//		err := Users.Configure(region.Config{
//			Backend:    memory.New(memory.Config{MaxEntries: 100_000}),
//			Expiration: 5 * time.Minute,
//			StaleFor:   time.Hour,
//		})
//		…
//		u, err := GetUser(ctx, 42)
//	}
//
// # What a call means
//
// A stored value is fresh until its expiration, then stale for StaleFor, then
// dead. A hard invalidation makes older values dead, a soft one makes them stale.
//
//   - Fresh: [GetOrCreate] returns it. No lock is touched.
//   - Stale: one caller in the fleet wins the lease, looks again and creates;
//     every other caller gets the stale value at once. With [Foreground] the
//     winner waits for its own creation, with [Background] it gets the stale
//     value too.
//   - Nothing or dead: the callers in one process share one flight, one process
//     in the fleet holds the lease, looks again and creates; everyone else waits
//     and wakes when the value is published.
//
// [Get] never creates and never waits.
//
// # Creators
//
// The function that creates a value runs detached from the caller who started it:
// its context keeps the caller's values but not its cancellation. It is cancelled
// when the last waiter has left, when Config.CreateTimeout passes, when the region
// closes, or, with Config.CancelOnLeaseLost, when its lease is lost. A panic in it
// reaches the waiters as [*PanicError]. Inside it [FromContext] offers what it may
// want to say about the value. A creator may ask for other keys; for its own it gets
// [ErrReentrant] at once.
//
// # Failures
//
// A backend that fails is a miss for GetOrCreate: the creator runs, once per
// process at a time, and the observer is told. Get, Set and the invalidations return
// the failure. Bytes in a backend that cannot be read, of whatever kind,
// are a miss and an event, never an error and never a wrong value.
//
// # Invalidation
//
// [Region.Delete] removes keys and [Region.Expire] makes them stale.
// [Region.InvalidateTags] makes dead what carries a tag, and [SoftTags] makes it stale;
// values get tags by [WithTags], [WithTagsFunc] and [Creation.AddTags].
// [Region.Invalidate] is for the whole region, and InvalidateAll of a function of
// package decorate for all its values. Each of them counts for every process that
// shares the backend. Renewing stamps takes one round trip or a constant number of them,
// however many values they guard, and so does Delete; Expire reads and writes the values.
// What comes from outside of the program goes through an [Invalidator].
//
// An invalidation that fails is tried again in the background until it succeeds or the
// region is closed; see [ErrPending].
//
// # Rolling deploys
//
// Binaries of two releases may run side by side over one backend of bytes and ask for the
// same keys as different types, because a field was added, removed or changed, or with
// different codecs. Nobody reads what the others have stored, and nobody overwrites it as
// long as it is fresh: whoever comes second keeps its value beside it, and each release
// creates a value once. What invalidates a key invalidates what is kept beside it, too.
//
// So long a hit of those who came second takes one more round trip. A value that is no
// longer fresh belongs to whoever creates it anew, and so the keys go over to the new
// release as they expire, or within a day. What was kept beside a value ends with it. Set
// and [WithExpiration] of 0 take the key over at once. If the releases have different
// expirations, the shorter one counts for both. Stats.Foreign tells how much of this there
// is.
//
// # No invalidation is lost
//
// If Delete, Invalidate or InvalidateTags returned before a read began, the read never
// yields a value whose creator began before the invalidation was called, in any
// process, even if that creator was still running. A process that cannot reach its backend
// cannot learn of invalidations made elsewhere: while that lasts, its callers share
// what it creates itself.
package region
