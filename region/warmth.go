package region

import (
	"hash/maphash"
	"sync/atomic"
)

// warmth remembers, of keys by their hash, whether the last look found something. It
// may be wrong about a key that shares its hash with another one, so nothing may rest
// on it but how fast a call is.
type warmth struct {
	seed maphash.Seed
	bits [1 << 10]atomic.Uint64
}

func newWarmth() *warmth { return &warmth{seed: maphash.MakeSeed()} }

func (w *warmth) place(key string) (word *atomic.Uint64, bit uint64) {
	hash := maphash.String(w.seed, key)
	return &w.bits[hash>>6%uint64(len(w.bits))], 1 << (hash % 64)
}

func (w *warmth) isWarm(key string) bool {
	word, bit := w.place(key)
	return word.Load()&bit != 0
}

// note keeps what a look has found. It writes only what is new, because many read.
func (w *warmth) note(key string, found bool) {
	word, bit := w.place(key)
	switch is := word.Load()&bit != 0; {
	case found && !is:
		word.Or(bit)
	case !found && is:
		word.And(^bit)
	}
}
