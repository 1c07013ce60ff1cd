package proxy

import (
	"context"

	"github.com/dogpile-go/dogpile/backend"
)

func (c *chaotic) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (found backend.Found, err error) {
	err = c.through(ctx, "Get", func() (err error) {
		found, err = c.Backend.Get(ctx, key, guards)
		return err
	})
	if err != nil {
		return backend.Found{}, err
	}
	return found, nil
}

func (c *chaotic) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) (entries []*backend.Entry, stamps []backend.Stamps, err error) {
	err = c.through(ctx, "GetMulti", func() (err error) {
		entries, stamps, err = c.Backend.GetMulti(ctx, keys, guards)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return entries, stamps, nil
}

// Acquire gives back the leases whose grant is lost, which on a server would be held until
// they expire: those of a backend in this process never do.
func (c *chaotic) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) (grants []backend.Grant, stamps []backend.Stamps, err error) {
	err = c.through(ctx, "Acquire", func() (err error) {
		grants, stamps, err = c.Backend.Acquire(ctx, keys, guards)
		return err
	})
	if err != nil {
		giveBack(ctx, grants)
		return nil, nil, err
	}
	return grants, stamps, nil
}

func (c *chaotic) Wait(ctx context.Context, keys []backend.Key) error {
	return c.through(ctx, "Wait", func() error { return c.Backend.Wait(ctx, keys) })
}

func (c *chaotic) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) (stamps []backend.Stamps, err error) {
	err = c.through(ctx, "Set", func() (err error) {
		stamps, err = c.Backend.Set(ctx, items, guards)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stamps, nil
}

func (c *chaotic) Delete(ctx context.Context, keys []backend.Key) error {
	return c.through(ctx, "Delete", func() error { return c.Backend.Delete(ctx, keys) })
}

func (c *chaotic) Stamps(ctx context.Context, guards []backend.Guard) (stamps []backend.Stamps, err error) {
	err = c.through(ctx, "Stamps", func() (err error) {
		stamps, err = c.Backend.Stamps(ctx, guards)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stamps, nil
}

func (c *chaotic) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	return c.through(ctx, "Renew", func() error { return c.Backend.Renew(ctx, guards, soft) })
}
