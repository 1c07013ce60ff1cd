package memcached

import (
	"bytes"
	"compress/zlib"
	"context"
	"io"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// Get is Get of [backend.Backend].
func (s *shared) Get(ctx context.Context, key backend.Key, _ []backend.Guard) (backend.Found, error) {
	if err := s.b.usable(); err != nil {
		return backend.Found{}, err
	}
	if err := s.check(key); err != nil {
		return backend.Found{}, err
	}
	value := s.value(key)
	item, err := value.Server.GetOne(ctx, value.Text)
	room := largest
	return backend.Found{Entry: foreignEntry(item, &room)}, err
}

// GetMulti is GetMulti of [backend.Backend].
func (s *shared) GetMulti(ctx context.Context, keys []backend.Key, _ []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if err := s.b.usable(); err != nil {
		return nil, nil, err
	}
	if err := s.checkAll(keys); err != nil {
		return nil, nil, err
	}
	names := make([]memcachedio.Name, len(keys))
	for i, key := range keys {
		names[i] = s.value(key)
	}
	items, err := memcachedio.Read(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	entries, room := make([]*backend.Entry, len(keys)), largest
	for i, item := range items {
		entries[i] = foreignEntry(item, &room)
	}
	return entries, nil, nil
}

// Acquire is Acquire of [backend.Backend].
func (s *shared) Acquire(ctx context.Context, keys []backend.Key, _ []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	if err := s.b.usable(); err != nil {
		return nil, nil, err
	}
	if err := s.checkAll(keys); err != nil {
		return nil, nil, err
	}
	keys = append([]backend.Key(nil), keys...)
	g, err := memcachedio.Call(ctx, s.b.client, func(ctx context.Context) (*granted, error) {
		g := &granted{leases: make([]*memcachedio.Held, len(keys)), entries: make([]*backend.Entry, len(keys))}
		if err := s.acquire(ctx, g, keys); err != nil {
			s.locks.GiveBack(g.leases)
			return nil, err
		}
		return g, nil
	}, func(g *granted) { s.locks.GiveBack(g.leases) })
	if err != nil {
		return nil, nil, err
	}
	grants := make([]backend.Grant, len(keys))
	for i, lease := range g.leases {
		if lease != nil {
			grants[i] = backend.Grant{Lease: lease, Entry: g.entries[i]}
		}
	}
	return grants, nil, nil
}

// acquire takes leases, gives the values new CAS ids, so that what a holder from before
// has sent is refused, and reads them.
func (s *shared) acquire(ctx context.Context, g *granted, keys []backend.Key) error {
	err := memcachedio.Each(ctx, len(keys), func(i int) (err error) {
		g.leases[i], err = s.locks.Take(ctx, keys[i].String(), s.lock(keys[i]))
		return err
	})
	if err != nil {
		return err
	}
	var won []int
	var fence []memcachedio.Write
	var names []memcachedio.Name
	for i, lease := range g.leases {
		if lease != nil {
			name := s.value(keys[i])
			won, names = append(won, i), append(names, name)
			fence = append(fence, memcachedio.Write{Verb: memcachedio.Append, Name: name})
		}
	}
	if len(won) == 0 {
		return nil
	}
	if _, err = memcachedio.WriteAll(ctx, fence); err != nil && memcachedio.Broken(err) && ctx.Err() == nil {
		_, err = memcachedio.WriteAll(ctx, fence) // it does no harm twice
	}
	if err != nil {
		return err
	}
	items, err := memcachedio.Read(ctx, names)
	if err != nil {
		return err
	}
	room := largest
	for i, at := range won {
		g.entries[at] = foreignEntry(items[i], &room)
	}
	return nil
}

// foreignEntry returns the entry in an item that any program may have stored. One that
// no client would take for bytes is an entry without Data, which nobody can read. So is one
// that is compressed and would become larger than room, which is what is left for those of
// one call: a thousand small items must not fill the memory.
func foreignEntry(item *memcache.Item, room *int) *backend.Entry {
	if item == nil {
		return nil
	}
	switch item.Flags {
	case flagsBytes, flagsBinary:
		return &backend.Entry{Data: item.Value}
	case flagsZlib, flagsZlib | flagsBinary:
		data := unzip(item.Value, *room)
		*room -= len(data)
		return &backend.Entry{Data: data}
	}
	return &backend.Entry{}
}

// unzip returns nil for what is not compressed with zlib, and for more than most bytes.
func unzip(data []byte, most int) []byte {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil || len(out) > most {
		return nil
	}
	return out
}
