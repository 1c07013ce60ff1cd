package memcached

import (
	"context"
	"errors"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// How often, and for how long, a writer waits for another one to be done before it
// takes the lock away from it.
const (
	courtesies = 20
	courtesy   = time.Millisecond
)

// store stores a value that was not created under a lease, whatever is there. It takes
// the lock, from whoever creates the value, so that it learns of deletes and of other
// writers while it is at work.
func (b *Backend) store(ctx context.Context, w *writing) error {
	mine := b.leases.Of([]memcachedio.Name{w.lock})
	f, err := b.divide(ctx, w.place, w.form, w.item.TTL)
	if err != nil {
		return err
	}
	held, err := b.seize(ctx, w.item.Key.String(), w.lock, &w.value)
	if err != nil {
		return err
	}
	lock, err := b.swap(ctx, w, f, held.Token(), true)
	switch {
	case errors.Is(err, errTokenGone):
		// A Delete or another Set came after this one, somebody has ended all leases, or
		// the server has lost the lock. What is there may be older than this value, and
		// must not stay, nor be stored again by whoever has read it under a lease.
		b.leases.GiveBack([]*memcachedio.Held{held})
		if err := b.delete(ctx, w.item.Key.String(), w.lock, w.value); err != nil {
			return err
		}
	case err != nil:
		b.leases.GiveBack([]*memcachedio.Held{held})
		return err
	default:
		b.free(ctx, held, lock)
	}
	b.leases.Voided(mine, []memcachedio.Name{w.lock})
	return nil
}

// seize takes the lock of a key for a write, from a creator at once and from another
// writer after a moment. If value is given it puts a stub where no value is at the same
// time, since the write will need an item to replace.
func (b *Backend) seize(ctx context.Context, text string, lock memcachedio.Name, value *memcachedio.Name) (*memcachedio.Held, error) {
	waited := 0
	for range mostTries + courtesies {
		held := b.leases.Ask(text, lock, memcachedio.Writer)
		if held == nil {
			return nil, backend.ErrClosed
		}
		taken, err := b.seizeOnce(ctx, held, value, &waited)
		if taken {
			return held, nil
		}
		if err == nil {
			b.leases.Forget(held)
			continue
		}
		b.leases.GiveBack([]*memcachedio.Held{held}) // it may yet be taken
		if !memcachedio.Broken(err) {
			return nil, err
		}
	}
	return nil, errRestless
}

// seizeOnce makes one attempt with a token of its own, which is not used again.
func (b *Backend) seizeOnce(ctx context.Context, held *memcachedio.Held, value *memcachedio.Name, waited *int) (bool, error) {
	name := held.Name()
	var outcome memcachedio.Outcome
	requests := 1
	if value != nil {
		requests = 2
	}
	err := memcachedio.Each(ctx, requests, func(i int) (err error) {
		if i == 0 {
			if outcome, err = name.Server.Add(ctx, held.Item()); memcachedio.Unsent(err) {
				b.leases.Forget(held)
			}
			return err
		}
		_, err = value.Server.Add(ctx, stub(value.Text, b.stubExpiration()))
		return err
	})
	if err != nil || outcome == memcachedio.Done {
		return outcome == memcachedio.Done, err
	}
	lock, err := name.Server.GetOne(ctx, name.Text)
	if err != nil || lock == nil {
		return false, err
	}
	if token := memcachedio.TokenOf(lock); token != "" && token[0] == memcachedio.Writer && *waited < courtesies {
		*waited++
		select {
		case <-time.After(courtesy):
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	item := held.Item()
	item.CasID = lock.CasID
	outcome, err = name.Server.CAS(ctx, item)
	return outcome == memcachedio.Done, err
}
