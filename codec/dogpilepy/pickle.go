package dogpilepy

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/fill"
)

// ErrReadOnly is wrapped by the error of [Pickle] for every value that is to be stored. The
// error wraps [codec.ErrUnsupported] as well.
var ErrReadOnly = errors.New("dogpilepy: pickles are only read: give the Python region a JSON serializer, and this one the codec that it has by default")

// ErrPickle is wrapped by the errors of [Pickle] for bytes that it does not decode.
var ErrPickle = errors.New("dogpilepy: the pickle cannot be decoded")

// Limits of pickles, besides those that follow from their length.
const (
	maxPickle  = 64 << 20 // bytes
	maxObjects = 1 << 20  // values, and what the memo holds
	maxLevels  = 1024     // containers in each other
	maxInteger = 4096     // bytes, or digits, of one

	// What the memo shares in Python is copied in Go. A value may have this many objects
	// for each byte of the pickle, and those, where without sharing it has one at most.
	maxSharing  = 8
	freeSharing = 1024
)

// Pickle returns a codec that reads what a region of dogpile.cache stores that has no
// serializer, so that a Go service can read its values before the Python side has been
// changed. It stores nothing: Append always returns an error that wraps [ErrReadOnly].
//
// It reads the protocols 0 to 5 of None, bool, int, float, str, bytes, list, tuple and dict,
// and bytearray from protocol 5 on. It never looks for a class and runs nothing. A pickle
// that has anything else in it, such as an instance, a set or a datetime, is an error that
// names the opcode, and the class if it has one: the value is a miss. So are
//
//   - lists and dicts that contain themselves;
//   - strings with half of a surrogate pair, which Go cannot hold;
//   - bytes behind the end, which Python ignores;
//   - more than 64 MiB, a million objects, 1,024 containers in each other, or integers of more
//     than 4,096 digits or bytes;
//   - values in which the same list or dict stands so often that they would be several times
//     as large as their pickle: Python shares such a part, and Go gets a copy of each.
//
// A value is put into a Go variable as encoding/json does it: dicts into structs, by the
// names in json tags, and into maps; lists and tuples into slices, and into arrays of their
// length; None into pointers, interfaces, slices and maps, and into nothing else. A tuple can
// be the key of a map whose keys are arrays. Integers go into floats that are exactly as
// large, and floats never into integers. Options in tags, and UnmarshalJSON, do not count;
// types with UnmarshalText take strings. In an interface value, integers are int64 or
// *big.Int, lists and tuples []any, and dicts map[string]any, or map[any]any if not all keys
// are strings.
//
// The codec is registered for [codec.Open] as "pickle".
func Pickle() codec.Codec { return pickle{} }

type pickle struct{}

// Name returns "pickle".
func (pickle) Name() string { return "pickle" }

// Append implements [codec.Codec]: it returns dst and an error.
func (pickle) Append(dst []byte, v any) ([]byte, error) {
	return dst, fmt.Errorf("%w: %w", ErrReadOnly, codec.ErrUnsupported)
}

// Decode implements [codec.Codec].
func (pickle) Decode(data []byte, into any) error {
	value, err := load(data)
	if err == nil {
		err = fill.Into(into, value, "json")
	}
	if err != nil {
		return fmt.Errorf("%w into %T: %w", ErrPickle, into, err)
	}
	return nil
}

// load returns the value of a pickle. Its size and depth are bounded.
func load(data []byte) (any, error) {
	if len(data) > maxPickle {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(data), maxPickle)
	}
	m := machine{data: data}
	value, err := m.run()
	if err != nil {
		return nil, err
	}
	weight, _, err := weigh(value, 0)
	if err != nil {
		return nil, err
	}
	if weight > freeSharing+maxSharing*len(data) {
		return nil, fmt.Errorf("what its %d bytes share would become %d objects", len(data), weight)
	}
	return value, nil
}

// weigh returns of how many objects a copy of x would consist, and how deep it is. above is
// how many containers x is in.
func weigh(x any, above int) (weight, levels int, err error) {
	var items []any
	var note *fill.Note
	switch x := x.(type) {
	case *fill.List:
		items, note = x.Items, &x.Note
	case *fill.Dict:
		items, note = x.Pairs, &x.Note
	case class:
		return 0, 0, fmt.Errorf("it has the class %.100q", string(x))
	default:
		return 1 + copied(x)/16, 0, nil
	}
	if note.Weight < 0 {
		return 0, 0, errors.New("a list or dict in it contains itself")
	}
	if note.Weight == 0 {
		if above >= maxLevels {
			return 0, 0, errLevels
		}
		note.Weight = -1
		weight, levels = 1, 0
		for _, item := range items {
			w, l, err := weigh(item, above+1)
			if err != nil {
				return 0, 0, err
			}
			weight, levels = min(weight+w, 1<<40), max(levels, l)
		}
		note.Weight, note.Levels = weight, levels+1
	}
	if above+note.Levels > maxLevels {
		return 0, 0, errLevels
	}
	return note.Weight, note.Levels, nil
}

// copied returns how many bytes of x are copied for each place it stands in. Strings and
// small numbers are shared.
func copied(x any) int {
	switch x := x.(type) {
	case fill.Bytes:
		return len(x)
	case *big.Int:
		return x.BitLen() / 8
	}
	return 0
}

var errLevels = fmt.Errorf("it has more than %d lists and dicts in each other", maxLevels)
