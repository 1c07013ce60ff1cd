package cbor

import (
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// maxLevels bounds how deep arrays and maps nest, when encoding as when decoding,
// so that nothing is stored that cannot be read. The library's own 32 is less than
// a linked list has; 1,024 levels need some 100 KB of stack.
const maxLevels = 1024

// The modes are immutable and safe for concurrent use. None of the library's
// defaults will do: they drop the fraction of seconds, refuse to read slices of
// more than 131,072 elements and strings that are not UTF-8, though they write
// them, and turn integers in interfaces into uint64.
var (
	encMode = must(cbor.EncOptions{
		Time:          cbor.TimeRFC3339Nano,
		TimeTag:       cbor.EncTagRequired,
		TextMarshaler: cbor.TextMarshalerTextString,
		BigIntConvert: cbor.BigIntConvertNone, // so that a *big.Int in an interface stays one
	}.UserBufferEncMode())

	decMode = must(decOptions.DecMode())

	// strictMode also notices two keys that differ in Go and not in CBOR, such as
	// int(1) and uint(1) in a map[any]string.
	strictMode = must(func() (cbor.DecMode, error) {
		strict := decOptions
		strict.DupMapKey = cbor.DupMapKeyEnforcedAPF
		return strict.DecMode()
	}())
)

var decOptions = cbor.DecOptions{
	MaxNestedLevels:   maxLevels,
	MaxArrayElements:  math.MaxInt32, // the bytes have to be there anyway
	MaxMapPairs:       math.MaxInt32,
	IndefLength:       cbor.IndefLengthForbidden, // never written, and nested they take quadratic time
	UTF8:              cbor.UTF8DecodeInvalid,
	TextUnmarshaler:   cbor.TextUnmarshalerTextString,
	IntDec:            cbor.IntDecConvertSignedOrBigInt,
	BigIntDec:         cbor.BigIntDecodePointer,
	TimeTagToAny:      cbor.TimeTagToTime,
	DefaultMapType:    reflect.TypeFor[map[string]any](),
	FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
}

// must is for options that are constants: a mistake in them fails every test.
func must[M any](mode M, err error) M {
	if err != nil {
		panic(err)
	}
	return mode
}
