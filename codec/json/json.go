// Package json is the codec of encoding/json: for values that other programs, or
// people, have to read in the store. It is larger and slower than cbor and keeps
// less.
//
// What it keeps is what encoding/json keeps. Fields that are unexported or tagged
// json:"-" come back as zero, pointers to nil as nil, and a time.Time whose offset
// from UTC has seconds as another instant. Where JSON has no way to say something,
// or would say something else, Append refuses: NaN and infinities, strings that
// are not UTF-8 (which encoding/json would patch with U+FFFD), cyclic values, and
// those nested deeper than the 10,000 levels that can be read.
//
// A number in an interface value comes back as [encoding/json.Number] and not as
// float64, which would change integers above 2^53 without a word.
package json

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/dogpile-go/dogpile/codec"
)

// New returns the codec. It has no state: all of them are one.
func New() codec.Codec { return values{} }

type values struct{}

// Name returns "json".
func (values) Name() string { return "json" }

// Append implements [codec.Codec]. The characters <, > and & are left as they are.
// Every error it returns wraps [codec.ErrUnsupported].
func (values) Append(dst []byte, v any) ([]byte, error) {
	if err := tooDeep(v); err != nil {
		return dst, fmt.Errorf("codec/json: %T: %w: %w", v, codec.ErrUnsupported, err)
	}
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(addressable(v)); err != nil {
		return dst, fmt.Errorf("codec/json: %T: %w: %w", v, codec.ErrUnsupported, err)
	}
	out := buf.Bytes()
	out = out[:len(out)-1] // the newline that Encode ends with
	if reason := unreadable(out[len(dst):]); reason != "" {
		return dst, fmt.Errorf("codec/json: %T: %w: %s", v, codec.ErrUnsupported, reason)
	}
	return out, nil
}

// addressable returns v or, if it is not a pointer, one to a copy of it:
// encoding/json calls methods of pointers only on what it can point to, and a
// value given by itself must be encoded like one given by pointer.
func addressable(v any) any {
	value := reflect.ValueOf(v)
	if !value.IsValid() || value.Kind() == reflect.Pointer {
		return v
	}
	p := reflect.New(value.Type())
	p.Elem().Set(value)
	return p.Interface()
}

// Decode implements [codec.Codec]. Anything behind the value, even a space, is an
// error.
func (values) Decode(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("codec/json: decode into %T: %w", into, err)
	}
	if end := dec.InputOffset(); end != int64(len(data)) {
		return fmt.Errorf("codec/json: decode into %T: %d bytes behind the value", into, int64(len(data))-end)
	}
	return nil
}
