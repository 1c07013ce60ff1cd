package redis

import (
	"context"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// Acquire is Acquire of [backend.Backend].
func (b *Backend) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	if err := b.usable(ctx); err != nil {
		return nil, nil, err
	}
	if len(keys) == 0 {
		stamps, err := b.Stamps(ctx, guards)
		return nil, stamps, err
	}
	if !b.acquiring.enter() {
		return nil, nil, backend.ErrClosed
	}
	defer b.acquiring.leave()
	// A lease that is taken before it is known whether this process can be seen
	// to be alive could not be taken over when it dies.
	b.member.Settle(ctx)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	keys = slices.Clone(keys) // they are read when the batch is sent, whatever becomes of the caller
	leases := make([]*fleet.Lease, len(keys))
	for i, key := range keys {
		if leases[i] = b.member.Ask(ctx, key.String(), b.names.lockOf(key)); leases[i] == nil {
			return nil, nil, backend.ErrClosed // and Close has ended the others
		}
	}
	abandon := func() {
		for _, l := range leases {
			l.Abandon()
		}
	}
	calls := make([]*redisio.Call, len(keys))
	guardKeys := make([]string, len(guards))
	for i, guard := range guards {
		guardKeys[i] = b.names.stampOf(guard)
	}
	// Where one script may use keys of any slot, the stamps come with the lease.
	joined := len(keys) == 1 && !b.client.Cluster()
	var stampCalls []*redisio.Call
	locks := make([]string, len(leases))
	for i, l := range leases {
		locks[i] = l.Lock()
	}
	fill := func(batch *redisio.Batch) {
		for i, l := range leases {
			names := []string{l.Lock(), b.names.valueOf(keys[i])}
			if joined {
				names = append(names, guardKeys...)
			}
			calls[i] = batch.Eval(acquireScript, names, l.Token(), b.ttl.Milliseconds(), b.until(b.client.NodeOf(ctx, l.Lock())))
		}
		if stampCalls = nil; !joined {
			for _, name := range guardKeys {
				stampCalls = append(stampCalls, batch.Do("get", name))
			}
		}
	}
	bytes := (len(keys) + len(guards)) * commandSize
	err := b.send(ctx, locks[0], bytes, fill)
	if err == nil && !b.inTime(ctx, locks, calls) {
		if err = b.send(ctx, locks[0], bytes, fill); err == nil && !b.inTime(ctx, locks, calls) {
			err = errLate
		}
	}
	if err != nil {
		abandon()
		return nil, nil, err
	}

	grants := make([]backend.Grant, len(keys))
	values := make([]any, len(guards))
	refused := 0
	for i, l := range leases {
		g, err := grantOf(calls[i])
		switch {
		case err != nil:
			abandon()
			return nil, nil, b.explained(ctx, err)
		case !g.ok:
			l.Refused(g.holder)
			refused++
		case !l.Granted():
			b.giveBack(leases[i:])
			return nil, nil, backend.ErrClosed
		default:
			grants[i] = backend.Grant{Lease: l, Entry: g.entry}
			if joined {
				values = g.stamps
			}
		}
	}
	if refused == len(keys) && joined {
		// Nothing was granted, so nothing will be created.
		return grants, make([]backend.Stamps, len(guards)), nil
	}
	if !joined {
		if values, err = stampValues(stampCalls); err != nil {
			abandon()
			return nil, nil, b.explained(ctx, err)
		}
	}
	stamps, err := b.completed(ctx, guards, stampsOf(values))
	if err != nil {
		abandon()
		return nil, nil, err
	}
	return grants, stamps, nil
}

// giveBack frees what was granted while the backend was being closed.
func (b *Backend) giveBack(leases []*fleet.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.member.Release(ctx, leases) // what is left expires
}
