// Package msgpack is the codec of MessagePack, for values that programs in other languages
// read and write: Python's msgpack.packb and msgpack.unpackb, with their defaults, among
// them.
//
// # What comes back
//
// What MessagePack would lose in silence is refused with an error that wraps
// [codec.ErrUnsupported]. These are the rules to know:
//
//   - Struct fields are named by their "msgpack" tag, else by their "json" tag, else by name;
//     other options in tags, omitempty among them, do not count. When a value is read, a field
//     is found also if its name differs in case, unless its own name is there as well.
//     Unexported fields are not stored, and a struct that has nothing else is refused.
//   - A map is a map. Python's unpackb reads one whose keys are not text with
//     strict_map_key=False only, and raises ValueError otherwise.
//   - []byte is bytes and string is text. Text that is not UTF-8 is refused, since Python
//     cannot read it.
//   - A nil slice, map or pointer is nil, which is None in Python. A pointer to something that
//     is written as nil would come back as a nil pointer and is refused.
//   - A time.Time is a timestamp, which Python reads as msgpack.Timestamp, or as datetime if
//     it is asked to. It has nanoseconds and no offset: times with an offset from UTC are
//     refused, so call UTC before storing them. UTC comes back.
//   - A *big.Int, or big.Int, is an integer; beyond 64 bits it is refused.
//   - A type with MarshalText and UnmarshalText is text. Other methods of types do not count.
//     A struct that has these from what it embeds, and other fields beside that, is refused.
//   - A struct of which several fields have one name, and keys of a map that would be the
//     same in bytes, are refused.
//   - In an interface value, integers come back as int64, or uint64 where that is too small,
//     floats as float64, maps and structs as map[string]any, or map[any]any if not all keys
//     are text, and lists as []any. Interfaces with methods can hold only nil.
//   - Cyclic values, and those nested deeper than 512 levels, are refused: Python packs no
//     deeper.
//   - An integer is read into a float that is exactly as large, and a float never into an
//     integer. Nil is read into pointers, interfaces, slices and maps, and into nothing else.
//     Extensions other than timestamps, and text that is not UTF-8, cannot be read.
//
// The codec is registered for [codec.Open] as "msgpack".
package msgpack

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/fill"
)

// ErrFormat is wrapped by the errors of Decode.
var ErrFormat = errors.New("codec/msgpack: the value cannot be decoded")

// tag is where names of fields stand.
const tag = "msgpack"

// maxLevels bounds arrays and maps in each other, in both directions.
const maxLevels = 512

// New returns the codec. It has no state: all of them are one.
func New() codec.Codec { return values{} }

type values struct{}

// Name returns "msgpack".
func (values) Name() string { return "msgpack" }

// Append implements [codec.Codec]. Every error it returns wraps [codec.ErrUnsupported]. A v
// that points to the value is encoded as the value.
func (values) Append(dst []byte, v any) ([]byte, error) {
	e := encoder{out: dst}
	if err := e.encode(addressable(v), 0, 0); err != nil {
		return dst, fmt.Errorf("codec/msgpack: %T: %w: %w", v, codec.ErrUnsupported, err)
	}
	return e.out, nil
}

// addressable returns what v points to, or a copy of v that can be pointed to: methods of
// pointers are called there also on what was given by itself.
func addressable(v any) reflect.Value {
	value := reflect.ValueOf(v)
	if !value.IsValid() || value.Kind() == reflect.Pointer {
		return value
	}
	p := reflect.New(value.Type())
	p.Elem().Set(value)
	return p.Elem()
}

// Decode implements [codec.Codec]. Its errors wrap [ErrFormat]; bytes behind the value are
// one.
func (values) Decode(data []byte, into any) error {
	err := check(data)
	if err == nil {
		d := decoder{data}
		err = fill.Into(into, d.next(), tag)
	}
	if err != nil {
		return fmt.Errorf("%w into %T: %w", ErrFormat, into, err)
	}
	return nil
}

func init() {
	// It fails only if the program has given the name to a codec of its own, which then is
	// what the program wants.
	_ = codec.Register("msgpack", func() (codec.Codec, error) { return New(), nil })
}
