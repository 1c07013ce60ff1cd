package memcached

import (
	"context"

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
// that the next creator does not find it.
func (b *Backend) delete(ctx context.Context, text string, lock, value memcachedio.Name) error {
	held, err := b.seize(ctx, text, lock, nil)
	if err != nil {
		// A server without memory can still delete.
		if err := lock.Server.Delete(ctx, lock.Text); err != nil {
			return err
		}
	}
	if err := value.Server.Delete(ctx, value.Text); err != nil {
		if held != nil {
			b.leases.GiveBack([]*memcachedio.Held{held})
		}
		return err
	}
	if held == nil {
		return nil
	}
	defer b.leases.Forget(held)
	// Nobody but another writer can have taken it away meanwhile, whose value is then
	// not stored.
	return lock.Server.Delete(ctx, lock.Text)
}
