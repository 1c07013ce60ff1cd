package dogpilepy

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/json"
)

// JSON returns the codec of regions that have no other: that of codec/json, for the bytes
// of Python's json.dumps, which json.loads reads. What Go would read as something else than
// Python has stored is refused, and so is a miss: NaN and infinities, which Python writes
// though JSON has none, strings with half of a surrogate pair, numbers that do not fit,
// floats such as 2.0 where Go wants an integer, lists of another length than an array, and
// None where Go has no nil, also inside of a value; types with UnmarshalJSON decide for
// themselves. In an interface value, numbers come back as [encoding/json.Number].
//
// Python reads what Go has stored as encoding/json writes it: []byte as text in base64, nil
// slices and maps as None, times as text.
func JSON() codec.Codec { return pythonJSON{json.New()} }

type pythonJSON struct{ codec.Codec }

// Decode implements [codec.Codec].
func (c pythonJSON) Decode(data []byte, into any) error {
	// encoding/json would put U+FFFD in the place of what it cannot read.
	if !utf8.Valid(data) {
		return fmt.Errorf("dogpilepy: decode JSON into %T: it is not UTF-8", into)
	}
	if halfSurrogate(data) {
		return fmt.Errorf("dogpilepy: decode JSON into %T: %w", into, errSurrogate)
	}
	if err := c.Codec.Decode(data, into); err != nil {
		return err
	}
	if err := sameShape(data, reflect.TypeOf(into).Elem()); err != nil {
		return fmt.Errorf("dogpilepy: decode JSON into %T: %w", into, err)
	}
	return nil
}

var errSurrogate = errors.New("a string has half of a surrogate pair, which UTF-8 cannot express")

// halfSurrogate reports whether an escape in data, which is JSON, stands for half of a
// surrogate pair without its other half.
func halfSurrogate(data []byte) bool {
	for {
		at := bytes.IndexByte(data, '\\')
		if at < 0 {
			return false
		}
		data = data[at:]
		switch unit := escaped(data); {
		case unit < 0:
			data = data[min(2, len(data)):] // another escape: a second backslash goes with it
		case unit < 0xd800 || unit > 0xdfff:
			data = data[6:]
		default:
			if next := escaped(data[6:]); unit > 0xdbff || next < 0xdc00 || next > 0xdfff {
				return true
			}
			data = data[12:]
		}
	}
}

// escaped returns what the escape at the beginning of data stands for if that is a \u and
// four digits, and -1 if not.
func escaped(data []byte) int {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(unit)
}
