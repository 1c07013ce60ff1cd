package codec

import "time"

// Format is how another caching library stores its values and locks its keys, on a server
// that its programs share with those of this one. Config.Interop of a region takes it;
// package codec/dogpilepy has that of Python's dogpile.cache. All methods are safe for
// concurrent use and always answer the same.
//
// A Format that has a method Err is asked for it when a region is configured, and refused
// if that returns an error.
type Format interface {
	// Name names the library in errors, such as "dogpile.cache".
	Name() string

	// Layout says where the library keeps its values and locks.
	Layout() Layout

	// Codec returns what the library encodes values with unless it is told otherwise,
	// for regions that have no Config.Codec.
	Codec() Codec

	// Append appends what stands in front of a value's payload to dst, which it returns
	// extended: when its creator returned, and whatever else the library expects there.
	Append(dst []byte, created time.Time) []byte

	// Parse takes a stored value apart. The payload is a part of data. It returns an
	// error for whatever the library would not have stored, and never panics.
	Parse(data []byte) (created time.Time, payload []byte, err error)
}

// Layout is where another library keeps its values and locks. Two that are equal are the
// same layout.
type Layout struct {
	// LockPrefix is what the name of a lock begins with; the name of the value follows
	// without anything in between. It must not be empty.
	LockPrefix string

	// StealAfter is how long somebody else may have a lock that never expires before it
	// is taken away, counted from when this process first waited for it: whoever took it
	// is taken for dead. On memcached, which does not tell when an item expires, that goes
	// for every lock. Zero means never.
	StealAfter time.Duration

	// Flags are those of values on memcached.
	Flags uint32
}
