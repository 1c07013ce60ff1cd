// Package memory is a backend in the process's own memory, bounded by a number of
// entries or of bytes. What is dropped when it is full is chosen by frequency and
// age of use (W-TinyLFU), by the cache of package otter.
//
// Like any cache it may drop an entry before its time, and one that was stored a
// moment ago as well, when it is full.
//
// Importing the package registers the URL "memory:"; see [Open] for its options.
package memory

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/inproc"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Local   = (*Backend)(nil)
)

func init() {
	// It fails only if the program has given the scheme to a backend of its own,
	// which then is what the program wants.
	_ = backend.Register("memory", Open)
}

// Backend keeps entries in memory. Open it with [New] and close it to stop its
// two goroutines. All methods are safe for concurrent use and, except Wait, pay
// no attention to their ctx: nothing else ever waits.
type Backend struct {
	core   *inproc.Core
	config Config
	err    error // what is wrong with config
	clock  *clock
	seed   maphash.Seed
	spaces sync.Map // region → *space

	// entries is nil after Close, and if there is an err. A read so has to look
	// at one word to see that the backend is open and where its entries are.
	entries atomic.Pointer[table]
}

// New returns an empty Backend. A mistake in config is kept: every operation
// returns it, and so does Err, with which region.Configure finds it.
func New(config Config) *Backend {
	b := &Backend{core: inproc.New(), config: config, err: config.check(), seed: maphash.MakeSeed()}
	if b.err != nil {
		return b
	}
	clock := newClock()
	options := &otter.Options[uint64, *stored]{
		Clock:            clock.coarse,
		ExpiryCalculator: otter.ExpiryWritingFunc(clock.lifetime),
	}
	switch {
	case config.MaxBytes > 0:
		options.MaximumWeight = uint64(config.MaxBytes)
		options.Weigher = func(_ uint64, s *stored) uint32 { return s.weight }
	case config.MaxEntries > 0:
		options.MaximumSize = config.MaxEntries
	default:
		options.MaximumSize = defaultMaxEntries
	}
	entries, err := otter.New(options)
	if err != nil {
		clock.coarse.Stop()
		b.err = err
		return b
	}
	b.clock = clock
	b.entries.Store(entries)
	return b
}

// Err returns what is wrong with the Config that New was given, or nil.
// region.Configure asks for it and reports it. Closing changes nothing about it.
func (b *Backend) Err() error { return b.err }

// Bytes returns Config.Copy.
func (b *Backend) Bytes() bool { return b.config.Copy }

// Get returns the entry of key and the current stamps of guards.
func (b *Backend) Get(_ context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	entries, err := b.open()
	if err != nil {
		return backend.Found{}, err
	}
	return backend.Found{Entry: b.read(entries, key), Stamps: b.core.Stamps(guards)}, nil
}

// GetMulti returns the entries of keys and the current stamps of guards.
func (b *Backend) GetMulti(_ context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	entries, err := b.open()
	if err != nil {
		return nil, nil, err
	}
	found := make([]*backend.Entry, len(keys))
	for i, key := range keys {
		found[i] = b.read(entries, key)
	}
	return found, b.core.Stamps(guards), nil
}

// Acquire takes the leases of keys that nobody holds. A lease has no time limit:
// it ends when it is released, used, voided, or when the backend is closed.
func (b *Backend) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	entries, err := b.open()
	if err != nil {
		return nil, nil, err
	}
	return b.core.Acquire(ctx, keys, guards, func(key backend.Key) *backend.Entry { return b.read(entries, key) })
}

// Wait blocks while the leases of all keys are held. It returns the cause of ctx,
// [backend.ErrClosed] or nil.
func (b *Backend) Wait(ctx context.Context, keys []backend.Key) error {
	if _, err := b.open(); err != nil {
		return err
	}
	return b.core.Wait(ctx, keys)
}

// Set stores items. One that is larger than Config.MaxBytes is accepted and not
// kept.
func (b *Backend) Set(_ context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	entries, err := b.open()
	if err != nil {
		return nil, err
	}
	cells := b.core.Cells(guards)
	for i := range items {
		items[i].Err = b.put(entries, &items[i], cells)
	}
	if _, err := b.open(); err != nil {
		return nil, err
	}
	return b.core.Stamps(guards), nil
}

func (b *Backend) put(entries *table, item *backend.Item, cells []*backend.LiveStamps) error {
	// Weighing may take long and may panic, so it is done before any lock is held.
	weight, err := b.weigh(item)
	if err != nil {
		return err
	}
	space := b.in(item.Key.Region)
	return b.core.Publish(item, func() {
		entries.Set(space.hash(item.Key.Name), &stored{
			space:  space,
			since:  b.clock.of(item.Entry.Created),
			name:   item.Key.Name,
			entry:  *item.Entry,
			ttl:    item.TTL,
			cells:  cells,
			weight: weight,
		})
	})
}

// Delete removes the entries of keys and voids their leases.
func (b *Backend) Delete(_ context.Context, keys []backend.Key) error {
	entries, err := b.open()
	if err != nil {
		return err
	}
	for _, key := range keys {
		number := b.in(key.Region).hash(key.Name)
		if err := b.core.Remove(key, func() { entries.Invalidate(number) }); err != nil {
			return err
		}
	}
	return nil
}

// Stamps returns the current stamps of guards.
func (b *Backend) Stamps(_ context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if _, err := b.open(); err != nil {
		return nil, err
	}
	return b.core.Stamps(guards), nil
}

// Renew replaces one stamp of each guard.
func (b *Backend) Renew(_ context.Context, guards []backend.Guard, soft bool) error {
	if _, err := b.open(); err != nil {
		return err
	}
	b.core.Renew(guards, soft)
	return nil
}

// In returns the view of one region. It remains in memory as long as the backend
// does; regions are expected to be few.
func (b *Backend) In(region string) backend.LocalRegion { return b.in(region) }

// Close drops all entries, ends all leases and stops the goroutines. It returns
// nil.
func (b *Backend) Close() error {
	entries := b.entries.Swap(nil)
	if entries == nil {
		return nil
	}
	b.core.Close()
	entries.StopAllGoroutines()
	b.clock.coarse.Stop()
	return nil
}

// open returns the entries, or why there are none.
func (b *Backend) open() (*table, error) {
	if entries := b.entries.Load(); entries != nil {
		return entries, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	return nil, backend.ErrClosed
}

func (b *Backend) read(entries *table, key backend.Key) *backend.Entry {
	if found := b.in(key.Region).lookUp(entries, key.Name); found != nil {
		return &found.entry
	}
	return nil
}
