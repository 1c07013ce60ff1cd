package backend

import (
	"errors"

	"github.com/dogpile-go/dogpile/codec"
)

// ErrNoStamps is what Renew of a view in another library's layout returns; see [Sharer].
// Delete the keys instead.
var ErrNoStamps = errors.New("backend: another library's layout has no stamps, so nothing can be invalidated as a whole")

// ErrKey is wrapped by the errors of a view for a key under which the server can have
// nothing. To try again is of no use; set a key mangler.
var ErrKey = errors.New("the server cannot have such a key")

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
	//   - A lease that another program holds is never ended, but for codec.Layout.StealAfter:
	//     not by Set, and not by Delete. What that program creates replaces what was stored
	//     meanwhile, or comes back after a Delete.
	//   - Leases of this library's own are ended by Delete and Set in any of its processes,
	//     as ever.
	//
	// It returns an error if the servers cannot be used in such a way.
	Share(layout codec.Layout) (Backend, error)
}
