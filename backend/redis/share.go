package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

var (
	_ backend.Backend = (*shared)(nil)
	_ backend.Clock   = (*shared)(nil)
)

// shared is the view of a backend in the layout of another library. It shares the backend's
// connections, batches and clock, and is a member of a fleet of its own: that of those who
// have locks under the layout's prefix.
type shared struct {
	b      *Backend
	prefix string        // of locks
	steal  time.Duration // see codec.Layout.StealAfter
	member *fleet.Member
	others holders
}

// Share is Share of [backend.Sharer]. It does not wait for the server. A layout that cannot
// be used, and a cluster, are refused with an error that wraps [ErrConfig]: the lock of a
// value has another name than the value, without braces, and so is on another server.
// After Close it returns [backend.ErrClosed]. It is safe for concurrent use.
//
// The package comment says what the view stores. Each view keeps a connection of its own to
// the server.
func (b *Backend) Share(layout codec.Layout) (backend.Backend, error) {
	switch {
	case b.broken != nil:
		return nil, b.broken
	case b.client.Cluster():
		return nil, fmt.Errorf("%w: a cluster cannot be shared with another library, whose locks are not on the servers of their values; use a single server, or one with sentinels", ErrConfig)
	case layout.LockPrefix == "":
		return nil, fmt.Errorf("%w: Layout.LockPrefix is empty, so locks would have the names of values", ErrConfig)
	case layout.StealAfter < 0:
		return nil, fmt.Errorf("%w: Layout.StealAfter is negative (%v); zero means never", ErrConfig, layout.StealAfter)
	}
	b.viewsMu.Lock()
	defer b.viewsMu.Unlock()
	if b.views == nil {
		return nil, backend.ErrClosed
	}
	v := b.views[layout]
	if v == nil {
		v = &shared{
			b: b, prefix: layout.LockPrefix, steal: layout.StealAfter,
			member: fleet.Join(fleet.Config{
				Client:  b.client,
				Prefix:  layout.LockPrefix,
				Foreign: true,
				TTL:     b.ttl,
				Closed:  backend.ErrClosed,
				Logger:  b.logger,
			}),
		}
		b.views[layout] = v
	}
	return v, nil
}

// closeViews ends all views, and returns what waits until they have ended.
func (b *Backend) closeViews() *sync.WaitGroup {
	b.viewsMu.Lock()
	views := b.views
	b.views = nil
	b.viewsMu.Unlock()
	closing := new(sync.WaitGroup)
	for _, v := range views {
		closing.Go(v.member.Close)
	}
	return closing
}

// Bytes is Bytes of [backend.Backend].
func (v *shared) Bytes() bool { return true }

// Now is Now of [backend.Clock].
func (v *shared) Now() time.Time { return v.b.Now() }

// Close does nothing: the backend closes its views.
func (v *shared) Close() error { return nil }

// Err returns what is wrong with the configuration, or nil.
func (v *shared) Err() error { return v.b.Err() }

// Ping is Ping of [Backend].
func (v *shared) Ping(ctx context.Context) error { return v.b.Ping(ctx) }

// Stamps returns none.
func (v *shared) Stamps(ctx context.Context, _ []backend.Guard) ([]backend.Stamps, error) {
	return nil, v.b.usable(ctx)
}

// Renew returns [backend.ErrNoStamps].
func (v *shared) Renew(ctx context.Context, _ []backend.Guard, _ bool) error {
	if err := v.b.usable(ctx); err != nil {
		return err
	}
	return backend.ErrNoStamps
}

func (v *shared) lockOf(key backend.Key) string { return v.prefix + key.Name }

// Get is Get of [backend.Backend], without stamps.
func (v *shared) Get(ctx context.Context, key backend.Key, _ []backend.Guard) (backend.Found, error) {
	b := v.b
	if err := b.usable(ctx); err != nil {
		return backend.Found{}, err
	}
	if key.Name == "" { // which says something else in a batch
		entries, _, err := v.GetMulti(ctx, []backend.Key{key}, nil)
		if err != nil {
			return backend.Found{}, err
		}
		return backend.Found{Entry: entries[0]}, nil
	}
	lane := b.readsFor(ctx, key.Name)
	if lane.enter(ctx) {
		found, err := b.readAlone(lane, key.Name, nil)
		return found, b.failed(err)
	}
	r := &read{key: key.Name}
	if err := lane.do(ctx, r); err != nil {
		return backend.Found{}, b.failed(err)
	}
	return backend.Found{Entry: r.entry}, r.err
}

// GetMulti is GetMulti of [backend.Backend], without stamps.
func (v *shared) GetMulti(ctx context.Context, keys []backend.Key, _ []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	b := v.b
	if err := b.usable(ctx); err != nil {
		return nil, nil, err
	}
	if len(keys) == 0 {
		return nil, nil, nil
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.Name
	}
	var values []any
	err := b.client.Run(ctx, func(ctx context.Context) (err error) {
		values, err = b.fetch(ctx, names)
		return err
	})
	if err != nil {
		return nil, nil, b.failed(err)
	}
	entries := make([]*backend.Entry, len(keys))
	for i := range keys {
		if entries[i], err = entryOf(values[i]); err != nil {
			return nil, nil, err
		}
	}
	return entries, nil, nil
}

// Delete is Delete of [backend.Backend]. It leaves the locks of other programs.
func (v *shared) Delete(ctx context.Context, keys []backend.Key) error {
	b := v.b
	if err := b.usable(ctx); err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	names := make([]string, 0, 2*len(keys))
	for _, key := range keys {
		names = append(names, v.lockOf(key), key.Name)
	}
	var calls []*redisio.Call
	err := b.send(ctx, names[0], len(keys)*commandSize, func(batch *redisio.Batch) {
		calls = nil // those of an attempt before were not answered
		for rest := names; len(rest) > 0; {
			n := min(len(rest), 2*deleteSize)
			calls = append(calls, batch.Eval(sharedDeleteScript, rest[:n]))
			rest = rest[n:]
		}
	})
	if err != nil {
		return err
	}
	return b.firstError(ctx, calls)
}
