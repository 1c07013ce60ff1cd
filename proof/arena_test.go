package proof

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// arena is memory that the processes of a history share: the counter of ticks, and the
// records. What a process has written there outlives it, whatever it dies of.
//
// The ticks are the only clock of the proof. One that was taken after another was
// returned is greater, whichever processes took them.
type arena struct {
	memory []byte
	head   *arenaHead
	slots  []slot
	unmap  func() error
}

type arenaHead struct {
	ticks atomic.Int64
	used  atomic.Int64 // slots given out; may exceed their number
	stop  atomic.Bool  // clients shall come to an end
	_     [47]byte
}

// slot is a record as it stands in the arena. ret is written last, when the operation
// has returned.
type slot struct {
	what    atomic.Uint64 // kind, process, client, flags and target, in this order
	call    atomic.Int64
	began   atomic.Int64
	details atomic.Uint64 // of the value: 1 if it was set, and 256 times what it carries
	ret     atomic.Int64
}

const (
	headSize = int(unsafe.Sizeof(arenaHead{}))
	slotSize = int(unsafe.Sizeof(slot{}))
)

// newArena makes an arena for n records in a file, for other processes to open.
func newArena(path string, n int) (*arena, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(int64(headSize + n*slotSize)); err != nil {
		return nil, err
	}
	return mapArena(file)
}

// openArena opens what newArena has made.
func openArena(path string) (*arena, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return mapArena(file)
}

func mapArena(file *os.File) (*arena, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", file.Name(), err)
	}
	n := (len(memory) - headSize) / slotSize
	return &arena{
		memory: memory,
		head:   (*arenaHead)(unsafe.Pointer(&memory[0])),
		slots:  unsafe.Slice((*slot)(unsafe.Pointer(&memory[headSize])), n),
		unmap:  func() error { return syscall.Munmap(memory) },
	}, nil
}

func (a *arena) close() error { return a.unmap() }

// tick returns a number that is greater than all that were returned before.
func (a *arena) tick() int64 { return a.head.ticks.Add(1) }

// open puts a record of an operation that is about to begin into the arena; its call
// has been set by the caller.
func (a *arena) open(r record) *slot {
	i := a.head.used.Add(1) - 1
	if i >= int64(len(a.slots)) {
		panic("proof: the arena is too small for the history")
	}
	s := &a.slots[i]
	s.put(r)
	return s
}

func (s *slot) put(r record) {
	details := uint64(r.value.Carries) << 8
	if r.value.Set {
		details |= 1
	}
	s.call.Store(r.call)
	s.began.Store(r.value.Began)
	s.details.Store(details)
	s.what.Store(uint64(r.kind)<<56 | uint64(r.process)<<48 | uint64(r.client)<<40 | uint64(r.flags)<<32 | uint64(uint32(r.target)))
}

// close completes a record: the operation has returned.
func (s *slot) close(r record) {
	s.put(r)
	s.ret.Store(r.ret)
}

// records returns all records. Nobody may be writing any more.
func (a *arena) records() []record {
	list := make([]record, 0, a.head.used.Load())
	for i := range min(int(a.head.used.Load()), len(a.slots)) {
		s := &a.slots[i]
		what, details := s.what.Load(), s.details.Load()
		r := record{
			kind: kind(what >> 56), process: uint8(what >> 48), client: uint8(what >> 40), flags: flags(what >> 32), target: int32(uint32(what)),
			call: s.call.Load(), ret: s.ret.Load(),
			value: value{Began: s.began.Load(), Set: details&1 != 0, Carries: guards(details >> 8)},
		}
		if r.kind != none {
			list = append(list, r)
		}
	}
	return list
}
