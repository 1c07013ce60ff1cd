package msgpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/dogpile-go/dogpile/internal/fill"
)

// The first bytes of values.
const (
	codeFixMap   = 0x80
	codeFixArray = 0x90
	codeFixStr   = 0xa0
	codeNil      = 0xc0
	codeUnused   = 0xc1
	codeFalse    = 0xc2
	codeTrue     = 0xc3
	codeBin8     = 0xc4
	codeBin16    = 0xc5
	codeBin32    = 0xc6
	codeExt8     = 0xc7
	codeExt16    = 0xc8
	codeExt32    = 0xc9
	codeFloat32  = 0xca
	codeFloat64  = 0xcb
	codeUint8    = 0xcc
	codeUint16   = 0xcd
	codeUint32   = 0xce
	codeUint64   = 0xcf
	codeInt8     = 0xd0
	codeInt16    = 0xd1
	codeInt32    = 0xd2
	codeInt64    = 0xd3
	codeFixExt1  = 0xd4
	codeFixExt4  = 0xd6
	codeFixExt8  = 0xd7
	codeFixExt16 = 0xd8
	codeStr8     = 0xd9
	codeStr16    = 0xda
	codeStr32    = 0xdb
	codeArray16  = 0xdc
	codeArray32  = 0xdd
	codeMap16    = 0xde
	codeMap32    = 0xdf
	codeNegative = 0xe0

	// extTime is the type of timestamps among extensions, -1.
	extTime = 0xff
)

// kind is what a value is.
type kind uint8

const (
	scalar kind = iota
	text
	binaryData
	array
	dict
	extension
	unknown
)

// shape returns what the value is that begins with c, and of how many bytes behind c its
// length consists. If those are 0 length is it: of items or pairs for arrays and maps, and of
// bytes for all others.
func shape(c byte) (k kind, lengthBytes, length int) {
	switch {
	case c < codeFixMap || c >= codeNegative:
		return scalar, 0, 0
	case c < codeFixArray:
		return dict, 0, int(c & 15)
	case c < codeFixStr:
		return array, 0, int(c & 15)
	case c < codeNil:
		return text, 0, int(c & 31)
	case c >= codeBin8 && c <= codeBin32:
		return binaryData, 1 << (c - codeBin8), 0
	case c >= codeExt8 && c <= codeExt32:
		return extension, 1 << (c - codeExt8), 0
	case c == codeFloat32:
		return scalar, 0, 4
	case c == codeFloat64:
		return scalar, 0, 8
	case c >= codeUint8 && c <= codeUint64:
		return scalar, 0, 1 << (c - codeUint8)
	case c >= codeInt8 && c <= codeInt64:
		return scalar, 0, 1 << (c - codeInt8)
	case c >= codeFixExt1 && c <= codeFixExt16:
		return extension, 0, 1 << (c - codeFixExt1)
	case c >= codeStr8 && c <= codeStr32:
		return text, 1 << (c - codeStr8), 0
	case c == codeArray16 || c == codeArray32:
		return array, 2 << (c - codeArray16), 0
	case c == codeMap16 || c == codeMap32:
		return dict, 2 << (c - codeMap16), 0
	case c == codeUnused:
		return unknown, 0, 0
	}
	return scalar, 0, 0
}

// number returns the number that b is, which has up to 8 bytes.
func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

var errEnd = errors.New("it ends too early")

// check returns an error unless data is one value that the decoder can read. It allocates
// nothing, so that the lengths in data can be believed afterwards.
func check(data []byte) error {
	// open holds how many values the arrays and maps still lack that data is in.
	var open [maxLevels + 1]int
	open[0] = 1
	for levels := 0; ; {
		for open[levels] == 0 {
			if levels == 0 {
				if len(data) > 0 {
					return fmt.Errorf("%d bytes stand behind its end", len(data))
				}
				return nil
			}
			levels--
		}
		open[levels]--
		if len(data) == 0 {
			return errEnd
		}
		k, lengthBytes, length := shape(data[0])
		if k == unknown {
			return fmt.Errorf("there is no type %#02x", data[0])
		}
		if len(data) < 1+lengthBytes {
			return errEnd
		}
		if lengthBytes > 0 {
			n := number(data[1 : 1+lengthBytes])
			if n > uint64(len(data)) {
				return errEnd // every item has a byte
			}
			length = int(n)
		}
		data = data[1+lengthBytes:]
		switch k {
		case array, dict:
			if k == dict {
				length *= 2
			}
			if length > len(data) {
				return errEnd
			}
			if levels++; levels > maxLevels {
				return fmt.Errorf("it is nested deeper than %d levels", maxLevels)
			}
			open[levels] = length
			continue
		case extension:
			if err := checkTime(data, length); err != nil {
				return err
			}
			length++
		}
		if length > len(data) {
			return errEnd
		}
		if k == text && !utf8.Valid(data[:length]) {
			return errors.New("it has text that is not UTF-8")
		}
		data = data[length:]
	}
}

// checkTime returns an error unless data begins with the type and the length bytes of a
// timestamp.
func checkTime(data []byte, length int) error {
	if len(data) < 1+length {
		return errEnd
	}
	if data[0] != extTime {
		return fmt.Errorf("it has an extension of type %d", int8(data[0]))
	}
	if length != 4 && length != 8 && length != 12 {
		return fmt.Errorf("it has a timestamp of %d bytes", length)
	}
	_, nanos := timestamp(data[1 : 1+length])
	if nanos >= 1e9 {
		return errors.New("it has a timestamp with more than a second of nanoseconds")
	}
	return nil
}

func timestamp(b []byte) (seconds int64, nanos uint32) {
	switch n := number(b[max(0, len(b)-8):]); len(b) {
	case 4:
		return int64(n), 0
	case 8:
		return int64(n & (1<<34 - 1)), uint32(n >> 34)
	default:
		return int64(n), binary.BigEndian.Uint32(b)
	}
}

// decoder makes trees for package fill of data that check has found good.
type decoder struct{ data []byte }

func (d *decoder) take(n int) []byte {
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) next() any {
	c := d.take(1)[0]
	k, lengthBytes, length := shape(c)
	if lengthBytes > 0 {
		length = int(number(d.take(lengthBytes)))
	}
	switch k {
	case text:
		return string(d.take(length))
	case binaryData:
		return fill.Bytes(d.take(length))
	case array:
		return &fill.List{Items: d.values(length)}
	case dict:
		return &fill.Dict{Pairs: d.values(2 * length)}
	case extension:
		seconds, nanos := timestamp(d.take(1 + length)[1:])
		return time.Unix(seconds, int64(nanos)).UTC()
	}
	b := d.take(length)
	switch c {
	case codeNil:
		return nil
	case codeFalse, codeTrue:
		return c == codeTrue
	case codeFloat32:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case codeFloat64:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	case codeUint8, codeUint16, codeUint32, codeUint64:
		if n := number(b); n > math.MaxInt64 {
			return n
		}
		return int64(number(b))
	case codeInt8, codeInt16, codeInt32, codeInt64:
		// The shifts bring the sign to the top.
		shift := 64 - 8*len(b)
		return int64(number(b)<<shift) >> shift
	}
	return int64(int8(c))
}

func (d *decoder) values(n int) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = d.next()
	}
	return all
}
