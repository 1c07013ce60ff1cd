// Package null is a backend that stores nothing. It takes the cache away from a
// program without changing the program: every read is a miss, while leases,
// stamps and the rules of publishing hold as everywhere, so that a region over it
// still creates one value for all who ask for it at the same time.
//
// Whoever writes a backend for one process may embed this one for all that is not the
// keeping of entries; see package backend.
//
// Importing the package registers the URL "null:", which has no options.
package null

import (
	"context"
	"net/url"
	"time"

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
	_ = backend.Register("null", Open)
}

// Backend stores nothing. Open it with [New]. All methods are safe for concurrent
// use and, except Wait, pay no attention to their ctx.
type Backend struct {
	core *inproc.Core
}

// New returns a Backend that shares leases and stamps with no other.
func New() *Backend { return &Backend{core: inproc.New()} }

// Open is the [backend.Opener] of the scheme "null". It returns an error for a URL
// with an address or with options.
func Open(u *url.URL) (backend.Backend, error) {
	if _, err := inproc.Options(u); err != nil {
		return nil, err
	}
	return New(), nil
}

// Bytes returns false: encoding what is thrown away would be a waste.
func (b *Backend) Bytes() bool { return false }

// Get finds nothing and returns the stamps of guards.
func (b *Backend) Get(_ context.Context, _ backend.Key, guards []backend.Guard) (backend.Found, error) {
	if err := b.core.Open(); err != nil {
		return backend.Found{}, err
	}
	return backend.Found{Stamps: b.core.Stamps(guards)}, nil
}

// GetMulti finds nothing and returns the stamps of guards.
func (b *Backend) GetMulti(_ context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if err := b.core.Open(); err != nil {
		return nil, nil, err
	}
	return make([]*backend.Entry, len(keys)), b.core.Stamps(guards), nil
}

// Acquire takes the leases of keys that nobody holds; its grants have no entries.
func (b *Backend) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	return b.core.Acquire(ctx, keys, guards, nothing)
}

// Wait blocks while the leases of all keys are held.
func (b *Backend) Wait(ctx context.Context, keys []backend.Key) error {
	return b.core.Wait(ctx, keys)
}

// Set stores nothing, but ends or voids leases and refuses items as if it did.
func (b *Backend) Set(_ context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	for i := range items {
		items[i].Err = b.core.Publish(&items[i], func() {})
	}
	if err := b.core.Open(); err != nil {
		return nil, err
	}
	return b.core.Stamps(guards), nil
}

// Delete voids the leases of keys.
func (b *Backend) Delete(_ context.Context, keys []backend.Key) error {
	for _, key := range keys {
		if err := b.core.Remove(key, func() {}); err != nil {
			return err
		}
	}
	return b.core.Open()
}

// Stamps returns the current stamps of guards.
func (b *Backend) Stamps(_ context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.core.Open(); err != nil {
		return nil, err
	}
	return b.core.Stamps(guards), nil
}

// Renew replaces one stamp of each guard.
func (b *Backend) Renew(_ context.Context, guards []backend.Guard, soft bool) error {
	if err := b.core.Open(); err != nil {
		return err
	}
	b.core.Renew(guards, soft)
	return nil
}

// In returns the view of one region, in which nothing is ever found.
func (b *Backend) In(region string) backend.LocalRegion {
	return space{b.core, region}
}

// Close ends all leases and wakes all waiters. It returns nil.
func (b *Backend) Close() error {
	b.core.Close()
	return nil
}

func nothing(backend.Key) *backend.Entry { return nil }

// space is one region's share of nothing.
type space struct {
	core   *inproc.Core
	region string
}

func (space) Peek(string) (*backend.Entry, time.Duration)      { return nil, 0 }
func (space) PeekBytes([]byte) (*backend.Entry, time.Duration) { return nil, 0 }
func (s space) Live() *backend.LiveStamps                      { return s.LiveTag("") }
func (s space) LiveTag(tag string) *backend.LiveStamps {
	return s.core.Live(backend.Guard{Region: s.region, Tag: tag})
}
