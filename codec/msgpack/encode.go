package msgpack

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/dogpile-go/dogpile/internal/fill"
)

// maxPointers bounds the pointers and interfaces that are followed in a row.
const maxPointers = 64

// encoder appends to out.
type encoder struct{ out []byte }

var (
	instant  = reflect.TypeFor[time.Time]()
	bigInt   = reflect.TypeFor[big.Int]()
	toText   = reflect.TypeFor[encoding.TextMarshaler]()
	fromText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// encode appends v, which is in that many arrays and maps, and behind that many pointers.
func (e *encoder) encode(v reflect.Value, levels, pointers int) error {
	if !v.IsValid() {
		e.out = append(e.out, codeNil)
		return nil
	}
	t := v.Type()
	switch t {
	case instant:
		return e.time(v.Interface().(time.Time))
	case bigInt:
		n := v.Interface().(big.Int)
		return e.big(&n)
	}
	if done, err := e.marshaled(v, pointers); done || err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.Bool:
		code := byte(codeFalse)
		if v.Bool() {
			code = codeTrue
		}
		e.out = append(e.out, code)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.int(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.uint(v.Uint())
	case reflect.Float32:
		e.out = binary.BigEndian.AppendUint32(append(e.out, codeFloat32), math.Float32bits(float32(v.Float())))
	case reflect.Float64:
		e.out = binary.BigEndian.AppendUint64(append(e.out, codeFloat64), math.Float64bits(v.Float()))
	case reflect.String:
		return e.string(v.String())
	case reflect.Pointer, reflect.Interface:
		return e.elem(v, levels, pointers)
	case reflect.Slice, reflect.Array:
		return e.list(v, levels)
	case reflect.Map:
		return e.dict(v, levels)
	case reflect.Struct:
		return e.record(v, levels)
	default:
		return fmt.Errorf("MessagePack has nothing for a %v", t)
	}
	return nil
}

// elem appends what a pointer points to or an interface holds.
func (e *encoder) elem(v reflect.Value, levels, pointers int) error {
	t := v.Type()
	if v.IsNil() {
		e.out = append(e.out, codeNil)
		return nil
	}
	if pointers++; pointers > maxPointers {
		return fmt.Errorf("%v: more than %d pointers in a row, or a pointer to itself", t, maxPointers)
	}
	if t.Kind() == reflect.Interface && t.NumMethod() > 0 {
		return fmt.Errorf("a %v could not be decoded again: nobody would know what to put into it", t)
	}
	elem := v.Elem()
	if t.Kind() == reflect.Interface {
		elem = addressable(elem.Interface())
		if elem.Kind() == reflect.Interface {
			elem = elem.Elem()
		}
	}
	start := len(e.out)
	if err := e.encode(elem, levels, pointers); err != nil {
		return err
	}
	// The pointer to the value itself, which the caller has made, is no part of it.
	if t.Kind() == reflect.Pointer && pointers+levels > 1 && len(e.out) == start+1 && e.out[start] == codeNil {
		return fmt.Errorf("a %v to nil would come back as nil: use a simpler type", t)
	}
	return nil
}

// marshaled appends the text of values whose types have it, and reports whether v is one.
func (e *encoder) marshaled(v reflect.Value, pointers int) (bool, error) {
	t := v.Type()
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return false, nil
	}
	p := reflect.PointerTo(t)
	if !p.Implements(toText) || !p.Implements(fromText) {
		return false, nil
	}
	if !v.CanAddr() {
		c := reflect.New(t)
		c.Elem().Set(v)
		v = c.Elem()
	}
	text, err := v.Addr().Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return true, err
	}
	return true, e.string(string(text))
}

func (e *encoder) list(v reflect.Value, levels int) error {
	if v.Kind() == reflect.Slice && v.IsNil() {
		e.out = append(e.out, codeNil)
		return nil
	}
	n := v.Len()
	if uint64(n) > math.MaxUint32 {
		return errors.New("it is longer than MessagePack can say")
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		e.head(n, 0, 0, codeBin8, codeBin16, codeBin32)
		if v.Kind() == reflect.Array && !v.CanAddr() {
			c := reflect.New(v.Type()).Elem()
			c.Set(v)
			v = c
		}
		e.out = append(e.out, v.Bytes()...)
		return nil
	}
	if levels++; levels > maxLevels {
		return errLevels
	}
	e.head(n, codeFixArray, 16, 0, codeArray16, codeArray32)
	for i := range n {
		if err := e.encode(v.Index(i), levels, 0); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) dict(v reflect.Value, levels int) error {
	if v.IsNil() {
		e.out = append(e.out, codeNil)
		return nil
	}
	if levels++; levels > maxLevels {
		return errLevels
	}
	e.head(v.Len(), codeFixMap, 16, 0, codeMap16, codeMap32)
	for entries := v.MapRange(); entries.Next(); {
		key := entries.Key()
		if key.Kind() == reflect.Interface {
			key = key.Elem()
		}
		if !simple(key) {
			return fmt.Errorf("a key of %v is not simple: use text, a number or a bool", v.Type())
		}
		if err := e.encode(key, levels, 0); err != nil {
			return err
		}
		if err := e.encode(entries.Value(), levels, 0); err != nil {
			return err
		}
	}
	return nil
}

// simple reports whether key can be the key of a map in most languages.
func simple(key reflect.Value) bool {
	if !key.IsValid() {
		return true
	}
	if p := reflect.PointerTo(key.Type()); p.Implements(toText) && p.Implements(fromText) {
		return key.Type() != instant && key.Type() != bigInt
	}
	switch key.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	}
	return false
}

