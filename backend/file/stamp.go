package file

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

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
	all := b.stampsOf(guards)
	// Those that a sweep would soon remove are kept for who asks now.
	if err := b.keep(ctx, all, time.Now().Add(-tagSlack/2), time.Now()); err != nil {
		return nil, explained(ctx, err)
	}
	stamps, err := b.stampsNow(ctx, all)
	if err != nil {
		return nil, explained(ctx, err)
	}
	var absent []stamping
	var at []int
	for i := range stamps {
		if stamps[i] == (backend.Stamps{}) {
			absent, at = append(absent, all[i]), append(at, i)
		}
	}
	err = byFolder(absent, func(shard int, places []int) error {
		return b.space.Locked(ctx, shard, func() (err error) {
			for _, i := range places {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if stamps[at[i]], err = b.createStamp(absent[i]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, explained(ctx, err)
	}
	return stamps, nil
}

// createStamp makes the stamps of a guard, whose folder is locked, unless somebody else
// has made them meanwhile.
func (b *Backend) createStamp(s stamping) (backend.Stamps, error) {
	stamps, err := b.readStamp(s)
	if err != nil || stamps != (backend.Stamps{}) {
		return stamps, err
	}
	stamps = newStamps()
	b.account(blockSize)
	return stamps, b.writeStamp(s, stamps, false, time.Time{})
}

// Renew is Renew of [backend.Backend]. When it returns nil, the new stamps have reached
// the disk. It takes as long as the disk needs to write one file for each guard that has
// stamps; tags that have none still have none then.
func (b *Backend) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := b.usable(); err != nil {
		return err
	}
	// The first guard of each region, and when that is on the disk the others.
	var firsts, others []backend.Guard
	known := map[string]bool{}
	for _, guard := range guards {
		if known[guard.Region] {
			others = append(others, guard)
			continue
		}
		known[guard.Region] = true
		firsts = append(firsts, guard)
	}
	err := b.renewAll(ctx, b.stampsOf(firsts), soft)
	if err == nil {
		err = b.renewAll(ctx, b.stampsOf(others), soft)
	}
	return explained(ctx, err)
}

func (b *Backend) renewAll(ctx context.Context, all []stamping, soft bool) error {
	return byFolder(all, func(shard int, places []int) error {
		for _, i := range places {
			if err := b.renew(ctx, all[i], soft); err != nil {
				return err
			}
		}
		// Also if there was nothing: a sweep may have removed it just now, and that must
		// not come undone any more.
		return b.space.Sync(ctx, shard)
	})
}

// renew replaces one stamp of a guard. The stamps of a tag that has none stay absent:
// nothing that is stored can carry any, and whoever makes them, even at this moment, has
// not had them before this renewal began.
func (b *Backend) renew(ctx context.Context, s stamping, soft bool) error {
	return b.space.Locked(ctx, s.Shard(), func() error {
		stamps, err := b.readStamp(s)
		if err != nil {
			return err
		}
		switch {
		case stamps == (backend.Stamps{}) && s.ofTag():
			return nil
		case stamps == (backend.Stamps{}):
			stamps = newStamps()
		case soft:
			stamps.Soft = backend.NewStamp()
		default:
			stamps.Hard = backend.NewStamp()
		}
		var until time.Time
		if s.ofTag() {
			until = b.keptUntil(s)
		}
		err = b.writeStamp(s, stamps, true, until)
		if err != nil && !soft {
			// The disk may be full. What is gone invalidates as well, and needs no room.
			if gone := os.Remove(b.pathOf(s)); gone == nil || errors.Is(gone, fs.ErrNotExist) {
				return nil
			}
		}
		return err
	})
}

// writeStamp stores the stamps of a guard, on the disk if they have to last. Stamps that
// were only made need not: if they get lost, so do the entries that carry them. until is
// what keep notes; zero stands for now.
func (b *Backend) writeStamp(s stamping, stamps backend.Stamps, lasting bool, until time.Time) error {
	temp, err := b.writeTemp(s.Shard(), lasting, until, formatStamps(stamps), nil)
	if err != nil {
		return err
	}
	return rename(temp, b.pathOf(s))
}

// stampsNow returns the current stamps, zero ones where there are none.
func (b *Backend) stampsNow(ctx context.Context, all []stamping) (stamps []backend.Stamps, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	err = b.space.Read(ctx, func() (err error) {
		stamps, err = b.readStamps(ctx, all)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stamps, nil
}

func (b *Backend) readStamps(ctx context.Context, all []stamping) ([]backend.Stamps, error) {
	if len(all) == 0 {
		return nil, nil
	}
	stamps := make([]backend.Stamps, len(all))
	for i, s := range all {
		if i > 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		if stamps[i], err = b.readStamp(s); err != nil {
			return nil, err
		}
	}
	return stamps, nil
}

func (b *Backend) readStamp(s stamping) (backend.Stamps, error) {
	var buf [stampsSize + 1]byte
	path := b.pathOf(s)
	n, err := filelock.Read(path, buf[:])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return backend.Stamps{}, err
	}
	if err == nil && !s.ofTag() && rand.Uint32()%noted == 0 {
		use(path)
	}
	return parseStamps(buf[:n]), nil
}

func newStamps() backend.Stamps {
	return backend.Stamps{Hard: backend.NewStamp(), Soft: backend.NewStamp()}
}

// keptUntil returns what keep has noted, or now if that is later.
func (b *Backend) keptUntil(s stamping) time.Time {
	now := time.Now()
	if info, err := os.Lstat(b.pathOf(s)); err == nil && info.ModTime().After(now) {
		return info.ModTime()
	}
	return now
}
