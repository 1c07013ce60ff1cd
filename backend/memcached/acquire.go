package memcached

import (
	"context"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// granted is what an Acquire comes back with.
type granted struct {
	leases  []*memcachedio.Held // nil where somebody else has it
	entries []*backend.Entry
	stamps  []backend.Stamps
}

// Acquire is Acquire of [backend.Backend].
func (b *Backend) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, nil, err
	}
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = key.String()
	}
	places, stamps := b.places(keys), b.namesOf(guards)
	g, err := memcachedio.Call(ctx, b.client, func(ctx context.Context) (*granted, error) {
		g := &granted{leases: make([]*memcachedio.Held, len(texts)), entries: make([]*backend.Entry, len(texts))}
		if err := b.acquire(ctx, g, texts, places, stamps); err != nil {
			b.leases.GiveBack(g.leases)
			return nil, err
		}
		return g, nil
	}, func(g *granted) { b.leases.GiveBack(g.leases) })
	if err != nil {
		return nil, nil, err
	}
	grants := make([]backend.Grant, len(keys))
	for i, lease := range g.leases {
		if lease != nil {
			grants[i] = backend.Grant{Lease: lease, Entry: g.entries[i]}
		}
	}
	return grants, g.stamps, nil
}

// acquire takes leases, sees to it that whoever had one of them before cannot store
// under it any more, and reads what is stored.
func (b *Backend) acquire(ctx context.Context, g *granted, texts []string, places []memcachedio.Place, stamps []memcachedio.Name) error {
	err := memcachedio.Each(ctx, len(places), func(i int) (err error) {
		g.leases[i], err = b.leases.Take(ctx, texts[i], places[i].Name(memcachedio.Lease))
		return err
	})
	if err != nil {
		return err
	}
	var won []int
	for i, lease := range g.leases {
		if lease != nil {
			won = append(won, i)
		}
	}
	if len(won) == 0 && len(places) > 0 {
		g.stamps = make([]backend.Stamps, len(stamps))
		return nil
	}
	names := make([]memcachedio.Name, 0, len(won)+len(stamps))
	for _, at := range won {
		names = append(names, places[at].Name(memcachedio.Value))
	}
	if err := b.fence(ctx, names); err != nil {
		return err
	}
	names = append(names, stamps...)
	if len(names) == 0 {
		return nil
	}
	items, err := memcachedio.Read(ctx, names)
	if err != nil {
		return err
	}
	err = memcachedio.Each(ctx, len(won), func(i int) (err error) {
		g.entries[won[i]], err = b.entryOf(ctx, places[won[i]], items[i])
		return err
	})
	if err != nil {
		return err
	}
	g.stamps, err = completed(ctx, stamps, items[len(won):])
	return err
}

// fence changes the CAS ids of values, and puts stubs where none are, so that what a
// holder from before has sent, and has not arrived yet, is refused. Values are read when
// that is done: what was read before could be stored again over what has arrived since.
func (b *Backend) fence(ctx context.Context, values []memcachedio.Name) error {
	writes := make([]memcachedio.Write, 0, 2*len(values))
	for _, name := range values {
		none := stub(name.Text, b.stubExpiration())
		writes = append(writes,
			memcachedio.Write{Verb: memcachedio.Add, Name: name, Flags: none.Flags, Expiration: none.Expiration, Value: none.Value},
			memcachedio.Write{Verb: memcachedio.Append, Name: name})
	}
	_, err := memcachedio.WriteAll(ctx, writes)
	if err != nil && memcachedio.Broken(err) && ctx.Err() == nil {
		_, err = memcachedio.WriteAll(ctx, writes) // it does no harm twice
	}
	return err
}

func (b *Backend) stubExpiration() int32 {
	return memcachedio.LeaseExpiration(b.cfg.LeaseTTL, time.Now())
}