func (e *encoder) record(v reflect.Value, levels int) error {
	if levels++; levels > maxLevels {
		return errLevels
	}
	r := fill.RecordOf(v.Type(), tag)
	if len(r.Fields) == 0 && r.Hidden {
		return fmt.Errorf("%v has only unexported fields, which cannot be stored: export them, or give it MarshalText and UnmarshalText", v.Type())
	}
	// Fields of an embedded struct that is a nil pointer are left out.
	present := 0
	for _, f := range r.Fields {
		if _, ok := fieldOf(v, f.Index); ok {
			present++
		}
	}
	e.head(present, codeFixMap, 16, 0, codeMap16, codeMap32)
	for _, f := range r.Fields {
		field, ok := fieldOf(v, f.Index)
		if !ok {
			continue
		}
		if err := e.string(f.Name); err != nil {
			return err
		}
		if err := e.encode(field, levels, 0); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// fieldOf returns the field at index, unless it is in a struct that is not there.
func fieldOf(v reflect.Value, index []int) (reflect.Value, bool) {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, true
}

var errLevels = fmt.Errorf("nested deeper than %d levels, or cyclic", maxLevels)

// head appends the shortest code that says n. Lengths below limit are in fix itself, and
// code8 is 0 where there is none.
func (e *encoder) head(n int, fix byte, limit int, code8, code16, code32 byte) {
	switch {
	case n < limit:
		e.out = append(e.out, fix|byte(n))
	case n <= math.MaxUint8 && code8 != 0:
		e.out = append(e.out, code8, byte(n))
	case n <= math.MaxUint16:
		e.out = binary.BigEndian.AppendUint16(append(e.out, code16), uint16(n))
	default:
		e.out = binary.BigEndian.AppendUint32(append(e.out, code32), uint32(n))
	}
}

func (e *encoder) string(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("it holds a string that is not UTF-8: use []byte")
	}
	if uint64(len(text)) > math.MaxUint32 {
		return errors.New("it is longer than MessagePack can say")
	}
	e.head(len(text), codeFixStr, 32, codeStr8, codeStr16, codeStr32)
	e.out = append(e.out, text...)
	return nil
}

func (e *encoder) int(n int64) {
	switch {
	case n >= 0:
		e.uint(uint64(n))
	case n >= -32:
		e.out = append(e.out, byte(n))
	case n >= math.MinInt8:
		e.out = append(e.out, codeInt8, byte(n))
	case n >= math.MinInt16:
		e.out = binary.BigEndian.AppendUint16(append(e.out, codeInt16), uint16(n))
	case n >= math.MinInt32:
		e.out = binary.BigEndian.AppendUint32(append(e.out, codeInt32), uint32(n))
	default:
		e.out = binary.BigEndian.AppendUint64(append(e.out, codeInt64), uint64(n))
	}
}

func (e *encoder) uint(n uint64) {
	switch {
	case n < 0x80:
		e.out = append(e.out, byte(n))
	case n <= math.MaxUint8:
		e.out = append(e.out, codeUint8, byte(n))
	case n <= math.MaxUint16:
		e.out = binary.BigEndian.AppendUint16(append(e.out, codeUint16), uint16(n))
	case n <= math.MaxUint32:
		e.out = binary.BigEndian.AppendUint32(append(e.out, codeUint32), uint32(n))
	default:
		e.out = binary.BigEndian.AppendUint64(append(e.out, codeUint64), n)
	}
}

func (e *encoder) big(n *big.Int) error {
	switch {
	case n.IsInt64():
		e.int(n.Int64())
	case n.IsUint64():
		e.uint(n.Uint64())
	default:
		return errors.New("MessagePack has no integers of more than 64 bits: use text")
	}
	return nil
}

// time appends a timestamp, in the shortest of its three forms.
func (e *encoder) time(t time.Time) error {
	if _, offset := t.Zone(); offset != 0 {
		return fmt.Errorf("the time %v has an offset, which would be lost: call UTC first", t)
	}
	seconds, nanos := t.Unix(), uint32(t.Nanosecond())
	switch {
	case seconds >= 0 && seconds <= math.MaxUint32 && nanos == 0:
		e.out = append(e.out, codeFixExt4, extTime)
		e.out = binary.BigEndian.AppendUint32(e.out, uint32(seconds))
	case seconds >= 0 && seconds < 1<<34:
		e.out = append(e.out, codeFixExt8, extTime)
		e.out = binary.BigEndian.AppendUint64(e.out, uint64(nanos)<<34|uint64(seconds))
	default:
		e.out = append(e.out, codeExt8, 12, extTime)
		e.out = binary.BigEndian.AppendUint32(e.out, nanos)
		e.out = binary.BigEndian.AppendUint64(e.out, uint64(seconds))
	}
	return nil
}
