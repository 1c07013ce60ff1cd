package envelope

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	"github.com/dogpile-go/dogpile/backend"
)

// digestSize is how much of the SHA-256 is stored. At 128 bits nobody finds two
// keys of one digest, which a 64-bit hash would allow to whoever picks the keys.
const digestSize = 16

// shortKey is the length up to which a key is hashed on the stack.
const shortKey = 256

// digestOf returns a digest of key. The region's length goes first, so that
// {"a", "bc"} and {"ab", "c"} are two.
func digestOf(key backend.Key) (digest [digestSize]byte) {
	if len(key.Region)+len(key.Name) > shortKey {
		return digestOfLong(key)
	}
	var stack [8 + shortKey]byte
	b := binary.LittleEndian.AppendUint64(stack[:0], uint64(len(key.Region)))
	b = append(b, key.Region...)
	b = append(b, key.Name...)
	sum := sha256.Sum256(b)
	copy(digest[:], sum[:])
	return digest
}

// hasher hashes strings of any length without a copy of them on the heap.
type hasher struct {
	hash  hash.Hash
	chunk [1 << 10]byte
}

var hashers = sync.Pool{New: func() any { return &hasher{hash: sha256.New()} }}

func digestOfLong(key backend.Key) (digest [digestSize]byte) {
	h := hashers.Get().(*hasher)
	h.hash.Reset()
	h.hash.Write(binary.LittleEndian.AppendUint64(h.chunk[:0], uint64(len(key.Region))))
	h.write(key.Region)
	h.write(key.Name)
	copy(digest[:], h.hash.Sum(h.chunk[:0]))
	hashers.Put(h)
	return digest
}

func (h *hasher) write(s string) {
	for len(s) > 0 {
		n := copy(h.chunk[:], s)
		h.hash.Write(h.chunk[:n])
		s = s[n:]
	}
}
