package file

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/filelock"
)

// Stamps is Stamps of [backend.Backend].
func (b *Backend) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if len(guards) == 0 {
		return nil, nil
	}
	var stamps []backend.Stamps
	err := b.space.Read(ctx, func() (err error) {
		stamps, err = b.readStamps(guards)
		return err
	})
	if err != nil {
		return nil, explained(ctx, err)
	}
	for i, guard := range guards {
		if stamps[i] != (backend.Stamps{}) {
			continue
		}
		name := b.stampOf(guard)
		err := b.space.Locked(ctx, name.Shard(), func() (err error) {
			// Somebody may have made them meanwhile.
			if stamps[i], err = b.readStamp(name); err != nil || stamps[i] != (backend.Stamps{}) {
				return err
			}
			stamps[i] = newStamps()
			return b.writeStamp(name, stamps[i], false)
		})
		if err != nil {
			return nil, explained(ctx, err)
		}
	}
	return stamps, nil
}

// Renew is Renew of [backend.Backend]. When it returns nil, the new stamps have reached
// the disk.
func (b *Backend) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := b.usable(); err != nil {
		return err
	}
	names := make([]filelock.Name, len(guards))
	for i, guard := range guards {
		names[i] = b.stampOf(guard)
	}
	return explained(ctx, filelock.ByShard(names, func(shard int, places []int) error {
		for _, i := range places {
			if err := b.renew(ctx, names[i], soft); err != nil {
				return err
			}
		}
		return b.space.Sync(ctx, shard)
	}))
}

// renew replaces one stamp of a guard.
func (b *Backend) renew(ctx context.Context, name filelock.Name, soft bool) error {
	return b.space.Locked(ctx, name.Shard(), func() error {
		stamps, err := b.readStamp(name)
		if err != nil {
			return err
		}
		switch {
		case stamps == (backend.Stamps{}):
			stamps = newStamps()
		case soft:
			stamps.Soft = backend.NewStamp()
		default:
			stamps.Hard = backend.NewStamp()
		}
		return b.writeStamp(name, stamps, true)
	})
}

// writeStamp stores the stamps of a guard, on the disk if they have to last. Stamps that
// were only made need not: if they get lost, so do the entries that carry them.
func (b *Backend) writeStamp(name filelock.Name, stamps backend.Stamps, lasting bool) error {
	temp, err := b.writeTemp(name.Shard(), lasting, formatStamps(stamps), nil)
	if err != nil {
		return err
	}
	return rename(temp, b.space.Path(name, stampSuffix))
}

// readStamps returns the stamps of guards, zero ones for those that have none.
func (b *Backend) readStamps(guards []backend.Guard) ([]backend.Stamps, error) {
	if len(guards) == 0 {
		return nil, nil
	}
	stamps := make([]backend.Stamps, len(guards))
	for i, guard := range guards {
		var err error
		if stamps[i], err = b.readStamp(b.stampOf(guard)); err != nil {
			return nil, err
		}
	}
	return stamps, nil
}

func (b *Backend) readStamp(name filelock.Name) (backend.Stamps, error) {
	var buf [stampsSize + 1]byte
	path := b.space.Path(name, stampSuffix)
	n, err := filelock.Read(path, buf[:])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return backend.Stamps{}, err
	}
	if err == nil && rand.Uint32()%noted == 0 {
		use(path)
	}
	return parseStamps(buf[:n]), nil
}

func newStamps() backend.Stamps {
	return backend.Stamps{Hard: backend.NewStamp(), Soft: backend.NewStamp()}
}
