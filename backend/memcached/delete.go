package memcached

import (
	"context"
	"errors"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// Delete is Delete of [backend.Backend].
func (b *Backend) Delete(ctx context.Context, keys []backend.Key) error {
	if err := b.usable(); err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	places := b.places(keys)
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = key.String()
	}
	_, err := memcachedio.Call(ctx, b.client, func(ctx context.Context) (struct{}, error) {
		locks := make([]memcachedio.Name, len(places))
		for i := range places {
			locks[i] = places[i].Name(memcachedio.Lease)
		}
		mine := b.leases.Of(locks)
		err := memcachedio.Each(ctx, len(places), func(i int) error {
			return b.delete(ctx, texts[i], locks[i], places[i].Name(memcachedio.Value))
		})
		if err == nil {
			b.leases.Voided(mine, locks)
		}
		return struct{}{}, err
	}, nil)
	return err
}

// delete removes a value. The lock is taken from whoever has it first, for the reason
// that the package's comment gives, and it is free again only when the value is gone, so
// that the next creator does not find it. If the lock is lost meanwhile, somebody may have
// found it, and may store it again: then all is done once more.
func (b *Backend) delete(ctx context.Context, text string, lock, value memcachedio.Name) error {
	for range mostTries {
		held, err := b.seize(ctx, text, lock, nil)
		if err != nil {
			// A server without memory can still delete.
			return errors.Join(lock.Server.Delete(ctx, lock.Text), value.Server.Delete(ctx, value.Text))
		}
		var item *memcache.Item
		err = memcachedio.Each(ctx, 2, func(i int) (err error) {
			if i == 0 {
				return value.Server.Delete(ctx, value.Text)
			}
			item, err = lock.Server.GetOne(ctx, lock.Text)
			return err
		})
		if err == nil {
			err = memcachedio.Free(ctx, lock, held.Token(), item)
		}
		switch {
		case err == nil:
			b.leases.Forget(held)
			return nil
		case errors.Is(err, memcachedio.ErrGone):
			b.leases.Forget(held)
		default:
			b.leases.GiveBack([]*memcachedio.Held{held})
			return err
		}
	}
	return errRestless
}
