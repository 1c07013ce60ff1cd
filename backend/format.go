package backend

import (
	"errors"
	"time"

	"github.com/dogpile-go/dogpile/codec"
)

// ErrNoStamps is what Renew of a view in another library's layout returns; see [Sharer].
// Delete the keys instead.
var ErrNoStamps = errors.New("backend: another library's layout has no stamps, so nothing can be invalidated as a whole")

// ErrKey is wrapped by the errors of a view for a key under which the server can have
// nothing. To try again is of no use; set a key mangler.
var ErrKey = errors.New("the server cannot have such a key")

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
	Codec() codec.Codec

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
	// is taken for dead. Zero means never.
	StealAfter time.Duration

	// Flags are those of values on memcached.
	Flags uint32
}

// Sharer is an optional capability of backends whose servers programs with another caching
// library may use as well.
type Sharer interface {
	// Share returns a view of the servers in that library's layout: a Backend of bytes
	// that stores the Data of an entry as it is, under Key.Name, and takes its leases where
	// the library has its locks. Key.Region, and the prefix of the backend, have no part in
	// names. All calls with an equal layout return the same view. It is closed with the
	// backend; its own Close does nothing.
	//
	// The library knows less than a [Backend] promises, so a view promises less:
	//
	//   - There are no stamps. Guards are ignored, the stamps in answers are nil, and Renew
	//     returns [ErrNoStamps].
	//   - A lease that another program holds is never ended, but for Layout.StealAfter:
	//     not by Set, and not by Delete. What that program creates replaces what was stored
	//     meanwhile, or comes back after a Delete.
	//   - Leases of this library's own are ended by Delete and Set in any of its processes,
	//     as ever.
	//
	// It returns an error if the servers cannot be used in such a way.
	Share(layout Layout) (Backend, error)
}
