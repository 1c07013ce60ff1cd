package argkey

import (
	"reflect"
	"strconv"
)

// Encoder appends the text of an argument whose type is known in advance. It
// appends what [Append] does. On an error it returns dst as it was given.
//
// It may be called by many goroutines at once, but only while nothing changes
// what p refers to.
type Encoder[P any] func(dst []byte, p P) ([]byte, error)

// Append appends the text of one argument. On an error it returns dst as it was
// given. The error wraps [ErrUnsupported] or is [ErrTooLarge].
func Append(dst []byte, arg any) ([]byte, error) {
	return appendArgument(dst, reflect.ValueOf(&arg).Elem(), "")
}

// For returns the fastest encoder for P: one without allocations for bool,
// string and the integer types, and one that uses reflection for all others,
// among them the types defined on these.
//
// It returns an error that wraps [ErrUnsupported] if no value of P can be part
// of a key.
func For[P any]() (Encoder[P], error) {
	for _, s := range scalars {
		if encode, ok := s.(func([]byte, P) ([]byte, error)); ok {
			return encode, nil
		}
	}
	t := reflect.TypeFor[P]()
	if r := refuse(t); r != nil {
		return nil, withinArgument(t, r)
	}
	text := string(appendType(nil, t))
	return func(dst []byte, p P) ([]byte, error) {
		return appendArgument(dst, reflect.ValueOf(&p).Elem(), text)
	}, nil
}

// scalars are the encoders that need no reflection. They are functions of their
// own, not instances of a generic one, so that calling what For returns is one
// indirect call.
var scalars = [...]any{
	appendInt, appendInt8, appendInt16, appendInt32, appendInt64,
	appendUint, appendUint8, appendUint16, appendUint32, appendUint64, appendUintptr,
	appendBool, appendString,
}

func appendInt(dst []byte, n int) ([]byte, error) {
	return strconv.AppendInt(dst, int64(n), 10), nil
}

func appendInt8(dst []byte, n int8) ([]byte, error)   { return signed(dst, "int8(", int64(n)) }
func appendInt16(dst []byte, n int16) ([]byte, error) { return signed(dst, "int16(", int64(n)) }
func appendInt32(dst []byte, n int32) ([]byte, error) { return signed(dst, "int32(", int64(n)) }
func appendInt64(dst []byte, n int64) ([]byte, error) { return signed(dst, "int64(", n) }

func appendUint(dst []byte, n uint) ([]byte, error)     { return unsigned(dst, "uint(", uint64(n)) }
func appendUint8(dst []byte, n uint8) ([]byte, error)   { return unsigned(dst, "uint8(", uint64(n)) }
func appendUint16(dst []byte, n uint16) ([]byte, error) { return unsigned(dst, "uint16(", uint64(n)) }
func appendUint32(dst []byte, n uint32) ([]byte, error) { return unsigned(dst, "uint32(", uint64(n)) }
func appendUint64(dst []byte, n uint64) ([]byte, error) { return unsigned(dst, "uint64(", n) }
func appendUintptr(dst []byte, n uintptr) ([]byte, error) {
	return unsigned(dst, "uintptr(", uint64(n))
}

func appendBool(dst []byte, b bool) ([]byte, error) {
	return strconv.AppendBool(dst, b), nil
}

func appendString(dst []byte, s string) ([]byte, error) {
	if len(s) > maxLen {
		return dst, ErrTooLarge
	}
	quoted := appendQuoted(dst, s)
	if len(quoted)-len(dst) > maxLen {
		return dst, ErrTooLarge
	}
	return quoted, nil
}

func signed(dst []byte, open string, n int64) ([]byte, error) {
	return append(strconv.AppendInt(append(dst, open...), n, 10), ')'), nil
}

func unsigned(dst []byte, open string, n uint64) ([]byte, error) {
	return append(strconv.AppendUint(append(dst, open...), n, 10), ')'), nil
}
