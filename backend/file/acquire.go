package file

import (
	"context"
	"errors"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/filelock"
	"github.com/dogpile-go/dogpile/lock"
)

// Acquire is Acquire of [backend.Backend].
func (b *Backend) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, nil, err
	}
	grants := make([]backend.Grant, len(keys))
	stamps, err := b.acquire(ctx, keys, guards, grants)
	if err != nil {
		for _, grant := range grants {
			if grant.Lease != nil {
				_ = grant.Lease.Release(ctx) // what fails is tried again in the background
			}
		}
		return nil, nil, explained(ctx, err)
	}
	return grants, stamps, nil
}

// acquire fills grants. Those that it made before it failed are there.
func (b *Backend) acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard, grants []backend.Grant) ([]backend.Stamps, error) {
	names := b.namesOf(keys)
	err := filelock.ByShard(names, func(shard int, places []int) error {
		return b.space.Locked(ctx, shard, func() error {
			for _, i := range places {
				lease, err := b.member.TakeLocked(names[i], keys[i].String())
				switch {
				case err == nil:
					grants[i].Lease = lease
				case !errors.Is(err, lock.ErrHeld):
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if err := b.reread(ctx, names, grants); err != nil {
		return nil, err
	}
	return b.Stamps(ctx, guards)
}

// reread reads the entries of what was granted.
func (b *Backend) reread(ctx context.Context, names []filelock.Name, grants []backend.Grant) error {
	return b.space.Read(ctx, func() (err error) {
		for i := range grants {
			if grants[i].Lease == nil {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if grants[i].Entry, err = b.read(names[i]); err != nil {
				return err
			}
		}
		return nil
	})
}
