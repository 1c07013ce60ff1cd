package redis

import (
	"context"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// acquisition is one call of Acquire.
type acquisition struct {
	*claim
	b      *Backend
	values []string // names of the values
	guards []backend.Guard
	stamps []string     // names of the stamps, if they come with the lease
	parts  []*stampPart // otherwise
	joined bool         // one script may use keys of any slot, so the stamps come with the lease

	attempts int

	// Of the last attempt.
	calls      []*redisio.Call
	stampCalls [][]*redisio.Call
}

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
	guards = slices.Clone(guards)
	a := &acquisition{
		claim:  &claim{ask: b.member.Ask},
		b:      b,
		guards: guards,
		joined: len(keys) == 1 && len(guards) <= partSize && !b.client.Cluster(),
	}
	for _, key := range keys {
		a.keys = append(a.keys, key.String())
		a.locks = append(a.locks, b.names.lockOf(key))
		a.values = append(a.values, b.names.valueOf(key))
	}
	if a.joined {
		a.stamps = b.names.appendStamps(nil, guards)
	} else {
		a.parts = b.stampParts(guards)
	}
	if err := b.send(ctx, a.locks[0], len(keys)*commandSize+sizeOf(guards), a.fill); err != nil {
		a.leave()
		return nil, nil, err
	}
	grants, values, err := a.answers(ctx)
	if err != nil {
		a.leave()
		return nil, nil, err
	}
	if values == nil {
		// Nothing was granted, so nothing will be created.
		return grants, make([]backend.Stamps, len(guards)), nil
	}
	stamps, err := b.completed(ctx, guards, stampsOf(values))
	if err != nil {
		a.leave()
		return nil, nil, err
	}
	return grants, stamps, nil
}

// fill adds the commands of one attempt.
func (a *acquisition) fill(batch *redisio.Batch) {
	leases, before, ok := a.attempt()
	if !ok {
		return
	}
	a.attempts++
	a.calls = make([]*redisio.Call, len(leases))
	a.stampCalls = nil
	for i, l := range leases {
		names := []string{a.locks[i], a.values[i]}
		args := []any{l.Token(), a.b.ttl.Milliseconds(), before[i]}
		if len(a.stamps) > 0 {
			names = append(names, a.stamps...)
			args = append(args, stampArgs(true, kindsOf(a.guards), keepToCreate)...)
		}
		a.calls[i] = batch.Eval(acquireScript, names, args...)
	}
	for _, p := range a.parts {
		a.stampCalls = append(a.stampCalls, p.ask(batch, a.attempts, true, keepToCreate))
	}
}

// answers returns what the server has granted, and the stamps, which are nil if they
// were not read because nothing was granted.
func (a *acquisition) answers(ctx context.Context) (grants []backend.Grant, stamps []any, err error) {
	leases, ok := a.asked()
	if !ok {
		return nil, nil, backend.ErrClosed
	}
	grants = make([]backend.Grant, len(leases))
	refused := 0
	for i, l := range leases {
		g, err := grantOf(a.calls[i])
		switch {
		case err != nil:
			return nil, nil, a.b.explained(ctx, err)
		case !g.ok:
			l.Refused(g.holder)
			refused++
		case !l.Granted():
			a.b.giveBack(leases[i:])
			return nil, nil, backend.ErrClosed
		default:
			grants[i] = backend.Grant{Lease: l, Entry: g.entry}
			if a.joined {
				stamps = append(make([]any, 0, len(g.stamps)), g.stamps...)
			}
		}
	}
	if a.joined {
		return grants, stamps, nil
	}
	if stamps, err = stampValues(len(a.guards), a.parts, a.stampCalls); err != nil {
		return nil, nil, a.b.explained(ctx, err)
	}
	return grants, stamps, nil
}

// giveBack frees what was granted while the backend was being closed.
func (b *Backend) giveBack(leases []*fleet.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.member.Release(ctx, leases) // what is left expires
}
