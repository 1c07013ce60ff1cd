package region

import (
	"context"
	"sync"

	"github.com/dogpile-go/dogpile/backend"
)

// capture holds the stamps that were current when a creator had not begun yet.
type capture struct {
	region backend.Stamps
	any    backend.Stamps            // of anyTag
	tags   map[string]backend.Tagged // by the names of their guards
}

// of returns tags with the stamps that were captured, and those of which none were.
func (c *capture) of(tags []string) (has []backend.Tagged, late []string) {
	if len(tags) == 0 {
		return nil, nil
	}
	has = make([]backend.Tagged, 0, len(tags))
	for _, tag := range tags {
		if t, ok := c.tags[tag]; ok {
			has = append(has, t)
		} else {
			late = append(late, tag)
		}
	}
	return has, late
}

// asked returns the guards whose stamps a backend has to say to make a capture. In this
// process they are looked up instead.
func (st *state) asked(tags []string) []backend.Guard {
	if st.live != nil {
		return nil
	}
	return st.guarded(append([]string{anyTag}, tags...))
}

// captured makes a capture of what the backend has said about asked(tags).
func (st *state) captured(tags []string, stamps []backend.Stamps) *capture {
	c := new(capture)
	if st.live != nil {
		c.region, c.any = st.live.Load(), st.any.Load()
		c.add(st.tagged(tags, nil))
		return c
	}
	at := func(i int) (s backend.Stamps) {
		if i < len(stamps) {
			s = stamps[i]
		}
		return s
	}
	c.region, c.any = at(0), at(1)
	c.add(st.tagged(tags, stamps[min(2, len(stamps)):]))
	return c
}

func (c *capture) add(tags []backend.Tagged) {
	if c.tags == nil && len(tags) > 0 {
		c.tags = make(map[string]backend.Tagged, len(tags))
	}
	for _, t := range tags {
		c.tags[t.Tag] = t
	}
}

// addOld adds the tags of what is stored already: the value that takes its place most
// likely gets the same ones from its creator.
func (c *capture) addOld(st *state, g *glance) {
	for i := range g.Tags {
		tag, now := g.Tags[i].Tag, g.tags[i]
		if _, has := c.tags[tag]; !has && !now.Hard.IsZero() && !now.Soft.IsZero() {
			c.add(st.tagged([]string{tag}, []backend.Stamps{now}))
		}
	}
}

// tagged puts stamps to tags, or takes them from the cells of this process.
func (st *state) tagged(tags []string, stamps []backend.Stamps) []backend.Tagged {
	all := make([]backend.Tagged, len(tags))
	for i, tag := range tags {
		all[i].Tag = tag
		if st.live != nil {
			all[i].Live = st.local.LiveTag(tag)
			all[i].Stamps = all[i].Live.Load()
		} else if i < len(stamps) {
			all[i].Stamps = stamps[i]
		}
	}
	return all
}

// addLate captures tags that a creator has added. Their stamps are read after it has
// ended, and so they may be newer than it. But whoever invalidates a tag renews anyTag
// first; so if that is still as it was before the creator began, when it is read after
// the tags' stamps, then these have not been renewed since the creator began either.
func (st *state) addLate(ctx context.Context, c *capture, tags []string) error {
	late, err := st.taggedNow(ctx, tags)
	if err != nil {
		return err
	}
	// Not in one call with the tags: what is absent is created at some time during it.
	now, err := st.taggedNow(ctx, []string{anyTag})
	if err != nil {
		return err
	}
	if len(now) != 1 || now[0].Stamps != c.any || c.any.Hard.IsZero() {
		return ErrTagsUnproved
	}
	c.add(late)
	return nil
}

// taggedNow returns tags with their current stamps.
func (st *state) taggedNow(ctx context.Context, tags []string) ([]backend.Tagged, error) {
	if st.live != nil {
		return st.tagged(tags, nil), nil
	}
	stamps, err := st.backend.Stamps(ctx, st.tagGuards(tags))
	if err != nil {
		return nil, err
	}
	return st.tagged(tags, stamps), nil
}

// tagMemory remembers the tags that creators have added in vain, so that they are
// captured beforehand the next time. Otherwise a value would never be stored that takes
// longer to create than the time from one invalidation of any tag to the next.
type tagMemory struct {
	mu sync.Mutex
	of map[string][]string // by key

	size int // bytes
}

// mostRemembered is how many keys have their tags remembered, and largestRemembered how
// many bytes of them.
const (
	mostRemembered    = 1 << 14
	largestRemembered = 8 << 20
)

func (m *tagMemory) learn(key string, tags []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = make(map[string][]string)
	}
	m.size += sizeOfTags(key, tags) - m.sizeOf(key)
	m.of[key] = tags
	for other := range m.of { // in no order
		if len(m.of) <= mostRemembered && m.size <= largestRemembered {
			break
		}
		m.size -= m.sizeOf(other)
		delete(m.of, other)
	}
}

// sizeOf returns what a key takes that is remembered.
func (m *tagMemory) sizeOf(key string) int {
	if tags, known := m.of[key]; known {
		return sizeOfTags(key, tags)
	}
	return 0
}

func sizeOfTags(key string, tags []string) int {
	size := len(key)
	for _, tag := range tags {
		size += len(tag)
	}
	return size
}

func (m *tagMemory) recall(key string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[key]
}
