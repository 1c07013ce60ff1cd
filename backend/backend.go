// Package backend defines what a region stores its values in.
//
// A [Backend] keeps entries under keys, keeps the stamps that invalidation is
// made of, and brings the leases under which values are created. Every
// operation that a region performs goes through this one interface, so a proxy
// that embeds a Backend and overrides a method sees every call, whatever stands
// behind it.
//
// # Values and bytes
//
// A backend keeps either Go values or bytes, and says which with Bytes. For a
// backend of values a region fills Entry.Value; for a backend of bytes it
// encodes the value and everything that judges it into Entry.Data. A backend
// returns an entry as it was given and never looks into it.
//
// # Stamps
//
// A [Guard] is something that can be invalidated as a whole, such as a region or
// what carries a tag. Its [Stamps] are random and replaced at each invalidation. An
// entry carries the stamps that were current before its creator began; a reader
// compares them with those that are current now. No clock and no counter takes part, so no two
// machines have to agree on anything, and a stamp that was lost or evicted can
// only invalidate, never validate.
//
// # Leases
//
// Acquire grants the lease of a key to one caller of the whole fleet. A Set that
// carries a lease stores its entry only while that lease is held; Delete, and a
// Set without one, void the lease. So a creation that read the old row cannot
// publish over a newer write or after a delete.
//
// # Writing a backend
//
// A backend of another kind implements [Backend], is registered with [Register] so that
// [Open] finds it by URL, and calls backendtest.Run in a test. If it cannot keep every key
// it has a [KeyMangler].
//
// One that a single process uses need not care for leases and stamps itself. It may embed
// a backend of package null, which has them and keeps no entries, as a Backend, which hides
// what else that one can do. It then adds the place for entries, with a mutex that makes
// one step of what happens to an entry and to the lease of its key: examples/thirdparty
// does so in less than 100 lines. Or it keeps leases in a lock/local.Locker, whose Finish
// and Supersede are such a step for each key, and stamps where it keeps the entries. A
// lease given to Set has to be of the item's key; Finish does not look at that.
//
// One that several processes share has to have a place where all of this is decided in one
// step on the other side, such as a script, a transaction or a compare-and-swap; see the
// packages redis and memcached.
//
// The folders below hold the implementations; backendtest is the conformance
// suite that each of them passes. Backends are opened by their constructors or,
// by URL, with [Open].
package backend

import (
	"context"
	"errors"
	"time"

	"github.com/dogpile-go/dogpile/lock"
)

// ErrClosed is returned by every operation of a Backend that has been closed.
var ErrClosed = errors.New("backend: closed; open a new backend")

// ErrLeaseLost is the outcome of an [Item] whose lease was no longer held when
// it was to be stored. What was stored before is untouched.
var ErrLeaseLost = errors.New("backend: the lease was lost, so the value was not stored")

// Backend stores entries. All methods are safe for concurrent use. A failing
// operation leaves what was stored as it was, or, where a server's answer was
// lost, as the operation would have left it.
//
// A Backend is compared by identity: its dynamic type must be comparable, best
// a pointer.
type Backend interface {
	// Bytes reports whether entries are kept as bytes (Entry.Data) rather than
	// as Go values (Entry.Value). It always gives the same answer.
	Bytes() bool

	// Get reads the entry of key together with the current stamps of guards, in
	// one round trip. A miss is a Found without Entry, not an error. Every part
	// of the answer is read after the call began.
	Get(ctx context.Context, key Key, guards []Guard) (Found, error)

	// GetMulti is Get for many keys in one round trip. Entries stand in the
	// order of keys, nil for a miss; a key that stands there twice is answered
	// twice. Without keys it reads the stamps alone.
	GetMulti(ctx context.Context, keys []Key, guards []Guard) ([]*Entry, []Stamps, error)

	// Acquire tries to take the lease of each key and re-reads the entries of
	// those it was granted, after it was granted them. It never waits for a
	// holder. Grants stand in the order of keys; a Grant without Lease says that
	// somebody else holds it. The stamps of guards are read after the leases
	// were granted, and absent ones are created, so that none is zero; if no
	// lease was granted they may be zero. No key may stand in keys twice. On an
	// error no lease is held.
	Acquire(ctx context.Context, keys []Key, guards []Guard) ([]Grant, []Stamps, error)

	// Wait blocks until the lease of one of keys may be free, under the contract
	// of [lock.Locker.Wait]. After Close it returns [ErrClosed].
	Wait(ctx context.Context, keys []Key) error

	// Set stores items and then reads the stamps of guards: in one round trip where
	// all items have leases. No key may stand in items twice.
	//
	// The guards are those of which the entries carry stamps. Those of tags are kept
	// at least as long as the items are, as far as the backend keeps anything; those
	// that are absent may stay so.
	//
	// When it has returned, with an error or without one, nothing of it takes effect
	// any more after a Delete, a Renew or a Set that begins then, not even through a
	// request that reaches a server late.
	//
	// An item without Lease is stored whatever was there, and voids the lease
	// of its key. An item with one is stored only if that lease is still held,
	// which ends it; otherwise the item's Err becomes [ErrLeaseLost] and nothing
	// of it is stored. An item that could not be stored for another reason has
	// that reason in Err, and its lease is still held. The error of Set itself
	// says that the operation as a whole failed; the items' Err then say nothing.
	Set(ctx context.Context, items []Item, guards []Guard) ([]Stamps, error)

	// Delete removes the entries of keys and voids their leases: a creation
	// that is running cannot publish any more. Keys that are not there are
	// skipped. Without keys it does nothing.
	Delete(ctx context.Context, keys []Key) error

	// Stamps returns the current stamps of guards and creates those that are
	// absent, so that none is zero.
	Stamps(ctx context.Context, guards []Guard) ([]Stamps, error)

	// Renew replaces one stamp of each guard with a new random one: Stamps.Hard,
	// or, when soft is true, Stamps.Soft, and then leaves Stamps.Hard as it is. It
	// takes one round trip, or a constant number. The stamps of a tag that are absent
	// may stay so. When it has returned nil, every read that begins anywhere sees the
	// new stamps. Where guards of one region are renewed, the first one is renewed
	// before any of the others is.
	Renew(ctx context.Context, guards []Guard, soft bool) error

	// Close releases what the backend holds and ends the leases that it granted.
	// A second Close does nothing and returns nil.
	Close() error
}

