package memcached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// mostTries is how often a value is sent again because its item has changed since it
// was read. Each time somebody else has done something.
const mostTries = 16

// errRestless is the Err of an item whose write was never the first.
var errRestless = errors.New("memcached: the item changed, or was evicted, each time before the value could be stored; do very many write this key at once, or is the server's memory too small?")

// writing is one item of a Set on its way.
type writing struct {
	item  backend.Item
	place memcachedio.Place
	value memcachedio.Name
	lock  memcachedio.Name
	form  form
	held  *memcachedio.Held // the lease it is stored under
	err   error
}

// written is what a Set comes back with.
type written struct {
	errs   []error
	stamps []backend.Stamps
}

// Set is Set of [backend.Backend].
func (b *Backend) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	names := b.namesOf(guards)
	writes := make([]*writing, len(items))
	for i := range items {
		place := b.place(items[i].Key)
		writes[i] = &writing{
			item: items[i], place: place,
			value: place.Name(memcachedio.Value), lock: place.Name(memcachedio.Lease),
		}
	}
	done, err := memcachedio.Call(ctx, b.client, func(ctx context.Context) (written, error) {
		return b.set(ctx, writes, names)
	}, nil)
	if err != nil {
		return nil, err
	}
	for i, err := range done.errs {
		items[i].Err = err
	}
	return done.stamps, nil
}

func (b *Backend) set(ctx context.Context, writes []*writing, stamps []memcachedio.Name) (written, error) {
	for _, w := range writes {
		w.err = b.prepare(w)
	}
	err := memcachedio.Each(ctx, len(writes), func(i int) error {
		w := writes[i]
		switch {
		case w.err != nil:
		case w.item.Lease != nil && w.item.Entry != nil:
			w.err = b.publish(ctx, w)
		case w.item.Lease != nil:
			w.err = b.giveUp(ctx, w)
		case w.item.Entry != nil:
			w.err = b.store(ctx, w)
		default:
			w.err = b.void(ctx, w)
		}
		// An item that fails on its own is no failure of the others.
		return b.usable()
	})
	result := written{errs: make([]error, len(writes))}
	for i, w := range writes {
		result.errs[i] = w.err
	}
	if err != nil || len(stamps) == 0 {
		return result, err
	}
	items, err := memcachedio.Read(ctx, stamps)
	result.stamps = stampsOf(items)
	return result, err
}

// prepare refuses what cannot be stored, before anything is sent.
func (b *Backend) prepare(w *writing) error {
	if w.item.TTL < 0 {
		return fmt.Errorf("memcached: the TTL is negative (%v); give zero to keep the entry for ever", w.item.TTL)
	}
	if w.item.Lease != nil {
		// A proxy may have wrapped the lease, so it is known by key and token.
		if w.held = b.leases.Find(w.lock, w.item.Lease.Token()); w.held == nil {
			return backend.ErrLeaseLost
		}
	}
	if w.item.Entry == nil {
		return nil
	}
	var err error
	w.form, err = b.formOf(w.item.Entry.Data)
	return err
}

// publish stores a value under the lease that it was created under.
func (b *Backend) publish(ctx context.Context, w *writing) error {
	if !w.held.End() {
		return backend.ErrLeaseLost
	}
	f, err := b.divide(ctx, w.place, w.form, w.item.TTL)
	if err != nil {
		w.held.Ended(err)
		return err
	}
	lock, err := b.swap(ctx, w, f, w.held.Token(), false)
	switch {
	case errors.Is(err, errTokenGone):
		w.held.Ended(memcachedio.ErrGone)
		return backend.ErrLeaseLost
	case err != nil:
		w.held.Ended(err)
		return err
	}
	b.free(ctx, w.held, lock)
	return nil
}

// free gives back the lock of a value that was stored.
func (b *Backend) free(ctx context.Context, held *memcachedio.Held, lock *memcache.Item) {
	if err := memcachedio.Free(ctx, held.Name(), held.Token(), lock); err != nil && !errors.Is(err, memcachedio.ErrGone) {
		b.leases.GiveBack([]*memcachedio.Held{held})
		return
	}
	held.Ended(nil)
}

// errTokenGone says that the lock has not the writer's token any more.
var errTokenGone = errors.New("memcached: the lock was lost")

// swap puts a value in the place of what is there, as long as the lock has the token.
// The value's item is read before the lock's, in one request: see the package's comment
// for why that matters. It returns the lock's item as it was read last.
//
// With once, a value that has vanished since the first read is not replaced: it may
// have been deleted meanwhile, and then what is stored is to be gone as well.
func (b *Backend) swap(ctx context.Context, w *writing, f form, token string, once bool) (lock *memcache.Item, err error) {
	var before *memcache.Item // what was there at the first read
	sent := false             // an attempt of which it is not known what became of it
	for range mostTries {
		items, err := w.value.Server.Get(ctx, w.value.Text, w.lock.Text)
		if err != nil {
			return nil, err
		}
		value, lock := items[0], items[1]
		switch {
		case sent && value != nil && value.Flags == f.flags && bytes.Equal(value.Value, f.data):
			return lock, nil
		case memcachedio.TokenOf(lock) != token:
			return lock, errTokenGone
		case once && before != nil && (value == nil || value.Flags == flagsStub && !bytes.Equal(value.Value, before.Value)):
			return lock, nil
		case value == nil:
			_, err := w.value.Server.Add(ctx, stub(w.value.Text, b.stubExpiration()))
			if err != nil && !memcachedio.Broken(err) {
				return lock, err
			}
			continue
		}
		if before == nil {
			before = value
		}
		outcome, err := w.value.Server.CAS(ctx, &memcache.Item{
			Key: w.value.Text, Value: f.data, Flags: f.flags,
			Expiration: memcachedio.Expiration(w.item.TTL, time.Now()), CasID: value.CasID,
		})
		switch {
		case err != nil && !memcachedio.Broken(err):
			return lock, err
		case err != nil:
			sent = true
		case outcome == memcachedio.Done:
			return lock, nil
		}
	}
	return nil, errRestless
}

// giveUp ends a lease without storing anything.
func (b *Backend) giveUp(ctx context.Context, w *writing) error {
	if !w.held.End() {
		return backend.ErrLeaseLost
	}
	err := memcachedio.Free(ctx, w.held.Name(), w.held.Token(), nil)
	w.held.Ended(err)
	if errors.Is(err, memcachedio.ErrGone) {
		return backend.ErrLeaseLost
	}
	return err
}

// void ends the lease of a key, whoever has it, and leaves what is stored. Whatever its
// holder has sent by then is refused. The lock of a writer stays: nobody has the lease
// meanwhile, and who took it then would read what is about to be replaced or deleted.
func (b *Backend) void(ctx context.Context, w *writing) error {
	mine := b.leases.Of([]memcachedio.Name{w.lock})
	lock, err := w.lock.Server.GetOne(ctx, w.lock.Text)
	if err != nil {
		return err
	}
	if token := memcachedio.TokenOf(lock); lock != nil && (token == "" || token[0] != memcachedio.Writer) {
		if err := memcachedio.Free(ctx, w.lock, token, lock); err != nil && !errors.Is(err, memcachedio.ErrGone) {
			return err
		}
	}
	if _, err := w.value.Server.Bump(ctx, w.value.Text); err != nil {
		return err
	}
	b.leases.Voided(mine, []memcachedio.Name{w.lock})
	return nil
}
