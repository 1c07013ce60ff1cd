// Package envelope is the format in which byte backends store a value: a header
// that says whose value it is and how to judge it, then the payload that a codec
// wrote, all under one checksum.
//
// A backend is shared with other programs, other releases of this one and with
// whatever corrupts bytes, so [Parse] believes nothing. What it returns without an
// error was written by [Finish] for the very key that was asked for.
//
// # Layout
//
// All numbers are little-endian. The header is 96 bytes long.
//
//	at  length
//	 0   3  magic D0 'g' 'p' (no text in any encoding that is a superset of ASCII)
//	 3   1  version of the format, 1
//	 4   2  flags: bit 0 is NotFound, the others are zero
//	 6   2  number of further guards, which are tags
//	 8   4  codec: CodecID of its name
//	12   4  CRC-32C of everything else: bytes 0-11 and 16 to the end
//	16   8  schema: fingerprint of the value's Go type
//	24   8  created, in Unix nanoseconds
//	32   8  cost, in nanoseconds; or, with the highest bit set, 31 bits of nonce above
//	        32 bits of cost, in microseconds
//	40   8  expiration, in nanoseconds
//	48  16  key: the start of a SHA-256 over region and name
//	64  24  stamps of the region: hard, soft
//	88   8  number of bytes behind the header
//	96      the further guards, each of them
//	            1  length of its tag, not 0
//	               tag
//	           24  stamps: hard, soft
//	        payload
//
// # Room for more
//
// A reader answers [ErrVersion] to a flag that it does not know. The version needs to
// change only when a byte above gets another meaning.
package envelope

import (
	"errors"
	"hash/fnv"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// The errors of [Parse]. Each of them is a miss for the reader of a cache; they
// are told apart for those who watch it.
var (
	// ErrForeign says that the bytes were not written by this package: another
	// program uses the same keys.
	ErrForeign = errors.New("envelope: not a stored value; another program wrote under this key")

	// ErrVersion says that the value was written by another release, in a format
	// or with features that this one does not know.
	ErrVersion = errors.New("envelope: stored in a format that this release does not know")

	// ErrCorrupt says that length or checksum do not fit: bytes were lost, added
	// or changed. Of nothing at all it says that everything was lost.
	ErrCorrupt = errors.New("envelope: corrupt, length or checksum do not fit")

	// ErrOtherKey says that a sound value of another key was found.
	ErrOtherKey = errors.New("envelope: the value belongs to another key")
)

// Header is what is stored with a payload.
type Header struct {
	// Codec is the [CodecID] of the codec that wrote the payload.
	Codec uint32

	// Schema is the fingerprint of the value's Go type; see internal/schema.
	Schema uint64

	// Created is when the creator returned, to the nanosecond. It comes back in
	// UTC and without a monotonic clock reading. It lies between the years 1678
	// and 2262, which int64 nanoseconds can tell, or is the zero Time.
	Created time.Time

	// Cost is how long the creator took. Beside a Nonce it is stored in whole
	// microseconds, and at most [MostCost].
	Cost time.Duration

	// Nonce is a random number from 1 to [MostNonce]: two values that are otherwise
	// the same have different ones, and so different identities. Releases that do
	// not know it, from which comes 0, take it for a part of Cost, which nothing
	// depends on.
	Nonce uint32

	// Expiration is the value's own; zero means that the reader's applies.
	Expiration time.Duration

	// NotFound marks the stored answer "there is no such value".
	NotFound bool

	// Stamps are those of the region, captured before the creator began.
	Stamps backend.Stamps

	// Tags are the further guards, [MostTags] at most, each with a tag of 1 to
	// [LongestTag] bytes. Their Live is neither stored nor set.
	Tags []backend.Tagged
}

const (
	// MostNonce is the greatest Nonce.
	MostNonce = 1<<31 - 1

	// MostCost is the greatest Cost beside a Nonce.
	MostCost = (1<<32 - 1) * time.Microsecond

	// MostTags is how many tags a value can have. It bounds what whoever writes into
	// the backend can make a reader ask for.
	MostTags = 1024

	// LongestTag is how many bytes a tag can have.
	LongestTag = 255
)

// CodecID returns the number by which a codec of that name is known in a header:
// FNV-1a, 32 bits.
func CodecID(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails; see hash.Hash
	return h.Sum32()
}
