// Package raw is the codec for values that are bytes already: strings, byte
// slices, and named types of those. They are stored as they are, behind one byte
// that tells a nil slice (0) from one that is there (1).
package raw

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/dogpile-go/dogpile/codec"
)

// The first byte of every stored value.
const (
	absent  = 0 // a nil slice; nothing follows
	present = 1 // the bytes follow
)

var errNotRaw = errors.New("codec/raw: these bytes were not written by this codec")

// New returns the codec. It has no state: all of them are one.
func New() codec.Codec { return values{} }

type values struct{}

// Name returns "raw".
func (values) Name() string { return "raw" }

// Append implements [codec.Codec]. The value is a string or a byte slice, of any
// name, or a pointer to one; anything else is an error that wraps
// [codec.ErrUnsupported].
func (values) Append(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return appendBytes(dst, v), nil
	case string:
		return appendString(dst, v), nil
	}
	value := reflect.ValueOf(v)
	if value.Kind() == reflect.Pointer {
		value = value.Elem() // of a nil pointer this is no value
	}
	switch {
	case value.Kind() == reflect.String:
		return appendString(dst, value.String()), nil
	case isBytes(value):
		return appendBytes(dst, value.Bytes()), nil
	}
	return dst, unsupported(v)
}

func appendString(dst []byte, s string) []byte { return append(append(dst, present), s...) }

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, absent)
	}
	return append(append(dst, present), b...)
}

// Decode implements [codec.Codec]. What into points to gets a copy of the bytes.
func (values) Decode(data []byte, into any) error {
	pointer := reflect.ValueOf(into)
	if pointer.Kind() != reflect.Pointer {
		return unsupported(into)
	}
	value := pointer.Elem() // of a nil pointer this is no value
	if value.Kind() != reflect.String && !isBytes(value) {
		return unsupported(into)
	}
	isNil := len(data) == 1 && data[0] == absent && isBytes(value)
	if !isNil && (len(data) == 0 || data[0] != present) {
		return errNotRaw
	}
	switch {
	case isNil:
		value.SetZero()
	case isBytes(value):
		value.SetBytes(append([]byte{}, data[1:]...))
	default:
		value.SetString(string(data[1:]))
	}
	return nil
}

func isBytes(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
}

func unsupported(v any) error {
	return fmt.Errorf("codec/raw: %T: %w: only strings and byte slices are raw; use codec/cbor", v, codec.ErrUnsupported)
}
