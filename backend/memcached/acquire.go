package memcached

import (
	"context"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

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

// acquire takes leases, reads what is stored, and sees to it that whoever had a lease
// before cannot store under it any more.
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
	names = append(names, stamps...)
	if len(names) == 0 {
		return nil
	}
	items, err := memcachedio.Read(ctx, names)
	if err != nil {
		return err
	}
	err = memcachedio.Each(ctx, len(won), func(i int) error {
		at := won[i]
		item, err := b.fence(ctx, names[i], items[i])
		if err == nil {
			g.entries[at], err = b.entryOf(ctx, places[at], item)
		}
		return err
	})
	if err != nil {
		return err
	}
	g.stamps, err = completed(ctx, stamps, items[len(won):])
	return err
}

// fence changes the CAS id of a value, or puts a stub where none is, so that what a
// holder from before has sent, and has not arrived yet, is refused. It returns the item
// that the value is in, as it was read after the lease was granted; nil for none.
func (b *Backend) fence(ctx context.Context, name memcachedio.Name, item *memcache.Item) (*memcache.Item, error) {
	if item == nil {
		outcome, err := name.Server.Add(ctx, stub(name.Text, b.stubExpiration()))
		switch {
		case err != nil && !memcachedio.Broken(err):
			return nil, err
		case outcome == memcachedio.Done:
			return nil, nil
		}
		// Somebody has stored something since it was read.
		if item, err = name.Server.GetOne(ctx, name.Text); item == nil || err != nil {
			return nil, err
		}
	}
	_, err := name.Server.Bump(ctx, name.Text)
	return item, err
}

func (b *Backend) stubExpiration() int32 {
	return memcachedio.LeaseExpiration(b.cfg.LeaseTTL, time.Now())
}
