package file

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// A file of a value is a header and then the entry's bytes. All numbers are
// little-endian.
//
//	at  length
//	 0   4  magic D0 'f' 'v' and the version of the format, 1
//	 4   4  CRC-32C of everything behind it
//	 8   8  when the entry expires, in Unix nanoseconds; 0 for never
//	16   8  number of bytes behind the header
//	24      the entry
//
// That of stamps has the magic D0 'f' 's' 1, the checksum, and 24 bytes: hard, soft. When
// it was last used, or until when it is needed, is its modification time (keep.go).
const (
	valueMagic = "\xd0fv\x01"
	stampMagic = "\xd0fs\x01"
	headerSize = 24
	stampsSize = 8 + 2*len(backend.Stamp{})
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is that of a value.
type header struct {
	crc     uint32
	expires int64
	size    int64
}

// appendHeader appends the header of data to b.
func appendHeader(b []byte, expires int64, data []byte) []byte {
	begin := len(b)
	b = append(b, valueMagic...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(expires))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	crc := crc32.Checksum(b[begin+8:], castagnoli)
	crc = crc32.Update(crc, castagnoli, data)
	binary.LittleEndian.PutUint32(b[begin+4:], crc)
	return b
}

// parseHeader reads the header at the beginning of b. It reports false if there is
// none.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || string(b[:4]) != valueMagic {
		return header{}, false
	}
	h.crc = binary.LittleEndian.Uint32(b[4:])
	h.expires = int64(binary.LittleEndian.Uint64(b[8:]))
	h.size = int64(binary.LittleEndian.Uint64(b[16:]))
	return h, h.size >= 0 && h.size < math.MaxInt64-headerSize
}

// dead reports whether the value has expired.
func (h header) dead() bool { return h.expires != 0 && time.Now().UnixNano() >= h.expires }

// intact reports whether a whole file, which begins with h, is as it was written.
func (h header) intact(file []byte) bool {
	return int64(len(file))-headerSize == h.size && crc32.Checksum(file[8:], castagnoli) == h.crc
}

// expiry returns when something with this TTL expires, and 0 if it is after the end of
// time that can be told.
func expiry(ttl time.Duration) int64 {
	now := time.Now().UnixNano()
	if ttl == 0 || int64(ttl) > math.MaxInt64-now {
		return 0
	}
	return now + int64(ttl)
}

func formatStamps(s backend.Stamps) []byte {
	b := make([]byte, 8, stampsSize)
	copy(b, stampMagic)
	b = append(b, s.Hard[:]...)
	b = append(b, s.Soft[:]...)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

// parseStamps returns zero stamps if b is not what formatStamps makes.
func parseStamps(b []byte) (s backend.Stamps) {
	if len(b) != stampsSize || string(b[:4]) != stampMagic || binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:], castagnoli) {
		return backend.Stamps{}
	}
	copy(s.Hard[:], b[8:])
	copy(s.Soft[:], b[8+len(s.Hard):])
	if s.Hard.IsZero() || s.Soft.IsZero() {
		return backend.Stamps{}
	}
	return s
}
