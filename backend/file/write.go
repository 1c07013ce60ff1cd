package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/filelock"
	"github.com/dogpile-go/dogpile/lock"
)

// blockSize is what the size of a file is rounded up to.
const blockSize = 4 << 10

// Set is Set of [backend.Backend]. An item that could not be written has an Err that
// wraps what the file system said, such as syscall.ENOSPC, and leaves what was stored
// before as it was.
func (b *Backend) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	names := make([]filelock.Name, len(items))
	for i := range items {
		names[i] = b.nameOf(items[i].Key)
	}
	stamps := b.stampsOf(guards)
	// Before anything is stored that carries them.
	if err := b.keepFor(ctx, stamps, items); err != nil {
		return nil, explained(ctx, err)
	}
	// Items of one key have one folder, so they are stored in their order.
	err := filelock.ByShard(names, func(_ int, places []int) error {
		for _, i := range places {
			item := &items[i]
			item.Err = b.store(ctx, names[i], item)
			// What is true of every item is an error of the Set.
			switch {
			case item.Err == nil:
			case errors.Is(item.Err, backend.ErrClosed):
				return backend.ErrClosed
			case ctx.Err() != nil:
				return context.Cause(ctx)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now, err := b.stampsNow(ctx, stamps)
	return now, explained(ctx, err)
}

// store does what Set does with one item.
func (b *Backend) store(ctx context.Context, name filelock.Name, item *backend.Item) error {
	shard := name.Shard()
	keep := func() error { return nil }
	switch {
	case item.TTL < 0:
		return fmt.Errorf("file: the TTL is negative (%v); give zero to keep the entry for ever", item.TTL)
	case item.Lease != nil && item.Lease.Key() != item.Key.String():
		return backend.ErrLeaseLost
	case item.Entry != nil:
		size := blocks(int64(headerSize + len(item.Entry.Data)))
		if size > b.maxSize/4 {
			return fmt.Errorf("%w: it has %d bytes", ErrTooLarge, len(item.Entry.Data))
		}
		// Written before the folder is locked: that takes as long as the disk likes.
		var temp string
		err := b.space.Write(ctx, func() (err error) {
			temp, err = b.writeTemp(shard, false, time.Time{}, appendHeader(nil, expiry(item.TTL), item.Entry.Data), item.Entry.Data)
			return err
		})
		if err != nil {
			b.account(0)      // so that there is a sweeper at all
			b.sweeper.hurry() // the disk may be full
			return explained(ctx, err)
		}
		defer func() { _ = os.Remove(temp) }() // if it was not renamed
		keep = func() error { return rename(temp, b.space.Path(name, valueSuffix)) }
		b.account(size)
	}
	err := b.space.Locked(ctx, shard, func() error {
		if item.Lease != nil {
			return b.member.FinishLocked(name, item.Lease.Token(), keep)
		}
		// In this order, so that nobody's late value can come after this one.
		if err := b.member.VoidLocked(name); err != nil {
			return err
		}
		return keep()
	})
	if errors.Is(err, lock.ErrLost) {
		return backend.ErrLeaseLost
	}
	return explained(ctx, err)
}

// Delete is Delete of [backend.Backend]. When it returns nil, the entries are gone from
// the disk.
func (b *Backend) Delete(ctx context.Context, keys []backend.Key) error {
	if err := b.usable(); err != nil {
		return err
	}
	names := b.namesOf(keys)
	return explained(ctx, filelock.ByShard(names, func(shard int, places []int) error {
		err := b.space.Locked(ctx, shard, func() error {
			for _, i := range places {
				if err := b.member.VoidLocked(names[i]); err != nil {
					return err
				}
				if err := os.Remove(b.space.Path(names[i], valueSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		// Also if there was nothing: a sweep may have removed it just now, and that
		// must not come undone any more either.
		return b.space.Sync(ctx, shard)
	}))
}

// writeTemp writes a file of two parts that is to be renamed, and returns its path. at is
// its modification time, if it is to have another than now.
func (b *Backend) writeTemp(shard int, lasting bool, at time.Time, head, data []byte) (string, error) {
	f, err := b.space.NewTemp(shard)
	if err != nil {
		return "", err
	}
	if len(head)+len(data) <= blockSize {
		head, data = append(head, data...), nil // one system call
	}
	if _, err = f.Write(head); err == nil && len(data) > 0 {
		_, err = f.Write(data)
	}
	if err == nil && !at.IsZero() {
		err = os.Chtimes(f.Name(), at, at)
	}
	if err == nil && lasting {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// rename puts a file that was written in its place, or removes it if that fails.
func rename(from, to string) error {
	err := os.Rename(from, to)
	if err != nil {
		_ = os.Remove(from)
	}
	return err
}

// blocks returns what a file of a size takes on the disk.
func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }
