package region

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
)

// expireRoom is how many values are read and stored again at a time.
const expireRoom = 256

// expire makes values stale. What is stored is replaced by the same with no soft stamp,
// which is never current: under the lease of the key, so that it replaces nothing newer
// and brings nothing back that was deleted meanwhile. A creation that is under way loses
// its lease, and so its value, which would be fresh.
func (st *state) expire(ctx context.Context, keys []string) error {
	if st.Disabled || !st.canAge() {
		// What others have stored cannot be read; or what the configuration before this one
		// owes cannot be expressed in this one.
		return st.backend.Delete(ctx, st.keys(unique(keys)))
	}
	for chunk := range slices.Chunk(unique(keys), expireRoom) {
		if err := st.expireSome(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (st *state) expireSome(ctx context.Context, rest []string) error {
	for turn := 0; ; turn++ {
		held, err := st.expireFree(ctx, rest)
		if err != nil || len(held) == 0 {
			return err
		}
		if turn == 0 {
			// Whoever has the lease may have begun before this.
			if err := st.voidLeases(ctx, held); err != nil {
				return err
			}
			rest = held
			continue
		}
		// Whoever has the lease now has taken it since. What it creates may be fresh;
		// what it has found must not stay so.
		if rest, err = st.stillFresh(ctx, held); err != nil || len(rest) == 0 {
			return err
		}
		if err := st.backend.Wait(ctx, st.keys(rest)); err != nil {
			return err
		}
	}
}

// expireFree makes those values stale whose leases nobody has, and returns the others.
func (st *state) expireFree(ctx context.Context, keys []string) (held []string, err error) {
	grants, _, err := st.backend.Acquire(ctx, st.keys(keys), nil)
	if err != nil {
		return nil, err
	}
	var items []backend.Item
	var tags []string // whose stamps the backend has to keep
	for i, g := range grants {
		if g.Lease == nil {
			held = append(held, keys[i])
			continue
		}
		item := backend.Item{Key: st.key(keys[i]), Lease: g.Lease}
		var carried []backend.Tagged
		item.Entry, item.TTL, carried = st.expired(keys[i], g.Entry)
		for _, t := range carried {
			tags = append(tags, t.Tag)
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return held, nil
	}
	// Without this the leases would be held until they expire.
	settled, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if _, err := st.backend.Set(settled, items, st.tagGuards(unique(tags))); err != nil {
		for _, item := range items {
			_ = item.Lease.Release(settled)
		}
		return nil, err
	}
	for _, item := range items {
		switch {
		case item.Err == nil || item.Entry == nil:
		case errors.Is(item.Err, backend.ErrLeaseLost):
			held = append(held, item.Key.Name) // written, deleted, or the lease has expired
		default:
			err = item.Err
			_ = item.Lease.Release(settled)
		}
	}
	return held, err
}

// expired returns an entry as it is when it has expired, and for how long it is to be
// kept. It is nil if the entry need not be replaced.
func (st *state) expired(key string, e *backend.Entry) (*backend.Entry, time.Duration, []backend.Tagged) {
	var s stored
	if st.read(&s, st.key(key), e); !s.there || s.bad != nil || s.Stamps.Soft.IsZero() {
		return nil, 0, nil
	}
	limit, old := st.limit(&asks{}, s.Expiration), max(0, int64(st.since(s.Created)))
	ttl := time.Duration(0)
	if limit < math.MaxInt64 {
		rest := st.stale - max(0, old-limit)
		if rest < 0 {
			// It is dead, but only by this region's expiration and this process's clock.
			rest = st.stale
		}
		ttl = lasting(max(0, limit-old), rest)
	}
	if st.Interop != nil {
		return st.expiredShared(&s, limit, old), ttl, nil
	}
	if st.bytes {
		return &backend.Entry{Data: envelope.Expired(e.Data)}, ttl, s.Tags
	}
	next := *e
	next.Stamps.Soft = backend.Stamp{}
	return &next, ttl, s.Tags
}

// voidLeases ends the leases of keys, whoever has them.
func (st *state) voidLeases(ctx context.Context, keys []string) error {
	items := make([]backend.Item, len(keys))
	for i, key := range st.keys(keys) {
		items[i].Key = key
	}
	_, err := st.backend.Set(ctx, items, nil)
	for i := range items {
		if err == nil {
			err = items[i].Err
		}
	}
	return err
}

// stillFresh returns those of keys whose values are neither gone nor stale.
func (st *state) stillFresh(ctx context.Context, keys []string) (still []string, err error) {
	entries, stamps, err := st.backend.GetMulti(ctx, st.keys(keys), st.guards)
	if err != nil {
		return nil, err
	}
	known := current{guards: st.guards, stamps: stamps}
	for i, e := range entries {
		var s stored
		if st.read(&s, st.key(keys[i]), e); s.there && s.bad == nil && st.looksFresh(&s, known.region()) {
			still = append(still, keys[i])
		}
	}
	return still, nil
}
