package memcached

import (
	"context"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// Get is Get of [backend.Backend].
func (b *Backend) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	if err := b.usable(); err != nil {
		return backend.Found{}, err
	}
	place := b.place(key)
	names := make([]memcachedio.Name, 1, 1+len(guards))
	names[0] = place.Name(memcachedio.Value)
	for _, guard := range guards {
		names = append(names, b.nameOf(guard))
	}
	items, err := memcachedio.Read(ctx, names)
	if err != nil {
		return backend.Found{}, err
	}
	entry, err := b.entryOf(ctx, place, items[0])
	return backend.Found{Entry: entry, Stamps: stampsOf(items[1:])}, err
}

// several is what a read of several keys returns.
type several struct {
	entries []*backend.Entry
	stamps  []backend.Stamps
}

// GetMulti is GetMulti of [backend.Backend].
func (b *Backend) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, nil, err
	}
	places := b.places(keys)
	stamps := b.namesOf(guards)
	found, err := b.read(ctx, places, stamps)
	return found.entries, found.stamps, err
}

// read reads the values at places, and stamps, in one round trip.
func (b *Backend) read(ctx context.Context, places []memcachedio.Place, stamps []memcachedio.Name) (several, error) {
	names := make([]memcachedio.Name, 0, len(places)+len(stamps))
	for i := range places {
		names = append(names, places[i].Name(memcachedio.Value))
	}
	names = append(names, stamps...)
	items, err := memcachedio.Read(ctx, names)
	if err != nil {
		return several{}, err
	}
	found := several{entries: make([]*backend.Entry, len(places)), stamps: stampsOf(items[len(places):])}
	var heads []int
	for i := range places {
		if isHead(items[i]) {
			heads = append(heads, i)
			continue
		}
		found.entries[i] = whole(items[i])
	}
	err = memcachedio.Each(ctx, len(heads), func(i int) (err error) {
		at := heads[i]
		found.entries[at], err = b.entryOf(ctx, places[at], items[at])
		return err
	})
	return found, err
}
