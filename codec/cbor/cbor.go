// Package cbor is the default codec: CBOR (RFC 8949), which is compact, keeps
// bytes as bytes and nil apart from empty, and needs nothing from most types.
//
// # What comes back
//
// A cached value must be the value that was created, so what CBOR would lose in
// silence is refused with an error that wraps [codec.ErrUnsupported] and says
// what to do. Struct fields are named by their "cbor" tag, else their "json" tag,
// else by name. These are the rules to know:
//
//   - Unexported fields are not stored. A struct that has nothing else is
//     refused, and so is an exported field that only a json:"-" tag hides, because
//     what an API hides from its clients is rarely meant to vanish from a cache:
//     give it a cbor:"name" or, to leave it out, a cbor:"-". Of promoted fields
//     that hide each other those are stored that encoding/json would write.
//   - Types that bring MarshalCBOR, MarshalBinary or MarshalText (the first of
//     these that they have) encode themselves, and are refused without the
//     Unmarshal counterpart. MarshalJSON is not looked at. A struct that has such
//     a method only because it embeds a type with it, and has other fields that
//     the method knows nothing of, is refused.
//   - A time.Time keeps its instant to the nanosecond and its offset from UTC; it
//     loses the name of a zone that is not the process's own, and the monotonic
//     reading. Years outside 0-9999 and offsets with seconds are refused.
//   - In an interface value, integers come back as int64 (or *big.Int where that
//     is too small), floats as float64, structs and maps as map[string]any, slices
//     and arrays as []any, and a nil of any type as a nil interface. What could not
//     be decoded at all, such as a map with struct keys, is refused. Interfaces
//     with methods can hold only nil.
//   - A pointer to something that is written as null (a nil slice, map, pointer or
//     interface, or the zero time.Time) would come back as a nil pointer and is
//     refused.
//   - "omitempty" turns what is empty into nil.
//   - Cyclic values, and those nested deeper than 1,024 levels, are refused.
//     Pointers to one variable become pointers to copies.
package cbor

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/dogpile-go/dogpile/codec"
)

// New returns the codec. It has no state: all of them are one.
func New() codec.Codec { return values{} }

type values struct{}

// Name returns "cbor".
func (values) Name() string { return "cbor" }

// Append implements [codec.Codec]. Every error it returns wraps
// [codec.ErrUnsupported]. A v that points to the value is encoded as the value.
func (values) Append(dst []byte, v any) ([]byte, error) {
	findings, err := inspect(v)
	if err != nil {
		return dst, fmt.Errorf("codec/cbor: %T: %w: %w", v, codec.ErrUnsupported, err)
	}
	buf := bytes.NewBuffer(dst)
	if err := encMode.MarshalToBuffer(v, buf); err != nil {
		return dst, fmt.Errorf("codec/cbor: %T: %w: %w", v, codec.ErrUnsupported, err)
	}
	out := buf.Bytes()
	if findings.rehearse {
		if err := strictMode.Unmarshal(out[len(dst):], reflect.New(reflect.TypeOf(v)).Interface()); err != nil {
			return dst, fmt.Errorf("codec/cbor: %T: %w: it could not be decoded again: %w", v, codec.ErrUnsupported, err)
		}
	}
	return out, nil
}

// Decode implements [codec.Codec]. It reads all of data; bytes behind the value
// are an error.
func (values) Decode(data []byte, into any) error {
	// The library must not even see the types that Append refuses: it would
	// follow type T *T for ever.
	if t := reflect.TypeOf(into); t != nil {
		if p := planOf(t); p.refusal != "" {
			return fmt.Errorf("codec/cbor: %T: %w: %s", into, codec.ErrUnsupported, p.refusal)
		}
	}
	if err := decMode.Unmarshal(data, into); err != nil {
		return fmt.Errorf("codec/cbor: decode into %T: %w", into, err)
	}
	return nil
}
