package memcached

import (
	"context"
	"errors"
	"slices"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// stampsSize is the size of an item with the stamps of a guard, first the hard one.
const stampsSize = 2 * len(backend.Stamp{})

// mostTurns is how often a change of stamps is tried again because another came first.
const mostTurns = 100

// errBusyStamps is the error of a Renew that others got ahead of each time.
var errBusyStamps = errors.New("memcached: the stamps were changed or evicted again and again while they were renewed; try again")

// stampsOf reads stamps. What is no stamp is none.
func stampsOf(items []*memcache.Item) []backend.Stamps {
	if len(items) == 0 {
		return nil
	}
	stamps := make([]backend.Stamps, len(items))
	for i, item := range items {
		stamps[i] = stampsIn(item)
	}
	return stamps
}

func stampsIn(item *memcache.Item) (s backend.Stamps) {
	if item != nil && item.Flags == flagsStamps && len(item.Value) == stampsSize {
		copy(s.Hard[:], item.Value)
		copy(s.Soft[:], item.Value[len(s.Hard):])
	}
	return s
}

// complete reports whether neither stamp is zero.
func complete(s backend.Stamps) bool { return !s.Hard.IsZero() && !s.Soft.IsZero() }

func stampItem(name string, s backend.Stamps) *memcache.Item {
	return &memcache.Item{Key: name, Flags: flagsStamps, Value: slices.Concat(s.Hard[:], s.Soft[:])}
}

// Stamps is Stamps of [backend.Backend].
func (b *Backend) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	names := b.namesOf(guards)
	if len(names) == 0 {
		return nil, nil
	}
	return memcachedio.Call(ctx, b.client, func(ctx context.Context) ([]backend.Stamps, error) {
		items, err := memcachedio.Read(ctx, names)
		if err != nil {
			return nil, err
		}
		return b.completed(ctx, names, stampsOf(items))
	}, nil)
}

// completed creates those of stamps that are absent.
func (b *Backend) completed(ctx context.Context, names []memcachedio.Name, stamps []backend.Stamps) ([]backend.Stamps, error) {
	var absent []int
	for i, s := range stamps {
		if !complete(s) {
			absent = append(absent, i)
		}
	}
	err := memcachedio.Each(ctx, len(absent), func(i int) (err error) {
		at := absent[i]
		stamps[at], err = create(ctx, names[at])
		return err
	})
	if err != nil {
		return nil, err
	}
	return stamps, nil
}

// create returns the stamps that are called name, and creates them if there are none.
// What takes their place without being stamps is replaced.
func create(ctx context.Context, name memcachedio.Name) (backend.Stamps, error) {
	for range mostTurns {
		item, err := name.Server.GetOne(ctx, name.Text)
		if err != nil {
			return backend.Stamps{}, err
		}
		if s := stampsIn(item); complete(s) {
			return s, nil
		}
		fresh := stampItem(name.Text, backend.Stamps{Hard: backend.NewStamp(), Soft: backend.NewStamp()})
		if err := replace(ctx, name, item, fresh); err != nil {
			return backend.Stamps{}, err
		}
	}
	return backend.Stamps{}, errBusyStamps
}

// replace stores fresh in the place of item, which may be nil. Whether it did, or
// somebody else was first, is for the next read to tell, as it is if the connection
// ended.
func replace(ctx context.Context, name memcachedio.Name, item, fresh *memcache.Item) error {
	var err error
	if item == nil {
		_, err = name.Server.Add(ctx, fresh)
	} else {
		fresh.CasID = item.CasID
		_, err = name.Server.CAS(ctx, fresh)
	}
	if err != nil && memcachedio.Broken(err) {
		return nil
	}
	return err
}

// Renew is Renew of [backend.Backend].
func (b *Backend) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := b.usable(); err != nil {
		return err
	}
	names := b.namesOf(guards)
	if len(names) == 0 {
		return nil
	}
	_, err := memcachedio.Call(ctx, b.client, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, memcachedio.Each(ctx, len(names), func(i int) error { return renew(ctx, names[i], soft) })
	}, nil)
	return err
}

// renew replaces one stamp. It is done as soon as that stamp is another one than it was
// at the beginning, whoever did it: whatever carries the old one is dead then. Every
// attempt sends stamps that were never sent before, so none can revive anything.
func renew(ctx context.Context, name memcachedio.Name, soft bool) error {
	var before backend.Stamps
	for turn := range mostTurns {
		item, err := name.Server.GetOne(ctx, name.Text)
		if err != nil {
			return err
		}
		now := stampsIn(item)
		switch {
		case turn == 0:
			before = now
		case complete(now) && (soft && now.Soft != before.Soft || !soft && now.Hard != before.Hard):
			return nil
		}
		next := now
		if soft || !complete(now) {
			next.Soft = backend.NewStamp()
		}
		if !soft || !complete(now) {
			next.Hard = backend.NewStamp()
		}
		fresh := stampItem(name.Text, next)
		var outcome memcachedio.Outcome
		if item == nil {
			outcome, err = name.Server.Add(ctx, fresh)
		} else {
			fresh.CasID = item.CasID
			outcome, err = name.Server.CAS(ctx, fresh)
		}
		switch {
		case err != nil && !memcachedio.Broken(err):
			return err
		case outcome == memcachedio.Done:
			return nil
		}
	}
	return errBusyStamps
}
