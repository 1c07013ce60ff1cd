// Package schema tells Go types apart by a number that can be stored.
//
// A process that reads a value must know that it was written for the very type
// it is about to decode into: bytes of an older User, whose field was renamed
// since, decode without an error into a User that lacks it. So every stored value
// carries the [Fingerprint] of its type, and a different one is a miss.
package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"sync"
)

// fingerprints caches what has been computed, by reflect.Type. A program has few
// types, so it is never emptied.
var fingerprints sync.Map

// Fingerprint returns a number for t that is the same in every process and every
// build, and different for a different type: another name or package, another
// structure at any depth, another tag, or other methods that marshal it. A nil
// type, which is that of a nil interface, has a fingerprint too. It never panics
// and is safe for concurrent use; the second call for a type is a lookup.
//
// Two types have the same fingerprint only when reflection shows no difference
// that a codec could see: types of one name and one structure that are declared
// inside two functions of one package, named interfaces that differ in their
// methods but not in their number, and types that marshal themselves as text and
// differ in what they hide (see description).
func Fingerprint(t reflect.Type) uint64 {
	if known, ok := fingerprints.Load(t); ok {
		return known.(uint64)
	}
	// Half of SHA-256 rather than a faster hash: this runs once per type, and the
	// only thing that matters is that no two types of a program ever collide.
	sum := sha256.Sum256(describe(t))
	fingerprint := binary.BigEndian.Uint64(sum[:8])
	fingerprints.Store(t, fingerprint)
	return fingerprint
}
