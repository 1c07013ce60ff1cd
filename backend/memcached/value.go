package memcached

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
)

// The flags of an item say what it is. An item with others is not ours and reads as
// a miss.
const (
	flagsPlain    = 0xd0610010 // a value as it is
	flagsDeflated = 0xd0610011 // the length of a value in four bytes, and the value compressed
	flagsHead     = 0xd0610012 // where the parts of a value are; see head
	flagsStub     = 0xd0610020 // no value
	flagsStamps   = 0xd0610030
	flagsPart     = 0xd0610040
)

const (
	// largest is the most bytes of a value, however it is stored: what is read must
	// not be able to fill the memory.
	largest = 64 << 20

	// worthwhile is the size from which on values are compressed.
	worthwhile = 1 << 10
)

// stub returns an item that stands for no value, and is like no other.
func stub(name string, expiration int32) *memcache.Item {
	return &memcache.Item{Key: name, Value: []byte(rand.Text()), Flags: flagsStub, Expiration: expiration}
}

// form is a value as it goes over the wire.
type form struct {
	flags uint32
	data  []byte
}

// formOf returns the form of a value in one item or, with chunked, in as many as it
// takes. Its error wraps ErrTooLarge.
func (b *Backend) formOf(data []byte) (form, error) {
	if len(data) > largest {
		return form{}, fmt.Errorf("%w: it has %d bytes, and %d are the most", ErrTooLarge, len(data), largest)
	}
	f := form{flags: flagsPlain, data: data}
	if b.cfg.Compress && len(data) >= worthwhile {
		if smaller := deflate(data); len(smaller) < len(data) {
			f = form{flags: flagsDeflated, data: smaller}
		}
	}
	switch size := len(f.data); {
	case size <= b.cfg.MaxValueSize:
		return f, nil
	case !b.cfg.Chunked:
		return form{}, fmt.Errorf("%w: it has %d bytes, and MaxValueSize is %d; set Chunked or Compress, or raise it together with -I of the server", ErrTooLarge, size, b.cfg.MaxValueSize)
	case size > mostParts*b.cfg.MaxValueSize:
		return form{}, fmt.Errorf("%w: it has %d bytes, and %d parts of MaxValueSize, which is %d, are the most", ErrTooLarge, size, mostParts, b.cfg.MaxValueSize)
	}
	return f, nil
}

// whole returns the entry in an item; nil if that is none, or bad.
func whole(item *memcache.Item) *backend.Entry {
	if item == nil {
		return nil
	}
	return entryFrom(item.Flags, item.Value)
}

func entryFrom(flags uint32, data []byte) *backend.Entry {
	switch flags {
	case flagsPlain:
		return &backend.Entry{Data: data}
	case flagsDeflated:
		if data := inflate(data); data != nil {
			return &backend.Entry{Data: data}
		}
	}
	return nil
}

// deflaters are writers for use again: one has several hundred kilobytes.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // it fails only for a level that does not exist
	return w
}}

func deflate(data []byte) []byte {
	out := bytes.NewBuffer(make([]byte, 0, len(data)/2))
	_ = binary.Write(out, binary.BigEndian, uint32(len(data)))
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(out)
	_, err := w.Write(data)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return data // a buffer takes everything
	}
	return out.Bytes()
}

// inflate returns nil for what deflate has not made.
func inflate(data []byte) []byte {
	if len(data) < 4 {
		return nil
	}
	size := binary.BigEndian.Uint32(data)
	// DEFLATE makes data smaller by a factor of 1032 at most, so this bounds what is
	// set aside for a length that lies.
	if size > largest || int64(size) > 1032*int64(len(data)) {
		return nil
	}
	out := make([]byte, size)
	r := flate.NewReader(bytes.NewReader(data[4:]))
	if _, err := io.ReadFull(r, out); err != nil {
		return nil
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil
	}
	return out
}
