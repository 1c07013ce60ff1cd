package envelope

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// Where the fields stand; the package comment has the table.
const (
	magic   = "\xd0gp"
	version = 1

	atVersion    = 3
	atFlags      = 4
	atGuards     = 6
	atCodec      = 8
	atChecksum   = 12
	atSchema     = 16
	atCreated    = 24
	atCost       = 32
	atExpiration = 40
	atKey        = 48
	atStamps     = atKey + digestSize
	atLength     = atStamps + 2*len(backend.Stamp{})

	headerSize = atLength + 8
)

const flagNotFound = 1 << 0

// noTime stands for the zero Time, whose nanoseconds do not fit.
const noTime = math.MinInt64

// castagnoli is the polynomial for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const stampsSize = 2 * len(backend.Stamp{})

// Begin appends the header of a value of key to dst and returns it extended. The
// caller appends the payload behind it and then calls [Finish]. It panics if h has more
// tags, or longer ones, than a header can hold: the caller has seen to that.
func Begin(dst []byte, h Header, key backend.Key) []byte {
	var b [headerSize]byte
	copy(b[:], magic)
	b[atVersion] = version
	if h.NotFound {
		binary.LittleEndian.PutUint16(b[atFlags:], flagNotFound)
	}
	created := int64(noTime)
	if !h.Created.IsZero() {
		created = h.Created.UnixNano()
	}
	digest := digestOf(key)
	binary.LittleEndian.PutUint32(b[atCodec:], h.Codec)
	binary.LittleEndian.PutUint64(b[atSchema:], h.Schema)
	binary.LittleEndian.PutUint64(b[atCreated:], uint64(created))
	binary.LittleEndian.PutUint64(b[atCost:], costAndNonce(h))
	binary.LittleEndian.PutUint64(b[atExpiration:], uint64(h.Expiration))
	copy(b[atKey:], digest[:])
	putStamps(b[atStamps:], h.Stamps)
	if len(h.Tags) > MostTags {
		panic("envelope: too many tags")
	}
	binary.LittleEndian.PutUint16(b[atGuards:], uint16(len(h.Tags)))
	dst = append(dst, b[:]...)
	for _, t := range h.Tags {
		if t.Tag == "" || len(t.Tag) > LongestTag {
			panic("envelope: a tag is empty or too long")
		}
		var stamps [stampsSize]byte
		putStamps(stamps[:], t.Stamps)
		dst = append(dst, byte(len(t.Tag)))
		dst = append(dst, t.Tag...)
		dst = append(dst, stamps[:]...)
	}
	return dst
}

// nonced is set in what stands for cost and nonce together.
const nonced = 1 << 63

func costAndNonce(h Header) uint64 {
	cost := max(0, h.Cost)
	if h.Nonce == 0 {
		return uint64(cost)
	}
	return nonced | uint64(h.Nonce&MostNonce)<<32 | uint64(min(cost, MostCost)/time.Microsecond)
}

func putStamps(b []byte, s backend.Stamps) {
	copy(b, s.Hard[:])
	copy(b[len(s.Hard):], s.Soft[:])
}

func stampsAt(b []byte) (s backend.Stamps) {
	copy(s.Hard[:], b)
	copy(s.Soft[:], b[len(s.Hard):])
	return s
}

// cutTags returns n tags, and the payload behind them. ok is false if they are not there.
func cutTags(n int, b []byte) (tags []backend.Tagged, payload []byte, ok bool) {
	if n == 0 {
		return nil, b, true
	}
	tags = make([]backend.Tagged, n)
	for i := range tags {
		if len(b) == 0 || b[0] == 0 || len(b) < 1+int(b[0])+stampsSize {
			return nil, nil, false
		}
		tag := b[1 : 1+b[0]]
		b = b[1+len(tag):]
		tags[i] = backend.Tagged{Tag: string(tag), Stamps: stampsAt(b)}
		b = b[stampsSize:]
	}
	return tags, b, true
}

// Finish completes the value that begins at start, which was len(dst) when
// [Begin] was called, with the length and the checksum of all that has been
// appended since. It changes buf in place and returns it; nothing may be appended
// to the value afterwards.
func Finish(buf []byte, start int) []byte {
	value := buf[start:]
	binary.LittleEndian.PutUint64(value[atLength:], uint64(len(value)-headerSize))
	binary.LittleEndian.PutUint32(value[atChecksum:], checksum(value))
	return buf
}

// Parse returns the header and the payload of what [Finish] has returned for key.
// The payload shares its memory with data. For anything else it returns one of
// [ErrForeign], [ErrVersion], [ErrCorrupt] and [ErrOtherKey], as they are. It
// allocates only tags.
func Parse(data []byte, key backend.Key) (Header, []byte, error) {
	if n := min(len(data), len(magic)); string(data[:n]) != magic[:n] {
		return Header{}, nil, ErrForeign
	}
	// The version comes before the length: only it says how to read the rest.
	if len(data) > atVersion && data[atVersion] != version {
		return Header{}, nil, ErrVersion
	}
	if len(data) < headerSize ||
		binary.LittleEndian.Uint64(data[atLength:]) != uint64(len(data)-headerSize) ||
		binary.LittleEndian.Uint32(data[atChecksum:]) != checksum(data) {
		return Header{}, nil, ErrCorrupt
	}
	// Behind the checksum, so that a flipped bit is not taken for a later release.
	flags := binary.LittleEndian.Uint16(data[atFlags:])
	guards := binary.LittleEndian.Uint16(data[atGuards:])
	cost := binary.LittleEndian.Uint64(data[atCost:])
	if flags&^flagNotFound != 0 || guards > MostTags || cost>>32 == nonced>>32 {
		return Header{}, nil, ErrVersion
	}
	digest := digestOf(key)
	if !bytes.Equal(data[atKey:atStamps], digest[:]) {
		return Header{}, nil, ErrOtherKey
	}
	h := Header{
		Codec:      binary.LittleEndian.Uint32(data[atCodec:]),
		Schema:     binary.LittleEndian.Uint64(data[atSchema:]),
		Expiration: time.Duration(binary.LittleEndian.Uint64(data[atExpiration:])),
		NotFound:   flags&flagNotFound != 0,
	}
	if created := int64(binary.LittleEndian.Uint64(data[atCreated:])); created != noTime {
		h.Created = time.Unix(0, created).UTC()
	}
	if cost&nonced != 0 {
		h.Cost, h.Nonce = time.Duration(uint32(cost))*time.Microsecond, uint32(cost>>32)&MostNonce
	} else {
		h.Cost = time.Duration(cost)
	}
	h.Stamps = stampsAt(data[atStamps:])
	tags, payload, ok := cutTags(int(guards), data[headerSize:])
	if !ok {
		return Header{}, nil, ErrCorrupt
	}
	h.Tags = tags
	return h, payload, nil
}

// checksum covers all of value except the place where the checksum stands.
func checksum(value []byte) uint32 {
	sum := crc32.Checksum(value[:atChecksum], castagnoli)
	return crc32.Update(sum, castagnoli, value[atSchema:])
}

// Expired returns a copy of data, which [Parse] has accepted, without its soft stamp: as
// it is when its value is stale whatever its age.
func Expired(data []byte) []byte {
	b := bytes.Clone(data)
	clear(b[atStamps+len(backend.Stamp{}) : atLength])
	return Finish(b, 0)
}
