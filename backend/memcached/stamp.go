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

// mostTurns is how often stamps are asked for again because their connection had ended,
// or they were evicted.
const mostTurns = 100

// errBusyStamps is the error of stamps that were evicted each time they had been created.
var errBusyStamps = errors.New("memcached: the stamps were evicted again and again when they had been created; is the server's memory too small?")

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

func newStamps() backend.Stamps {
	return backend.Stamps{Hard: backend.NewStamp(), Soft: backend.NewStamp()}
}

// storing returns the request that puts s in the place of item, which was read and may
// be nil, unless something else is there by then.
func storing(name memcachedio.Name, item *memcache.Item, s backend.Stamps) memcachedio.Write {
	w := memcachedio.Write{Verb: memcachedio.Add, Name: name, Flags: flagsStamps, Value: slices.Concat(s.Hard[:], s.Soft[:])}
	if item != nil {
		w.Verb, w.CasID = memcachedio.CAS, item.CasID
	}
	return w
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
	items, err := memcachedio.Read(ctx, names)
	if err != nil {
		return nil, err
	}
	absent := slices.Index(items, nil)
	stamps, err := completed(ctx, names, items)
	if err == nil && absent >= 0 {
		// That a server has no CAS is seen only where it has an item.
		_, err = memcachedio.Read(ctx, names[absent:absent+1])
	}
	if err != nil {
		return nil, err
	}
	return stamps, nil
}

// completed returns the stamps in items, which were read under names, and creates those
// that are absent. What takes their place without being stamps is replaced.
func completed(ctx context.Context, names []memcachedio.Name, items []*memcache.Item) ([]backend.Stamps, error) {
	stamps := stampsOf(items)
	for range mostTurns {
		var absent []int
		var writes []memcachedio.Write
		for i := range stamps {
			if !complete(stamps[i]) {
				stamps[i] = newStamps()
				absent = append(absent, i)
				writes = append(writes, storing(names[i], items[i], stamps[i]))
			}
		}
		outcomes, err := memcachedio.WriteAll(ctx, writes)
		if err != nil && !memcachedio.Broken(err) {
			return nil, err
		}
		// Where somebody else was first, or nothing is known, the next read tells.
		var open []memcachedio.Name
		var at []int
		for j, i := range absent {
			if err != nil || outcomes[j] != memcachedio.Done {
				open, at = append(open, names[i]), append(at, i)
			}
		}
		if len(open) == 0 {
			return stamps, nil
		}
		again, err := memcachedio.Read(ctx, open)
		if err != nil {
			return nil, err
		}
		for j, i := range at {
			items[i], stamps[i] = again[j], stampsIn(again[j])
		}
	}
	return nil, errBusyStamps
}

// Renew is Renew of [backend.Backend]. A hard one takes one round trip and a soft one
// four, whatever the number of guards: the stamps of a region's guards are all on one
// server, which gets them over one connection, in the order of guards. A hard renewal
// replaces the soft stamp as well, as it does not look what is there.
//
// If it fails, some of the stamps may be renewed, or may be later. It can be repeated.
func (b *Backend) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := b.usable(); err != nil {
		return err
	}
	names := b.namesOf(guards)
	if len(names) == 0 {
		return nil
	}
	renew := renewHard
	if soft {
		renew = func(ctx context.Context, names []memcachedio.Name) error { return renewSoft(ctx, guards, names) }
	}
	err := renew(ctx, names)
	for turn := 1; err != nil && memcachedio.Broken(err) && turn < mostTurns && ctx.Err() == nil; turn++ {
		err = renew(ctx, names)
	}
	return err
}

// renewHard writes stamps that were never sent before over whatever is there. So they
// invalidate, whenever they arrive, and can revive nothing. Which is why it sends other
// ones each time: what was sent twice might arrive again after the next renewal.
func renewHard(ctx context.Context, names []memcachedio.Name) error {
	writes := make([]memcachedio.Write, len(names))
	for i, name := range names {
		writes[i] = storing(name, nil, newStamps())
		writes[i].Verb = memcachedio.Set
	}
	_, err := memcachedio.WriteAll(ctx, writes)
	return err
}

// renewSoft replaces the soft stamps, and the hard ones only where they are gone. It
// reads all and swaps all: the first guard of each region, and then the others, which are
// read when that is done. A swap is refused if the item has changed since it was read, and
// then that did it: nothing changes stamps and leaves the soft one as it is. If the item is
// gone, so is what carries it. And the absent stamps of a tag stay absent.
//
// What is not swapped so may be stamps that were made, or replaced, since they were read,
// by somebody who began before this renewal and proves them with the first guard. So it is
// read after that was renewed: then the proof fails.
func renewSoft(ctx context.Context, guards []backend.Guard, names []memcachedio.Name) error {
	var firsts, others []int
	known := map[string]bool{}
	for i, guard := range guards {
		if known[guard.Region] {
			others = append(others, i)
		} else {
			known[guard.Region] = true
			firsts = append(firsts, i)
		}
	}
	if err := swapSoft(ctx, guards, names, firsts); err != nil || len(others) == 0 {
		return err
	}
	return swapSoft(ctx, guards, names, others)
}

func swapSoft(ctx context.Context, guards []backend.Guard, names []memcachedio.Name, at []int) error {
	some := make([]memcachedio.Name, len(at))
	for j, i := range at {
		some[j] = names[i]
	}
	items, err := memcachedio.Read(ctx, some)
	if err != nil {
		return err
	}
	writes := make([]memcachedio.Write, 0, len(some))
	for j, item := range items {
		if item == nil && guards[at[j]].Tag != "" {
			continue
		}
		next := newStamps()
		if now := stampsIn(item); complete(now) {
			next.Hard = now.Hard
		}
		writes = append(writes, storing(some[j], item, next))
	}
	_, err = memcachedio.WriteAll(ctx, writes)
	return err
}
