package region

import (
	"context"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
)

// glance is what one look at the backend has shown of a key. Every part of it was read
// after the look began. It holds for whoever came before that, whatever they ask for.
type glance struct {
	stored
	region backend.Stamps   // the region's, now
	tags   []backend.Stamps // those of the tags that the entry carries, now, in their order
	owed   *debts           // what was not invalidated yet in the backend when the look began
	err    error            // why there is no more than this
}

// stored is an entry that has been read.
type stored struct {
	backend.Entry        // of bytes: what was in them; Data is the payload
	whole         []byte // of bytes: all of them
	there         bool
	bad           error // why it cannot be read
	schema        uint64
	codec         uint32
}

// read opens the entry at a key into s, which is empty.
func (st *state) read(s *stored, key backend.Key, e *backend.Entry) {
	if e == nil {
		return
	}
	s.there = true
	if !st.bytes {
		s.Entry = *e
		return
	}
	if st.Interop != nil {
		s.Stamps, s.whole = always, e.Data
		s.Created, s.Data, s.bad = st.parse(e.Data)
		return
	}
	h, payload, err := envelope.Parse(e.Data, key)
	if err != nil {
		s.bad = err
		return
	}
	s.Stamps, s.Tags = h.Stamps, h.Tags
	s.Created, s.Expiration, s.Cost, s.NotFound = h.Created, h.Expiration, h.Cost, h.NotFound
	s.Data, s.whole = payload, e.Data
	s.schema, s.codec = h.Schema, h.Codec
}

// glance looks at one key, and puts what it shows into g, which is empty. tags are those
// that the entry is expected to carry.
func (st *state) glance(ctx context.Context, g *glance, key string, tags []string) {
	g.owed = st.owed.Load()
	k := st.key(key)
	if st.local != nil {
		// The stamps are loaded after the entry, so that both are read after
		// the call began.
		found, err := st.backend.Get(ctx, k, nil)
		if g.err = err; err != nil {
			return
		}
		st.read(&g.stored, k, found.Entry)
		g.region = st.live.Load()
		if len(g.Tags) > 0 {
			g.tags = st.loaded(g.Tags)
		}
		return
	}
	guards := st.guarded(tags)
	found, err := st.backend.Get(ctx, k, guards)
	if g.err = err; err != nil {
		return
	}
	st.read(&g.stored, k, found.Entry)
	if len(found.Stamps) > 0 {
		g.region = found.Stamps[0]
	}
	if len(g.Tags) > 0 {
		st.completeOne(ctx, g, guards, found.Stamps)
	}
}

// completeOne is complete for one glance.
func (st *state) completeOne(ctx context.Context, g *glance, guards []backend.Guard, stamps []backend.Stamps) {
	known := &current{guards: guards, stamps: stamps}
	if g.complete(known) {
		return
	}
	all := []glance{*g}
	err := st.complete(ctx, all, known)
	*g = all[0]
	g.err = err
}

// complete gives the glance the stamps of the tags that its entry carries, if they are
// known.
func (g *glance) complete(known *current) bool {
	g.tags = make([]backend.Stamps, len(g.Tags))
	for i := range g.Tags {
		now, asked := known.of(g.Tags[i].Tag)
		if !asked {
			return false
		}
		g.tags[i] = now
	}
	return true
}

// glanceMulti looks at many keys.
func (st *state) glanceMulti(ctx context.Context, a *asks, keys []string) ([]glance, error) {
	return st.glanceAt(ctx, a, keys, st.keys(keys))
}

// glanceAt looks at what is stored at places for keys.
func (st *state) glanceAt(ctx context.Context, a *asks, keys []string, places []backend.Key) ([]glance, error) {
	owed := st.owed.Load()
	guards := st.guarded(a.allWanted(keys))
	entries, stamps, err := st.backend.GetMulti(ctx, places, guards)
	if err != nil {
		return nil, err
	}
	known := current{guards: guards, stamps: stamps}
	all := make([]glance, len(keys))
	for i := range all {
		all[i].owed, all[i].region = owed, known.region()
		if i < len(entries) {
			st.read(&all[i].stored, places[i], entries[i])
		}
	}
	return all, st.complete(ctx, all, &known)
}

// loaded returns the current stamps of tags from the cells of this process.
func (st *state) loaded(tags []backend.Tagged) []backend.Stamps {
	stamps := make([]backend.Stamps, len(tags))
	for i, t := range tags {
		if t.Live == nil { // stored by a region that a proxy keeps from the cells
			t.Live = st.local.LiveTag(t.Tag)
		}
		stamps[i] = t.Live.Load()
	}
	return stamps
}

// complete gives glances the stamps of the tags that their entries carry. Those that
// were not asked for cost another round trip, all of them together.
func (st *state) complete(ctx context.Context, all []glance, known *current) error {
	var more []string
	for i := range all {
		if g := &all[i]; g.hopeful() {
			for j := range g.Tags {
				if _, asked := known.of(g.Tags[j].Tag); !asked {
					more = append(more, g.Tags[j].Tag)
				}
			}
		}
	}
	var rest current
	if len(more) > 0 {
		rest.guards = st.tagGuards(unique(more))
		var err error
		if _, rest.stamps, err = st.backend.GetMulti(ctx, nil, rest.guards); err != nil {
			return err
		}
	}
	for i := range all {
		g := &all[i]
		if len(g.Tags) == 0 || g.complete(known) {
			continue
		}
		g.tags = make([]backend.Stamps, len(g.Tags))
		for j := range g.Tags {
			now, asked := known.of(g.Tags[j].Tag)
			if !asked {
				now, _ = rest.of(g.Tags[j].Tag)
			}
			g.tags[j] = now
		}
	}
	return nil
}

// hopeful reports whether the region's stamps leave anything to be said by those of tags.
func (g *glance) hopeful() bool {
	return g.there && !g.region.Hard.IsZero() && g.Stamps.Hard == g.region.Hard
}
