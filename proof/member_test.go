package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// errWanted is how creators fail that are meant to.
var errWanted = errors.New("the creator fails, as it is meant to")

// member is one process of a history, or what stands for one.
type member struct {
	layout
	arena  *arena
	number int
	region *region.Region
	fn     *decorate.Func[int, value]

	numbers map[string]int // of keys, by their names

	mu       sync.Mutex // guards what follows
	err      error      // what the region told of that must not happen
	troubles int
}

// newMember wraps the function of a history for one of its processes.
func newMember(l layout, a *arena, number int, cfg region.Config) (*member, error) {
	m := &member{layout: l, arena: a, number: number, numbers: map[string]int{}}
	cfg.Observer = m
	r, err := region.New("proof", cfg)
	if err != nil {
		return nil, err
	}
	m.region = r
	m.fn = decorate.CacheOnArguments(r, func(ctx context.Context, k int) (value, error) {
		region.FromContext(ctx).AddTags(tagName(l.groupOf(k)))
		return m.make(k, itself|group|left, failing())
	}, region.WithTags(tagName(l.leftTag())), region.Namespace("fn"))
	for k := range l.keys() {
		name := keyName(k)
		if k >= l.plain {
			if name, err = m.fn.Key(k); err != nil {
				return nil, errors.Join(err, r.Close())
			}
		}
		m.numbers[name] = k
	}
	return m, nil
}

// ObserveUnstored notes values that were not stored because an invalidation of some tag
// came between: they have to be created once more.
func (m *member) ObserveUnstored(e region.UnstoredEvent) {
	if errors.Is(e.Err, region.ErrTagsUnproved) {
		m.arena.open(record{kind: unproved, process: uint8(m.number), target: int32(m.numbers[e.Key]), call: m.arena.tick()})
	}
}

// ObserveBackendError notes what must not happen in a history.
func (m *member) ObserveBackendError(e region.BackendErrorEvent) {
	m.trouble(fmt.Errorf("%s of key %q: %w", e.Op, e.Key, e.Err))
}

// ObserveBadEntry is the same.
func (m *member) ObserveBadEntry(e region.BadEntryEvent) {
	m.trouble(fmt.Errorf("key %q: %w", e.Key, e.Err))
}

func (m *member) trouble(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.troubles++; m.troubles <= 5 {
		m.err = errors.Join(m.err, fmt.Errorf("the backend of process %d: %w", m.number, err))
	}
}

// failing says whether a creator fails: a few do.
func failing() bool { return rand.IntN(100) < 3 }

// make is the creator for one key. It reads the "database" when it begins, which is as
// early as can be, and takes its time.
func (m *member) make(k int, carries guards, fails bool) (value, error) {
	r := record{kind: creation, process: uint8(m.number), target: int32(k), call: m.arena.tick()}
	r.value = value{Began: r.call, Carries: carries}
	slot := m.arena.open(r)
	pause()
	var err error
	if fails {
		r.flags, err = failed, errWanted
	}
	pause()
	r.ret = m.arena.tick()
	slot.close(r)
	return r.value, err
}

// side chooses one of the tags left and right.
func (m *member) side() (guards, string) {
	if rand.IntN(2) == 0 {
		return left, tagName(m.leftTag())
	}
	return right, tagName(m.rightTag())
}

// pause lets others go first, for a moment or for up to two milliseconds. It is the work
// of a creator, and waits for nothing.
func pause() {
	switch n := rand.IntN(10); {
	case n < 3:
	case n < 6:
		for range rand.IntN(20) {
			runtime.Gosched()
		}
	default:
		time.Sleep(time.Duration(rand.IntN(2_000)) * time.Microsecond)
	}
}
