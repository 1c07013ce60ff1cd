package memory

import (
	"hash/maphash"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"

	"github.com/dogpile-go/dogpile/backend"
)

var _ backend.LocalRegion = (*space)(nil)

// table is where the entries of all regions stand, under the hash of their key.
// Hashing the key here and giving otter a number is a third faster on a hit than
// a key of two strings, which otter would hash as a struct and compare in places
// that are not in the processor's cache.
type table = otter.Cache[uint64, *stored]

// stored is what otter keeps for a key. What a hit looks at stands first, close
// together. It is never changed.
type stored struct {
	space  *space
	since  int64 // when it was created, on the coarse clock
	name   string
	entry  backend.Entry
	ttl    time.Duration
	cells  []*backend.LiveStamps // of the guards that the entry may carry; held for its sake
	weight uint32
}

// space is one region in a Backend: what its keys are hashed with and judged by.
// There is one for each name, so that a pointer tells regions apart.
type space struct {
	backend *Backend
	region  string
	seed    maphash.Seed // the Backend's
	salt    uint64       // differs from region to region
	live    *backend.LiveStamps
	clock   *otter.CoarseClock // the Backend's
}

// in returns the space of a region, making it the first time.
func (b *Backend) in(region string) *space {
	if s, ok := b.spaces.Load(region); ok {
		return s.(*space)
	}
	made := &space{
		backend: b,
		region:  region,
		seed:    b.seed,
		salt:    maphash.String(b.seed, region),
		live:    b.core.Live(backend.Guard{Region: region}),
	}
	if b.err == nil {
		made.clock = b.clock.coarse
	}
	s, _ := b.spaces.LoadOrStore(region, made)
	return s.(*space)
}

// hash returns the number under which name stands in the table. Two keys may have
// one number, about once in 2⁶⁴: the later one then displaces the earlier one, as
// an eviction would, and lookUp tells them apart. The seed is random, so nobody
// can choose such keys.
func (s *space) hash(name string) uint64 { return s.salt + maphash.String(s.seed, name) }

func (s *space) lookUp(entries *table, name string) *stored {
	found, ok := entries.GetIfPresent(s.hash(name))
	if !ok || found.space != s || found.name != name {
		return nil
	}
	return found
}

// slack is added to an age that is read off the coarse clock, to make it an upper
// bound: one resolution, because the clock may be about to tick, and the rest for
// a process so busy that the tick is late. If a process is busier than that, or
// has been stopped and goes on, a value may be taken for fresh for as much longer
// as the tick is late; a caller who has read a precise clock and then has to wait
// for a processor is no better off.
const slack = resolution + 4*time.Second

// Peek returns the entry of name, or nil. It allocates nothing.
func (s *space) Peek(name string) (e *backend.Entry, atMost time.Duration) {
	entries := s.backend.entries.Load()
	if entries == nil {
		return nil, 0
	}
	found := s.lookUp(entries, name)
	if found == nil {
		return nil, 0
	}
	return &found.entry, time.Duration(s.clock.NowNano()-found.since) + slack
}

// PeekBytes is Peek with the name as bytes, which it does not keep. It allocates
// nothing.
func (s *space) PeekBytes(name []byte) (e *backend.Entry, atMost time.Duration) {
	// The string is as changeable as name, which is fine for one that is only
	// hashed and compared.
	return s.Peek(unsafe.String(unsafe.SliceData(name), len(name)))
}

// Live returns the cell of the region's stamps.
func (s *space) Live() *backend.LiveStamps { return s.live }

// LiveTag returns the cell of a tag's stamps.
func (s *space) LiveTag(tag string) *backend.LiveStamps {
	return s.backend.core.Live(backend.Guard{Region: s.region, Tag: tag})
}