// Entry is one stored value. It is immutable once it has been given to a
// Backend or come from one.
type Entry struct {
	// Value is a pointer to the value, for backends that keep Go values. It is
	// nil for a value that stands for "not found".
	Value any

	// Stamps are those of the region, captured before the creator began.
	Stamps Stamps

	// Tags are the further guards of the value, with their stamps from before the
	// creator began.
	Tags []Tagged

	// Created is when the creator returned.
	Created time.Time

	// Expiration is the value's own expiration; zero means that the reader's
	// applies.
	Expiration time.Duration

	// Cost is how long the creator took; zero for a value given to Set.
	Cost time.Duration

	// NotFound marks the stored answer "there is no such value".
	NotFound bool

	// Data is the value encoded, with everything above inside it, for backends
	// that keep bytes. The fields above are then zero.
	Data []byte
}

// Tagged is one guard of a value beside its region's.
type Tagged struct {
	// Tag is the [Guard]'s.
	Tag string

	// Stamps are what it had before the value's creator began.
	Stamps Stamps

	// Live is the cell of the guard's current stamps, for backends that are [Local];
	// otherwise it is nil.
	Live *LiveStamps
}

// Found is what a read of one key returned.
type Found struct {
	// Entry is the stored entry; nil means that there is none.
	Entry *Entry

	// Stamps are the current stamps of the guards asked for, in their order. A
	// zero stamp is one that does not exist.
	Stamps []Stamps
}

// Grant is the answer of Acquire about one key.
type Grant struct {
	// Lease is held by the caller, who has to release it or store under it; nil
	// means that somebody else holds it.
	Lease lock.Lease

	// Entry is what was stored when the lease had been granted; nil means
	// nothing, or no lease.
	Entry *Entry
}

// Item is one entry to be stored.
type Item struct {
	// Key is where the entry is stored.
	Key Key

	// Entry is what is stored. It must not be changed afterwards. Nil stores
	// nothing: an item with a Lease and no Entry only ends the lease and, like
	// any other, says in Err whether it was held until then; one without either
	// only voids the lease of its key.
	Entry *Entry

	// TTL is how long the entry is kept at least, after which the backend may
	// drop it and soon does: within two seconds it is no longer returned. Zero
	// means for ever; a negative TTL is refused with an error.
	TTL time.Duration

	// Lease, if it is not nil, comes from Acquire of the same backend for the
	// same key and has to be held still for the item to be stored.
	Lease lock.Lease

	// Err is the outcome, set by Set: nil when the item was stored.
	Err error
}

// Local is an optional capability of backends that live in the process and keep Go
// values. A region looks for it once, when it is configured, and then reads hits
// without copying keys and compares stamps without asking for them. It changes
// nothing but the speed: a proxy that hides it is as correct.
type Local interface {
	// In returns the view of one region.
	In(region string) LocalRegion
}

// LocalRegion is what a [Local] backend offers for the keys of one region.
type LocalRegion interface {
	// Peek is Get of the entry alone. It returns nil for a miss and after Close.
	//
	// atMost is an upper bound of the time since Entry.Created that costs no look
	// at the clock. It may be some seconds too high, and then the reader looks at
	// the clock itself.
	Peek(name string) (e *Entry, atMost time.Duration)

	// PeekBytes is Peek with the name as bytes, which are not kept.
	PeekBytes(name []byte) (e *Entry, atMost time.Duration)

	// Live returns the cell that always holds the region's current stamps. Equal
	// regions have the same cell.
	Live() *LiveStamps

	// LiveTag is Live for the guard of a tag. A cell is kept at least as long as
	// somebody holds it; if nobody does it may be dropped, and then a later one has
	// other stamps.
	LiveTag(tag string) *LiveStamps
}

// KeyMangler is an optional capability of backends that cannot keep every key, though
// the contract above knows no other. A region looks for it once, when it is configured,
// and lets all keys go through it, after its own Config.KeyMangler; the conformance suite
// does the same. Package mangle has functions for it. Backends of this module need none:
// they take any key.
type KeyMangler interface {
	// KeyMangler returns what makes of each Key.Name one that the backend can keep; nil
	// if it can keep all. It always returns the same for the same name, two names should
	// never become one, and it is safe for concurrent use. The name of the region, of up
	// to 128 bytes and the prefixes of proxies, is not changed: leave room for it.
	KeyMangler() func(name string) string
}

// Clock is an optional capability of backends whose server has a clock of its
// own: created-times are then in the server's time, so that processes whose
// clocks differ agree on the age of a value. Without it time.Now is used.
type Clock interface {
	// Now returns the server's time as well as it is known, without a round
	// trip.
	Now() time.Time
}
