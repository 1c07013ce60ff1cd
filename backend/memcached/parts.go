package memcached

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// mostParts is how many parts a value has at most.
const mostParts = 64

// head says where the parts of a value are. It stands where the value would.
type head struct {
	inner uint32 // the flags of what the parts make up
	size  uint32
	count uint32
	sum   uint32 // CRC-32C of all
	id    string // in the names of the parts; never used again
}

const headSize = 4 * 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h head) bytes() []byte {
	b := make([]byte, 0, headSize+len(h.id))
	for _, n := range []uint32{h.inner, h.size, h.count, h.sum} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, h.id...)
}

// idSize is the length of an id, which is what rand.Text makes.
const idSize = 26

func parseHead(b []byte) (head, bool) {
	if len(b) != headSize+idSize {
		return head{}, false
	}
	h := head{
		inner: binary.BigEndian.Uint32(b),
		size:  binary.BigEndian.Uint32(b[4:]),
		count: binary.BigEndian.Uint32(b[8:]),
		sum:   binary.BigEndian.Uint32(b[12:]),
		id:    string(b[headSize:]),
	}
	for i := range len(h.id) {
		if h.id[i] <= ' ' || h.id[i] >= 0x7f {
			return head{}, false // it would become part of a request
		}
	}
	return h, h.count >= 1 && h.count <= mostParts && h.size <= largest+1<<20
}

func isHead(item *memcache.Item) bool { return item != nil && item.Flags == flagsHead }

// partNames returns the names of the parts.
func partNames(place memcachedio.Place, h head) []memcachedio.Name {
	names := make([]memcachedio.Name, h.count)
	for i := range names {
		names[i] = memcachedio.Name{Server: place.Server, Text: fmt.Sprintf("%s:%s:%d", place.Text(memcachedio.Part), h.id, i)}
	}
	return names
}

// entryOf returns the entry in an item, whose parts it reads if it has some. A part
// that is missing or bad makes a miss.
func (b *Backend) entryOf(ctx context.Context, place memcachedio.Place, item *memcache.Item) (*backend.Entry, error) {
	if !isHead(item) {
		return whole(item), nil
	}
	h, ok := parseHead(item.Value)
	if !ok {
		return nil, nil
	}
	names := partNames(place, h)
	parts := make([][]byte, len(names))
	// Each part is a request of its own: together they would take too long to answer.
	err := memcachedio.Each(ctx, len(names), func(i int) error {
		part, err := names[i].Server.GetOne(ctx, names[i].Text)
		if err == nil && part != nil && part.Flags == flagsPart {
			parts[i] = part.Value
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var size int
	for _, part := range parts {
		size += len(part)
	}
	if size != int(h.size) {
		return nil, nil
	}
	data := make([]byte, 0, size)
	for _, part := range parts {
		data = append(data, part...)
	}
	if crc32.Checksum(data, castagnoli) != h.sum {
		return nil, nil
	}
	return entryFrom(h.inner, data), nil
}

// divide stores the parts of a value that does not fit into one item, and returns the
// form of its head. Parts have names that are never used again, so they may be stored
// whatever happens to the head.
func (b *Backend) divide(ctx context.Context, place memcachedio.Place, f form, ttl time.Duration) (form, error) {
	if len(f.data) <= b.cfg.MaxValueSize {
		return f, nil
	}
	h := head{inner: f.flags, size: uint32(len(f.data)), sum: crc32.Checksum(f.data, castagnoli), id: rand.Text()}
	h.count = uint32((len(f.data) + b.cfg.MaxValueSize - 1) / b.cfg.MaxValueSize)
	names := partNames(place, h)
	// The head is stored a moment later and must not outlive its parts.
	expiration := memcachedio.Expiration(ttl, time.Now())
	if ttl > 0 && ttl < math.MaxInt64-time.Minute {
		expiration = memcachedio.Expiration(ttl+2*time.Second, time.Now())
	}
	err := memcachedio.Each(ctx, len(names), func(i int) error {
		part := f.data[i*b.cfg.MaxValueSize:]
		part = part[:min(len(part), b.cfg.MaxValueSize)]
		return names[i].Server.Put(ctx, &memcache.Item{Key: names[i].Text, Value: part, Flags: flagsPart, Expiration: expiration})
	})
	return form{flags: flagsHead, data: h.bytes()}, err
}
