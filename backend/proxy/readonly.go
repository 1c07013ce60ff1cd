package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/inproc"
)

// ErrReadOnly is returned for everything that would change a backend behind [ReadOnly].
var ErrReadOnly = errors.New("proxy: the backend is read-only here; change it where it is not")

// ReadOnly returns a wrapper through which a backend is read and never written to: for a
// staging service that uses production's cache, or a program that looks into it.
//
// GetOrCreate takes what it finds. What is missing or too old it creates, and does not
// store: observers are told so by an UnstoredEvent that wraps [ErrReadOnly]. The callers
// who had come before a creator began share its value. Those who come meanwhile share the
// next one, because without a lease in the backend nobody can say that the key was not
// deleted in between. So each process runs one creator for a key at a time, and as many
// one after the other as are asked for. No lease is taken in the backend, and none there
// is waited for.
//
// Set, Delete, Expire and the invalidations return an error that wraps ErrReadOnly. An
// invalidation that has failed is remembered by its region, as after any failure: this
// process does not use any more what it was about, but creates it for each call, and the
// region tries again in vain, tells its observer, and says so when it is closed. If that
// is not what you want, do not invalidate through a read-only region.
func ReadOnly() func(backend.Backend) backend.Backend {
	return around(nil, func(in inner) backend.Backend {
		return &readOnly{in, inproc.New()}
	})
}

// readOnly calls Get, GetMulti, Bytes and Close of the backend, and nothing else. The
// leases that it grants are its own.
type readOnly struct {
	inner
	leases *inproc.Core
}

func (r *readOnly) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	if len(guards) == 0 {
		// Whoever creates asks for the stamps that the value is to carry. This is Expire,
		// which finds out nothing when it stores again if there is nothing to store.
		return nil, nil, r.refusal()
	}
	nothing := func(backend.Key) *backend.Entry { return nil }
	grants, _, err := r.leases.Acquire(ctx, keys, nil, nothing)
	if err != nil {
		return nil, nil, err
	}
	kept := false
	defer func() {
		if !kept { // also if the backend panics
			giveBack(ctx, grants)
		}
	}()
	var held []backend.Key
	var at []int // where they stand in grants
	for i, g := range grants {
		if g.Lease != nil {
			held, at = append(held, keys[i]), append(at, i)
		}
	}
	entries, stamps, err := r.Backend.GetMulti(ctx, held, guards)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) != len(held) {
		return nil, nil, fmt.Errorf("proxy: the backend has answered for %d keys, and was asked for %d", len(entries), len(held))
	}
	for i, e := range entries {
		grants[at[i]].Entry = e
	}
	kept = true
	return grants, present(stamps), nil
}

// present replaces stamps that are absent by such as nobody else has. They may be
// compared with each other, and then have to differ: what is absent now as it was before
// may have been invalidated in between.
func present(stamps []backend.Stamps) []backend.Stamps {
	stamps = slices.Clone(stamps)
	for i := range stamps {
		if s := &stamps[i]; s.Hard.IsZero() || s.Soft.IsZero() {
			*s = backend.Stamps{Hard: backend.NewStamp(), Soft: backend.NewStamp()}
		}
	}
	return stamps
}

func (r *readOnly) Wait(ctx context.Context, keys []backend.Key) error {
	return r.leases.Wait(ctx, keys)
}

// Set refuses all items, also those that only end a lease: it cannot say whether that
// lease would have been lost.
func (r *readOnly) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	for i := range items {
		items[i].Err = ErrReadOnly
	}
	_, stamps, err := r.Backend.GetMulti(ctx, nil, guards)
	return stamps, err
}

func (r *readOnly) Delete(ctx context.Context, keys []backend.Key) error {
	if len(keys) == 0 {
		return r.leases.Open()
	}
	return r.refusal()
}

func (r *readOnly) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	_, stamps, err := r.Backend.GetMulti(ctx, nil, guards)
	return present(stamps), err
}

func (r *readOnly) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if len(guards) == 0 {
		return r.leases.Open()
	}
	return r.refusal()
}

func (r *readOnly) refusal() error {
	if err := r.leases.Open(); err != nil {
		return err
	}
	return ErrReadOnly
}

func (r *readOnly) Close() error {
	r.leases.Close()
	return r.Backend.Close()
}
