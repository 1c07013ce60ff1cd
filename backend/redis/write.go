package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

const (
	// writeRoom is how many bytes are sent in one batch, where every command
	// counts for commandSize: a thousand small ones. A server that is busy with
	// more does not answer others in time.
	writeRoom   = 256 << 10
	commandSize = 256

	// writeWidth is how many batches of writes are under way at once.
	writeWidth = 2
)

// errShortTTL is the Err of an item whose TTL Redis cannot count.
var errShortTTL = errors.New("redis: a TTL below a millisecond cannot be kept; give zero to keep the entry for ever")

// errLate is the error of what reaches the server too late again and again.
var errLate = errors.New("redis: the command reached the server too late and was not carried out; the server is overloaded, or its clock jumps")

// write is what one call wants to have sent.
type write struct {
	fill  func(*redisio.Batch) // adds its commands
	bytes int                  // how much that is
}

// send runs what fill adds in one round trip, together with what others send at the
// same time.
func (b *Backend) send(ctx context.Context, lock string, bytes int, fill func(*redisio.Batch)) error {
	l := laneOf(b, b.writes, b.client.NodeOf(ctx, lock), func() *lane[*write] {
		return &lane[*write]{
			run:   b.runWrites,
			size:  func(w *write) int { return w.bytes },
			room:  writeRoom,
			width: writeWidth,
			most:  mostWidth,
			slack: slack,
			limit: b.client.Longest(),
		}
	})
	return b.failed(l.do(ctx, &write{fill, bytes}))
}

// runWrites sends a batch.
func (b *Backend) runWrites(ctx context.Context, writes []*write) error {
	batch := b.client.Batch()
	batch.Insist = true
	for _, w := range writes {
		w.fill(batch)
	}
	return batch.Exec(ctx)
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

// until returns the moment, in microseconds of the clock of the server node, at which
// whoever sends a command now gives up on its answer. A command that reaches the server
// later must not be executed: it may have been sent again, and others have seen its
// effect and undone it.
func (b *Backend) until(node string) int64 {
	return b.Now().Add(b.skew(node) + b.client.Answers()).UnixMicro()
}

// skew returns how far the clock of a server is ahead of what Now tells, as far as that
// is known: the servers of a cluster have a clock each.
func (b *Backend) skew(node string) time.Duration {
	skew, _ := b.skews.Load(node)
	d, _ := skew.(time.Duration)
	return d
}

// inTime reports whether no server has got its script too late, and otherwise notes
// what its clock shows, so that it can be sent again. locks are what the scripts of
// calls are about.
func (b *Backend) inTime(ctx context.Context, locks []string, calls []*redisio.Call) bool {
	good := true
	for i, call := range calls {
		if call == nil {
			continue
		}
		if at, late := lateAt(call); late {
			good = false
			b.skews.Store(b.client.NodeOf(ctx, locks[i]), at.Sub(b.Now()))
		}
	}
	return good
}

// giveBack frees what was granted while the backend was being closed.
func (b *Backend) giveBack(leases []*fleet.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.member.Release(ctx, leases) // what is left expires
}

// Set is Set of [backend.Backend].
func (b *Backend) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if len(items) == 0 && len(guards) == 0 {
		return nil, nil
	}
	leases := make([]*fleet.Lease, len(items))
	bytes := len(guards) * commandSize
	for i := range items {
		leases[i] = b.prepare(&items[i])
		bytes += commandSize
		if e := items[i].Entry; e != nil {
			bytes += len(e.Data)
		}
	}
	// The batch is sent whatever becomes of the caller, who may use items again.
	sent := slices.Clone(items)
	calls := make([]*redisio.Call, len(items))
	stampCalls := make([]*redisio.Call, len(guards))
	first := ""
	if len(items) > 0 {
		first = b.names.lockOf(items[0].Key)
	} else {
		first = b.names.stampOf(guards[0])
	}
	stampNames := make([]string, len(guards))
	for i, guard := range guards {
		stampNames[i] = b.names.stampOf(guard)
	}
	err := b.send(ctx, first, bytes, func(batch *redisio.Batch) {
		for i := range sent {
			if sent[i].Err == nil {
				calls[i] = b.store(ctx, batch, &sent[i])
			}
		}
		for i, name := range stampNames {
			stampCalls[i] = batch.Do("get", name)
		}
	})
	if err == nil {
		err = b.storeLate(ctx, sent, calls)
	}
	if err != nil {
		for _, l := range leases {
			if l != nil {
				l.Ended(err)
			}
		}
		return nil, err
	}
	for i := range items {
		if items[i].Err = sent[i].Err; items[i].Err != nil {
			continue
		}
		stored, err := calls[i].Value()
		switch {
		case err != nil:
			items[i].Err = b.explained(ctx, err)
		case stored == int64(0):
			items[i].Err = backend.ErrLeaseLost
			err = fleet.ErrGone
		}
		if leases[i] != nil {
			leases[i].Ended(err)
		}
	}
	values, err := stampValues(stampCalls)
	if err != nil {
		return nil, b.explained(ctx, err)
	}
	return stampsOf(values), nil
}

// storeLate sends again what came too late: because a first answer was lost, or the
// server's clock differs.
func (b *Backend) storeLate(ctx context.Context, items []backend.Item, calls []*redisio.Call) error {
	locks := make([]string, len(items))
	for i := range items {
		locks[i] = b.names.lockOf(items[i].Key)
	}
	if b.inTime(ctx, locks, calls) {
		return nil
	}
	again := slices.Clone(calls)
	err := b.send(ctx, locks[0], 0, func(batch *redisio.Batch) {
		for i, call := range again {
			if call == nil {
				continue
			}
			if _, late := lateAt(call); late {
				calls[i] = b.store(ctx, batch, &items[i])
			}
		}
	})
	if err != nil {
		return err
	}
	for i, call := range calls {
		if call == nil {
			continue
		}
		if _, late := lateAt(call); late {
			items[i].Err = errLate
		}
	}
	return nil
}

// prepare sets the item's Err if it cannot be stored, and otherwise takes its lease
// into its hands, if it has one.
func (b *Backend) prepare(item *backend.Item) *fleet.Lease {
	item.Err = nil
	switch {
	case item.TTL < 0:
		item.Err = fmt.Errorf("redis: the TTL is negative (%v); give zero to keep the entry for ever", item.TTL)
	case item.TTL > 0 && item.TTL < time.Millisecond:
		item.Err = errShortTTL
	}
	if item.Lease == nil || item.Err != nil {
		return nil
	}
	// A proxy may have wrapped the lease, so it is known by key and token.
	l := b.member.Lease(b.names.lockOf(item.Key), item.Lease.Token())
	if l == nil || !l.End() {
		item.Err = backend.ErrLeaseLost
		return nil
	}
	return l
}

// store adds what stores one item: with a lease or without one, and whether there is
// something to be stored or not.
func (b *Backend) store(ctx context.Context, batch *redisio.Batch, item *backend.Item) *redisio.Call {
	keys := []string{b.names.lockOf(item.Key), b.names.valueOf(item.Key)}
	args := make([]any, 1, 3)
	script := storeScript
	if item.Lease != nil {
		script = publishScript
		args[0] = item.Lease.Token()
	} else {
		args[0] = b.until(b.client.NodeOf(ctx, keys[0]))
	}
	if item.Entry != nil {
		// Rounded up: a TTL is how long an entry is kept at least.
		args = append(args, item.Entry.Data, (item.TTL + time.Millisecond - 1).Milliseconds())
		if item.TTL > time.Duration(1<<63-1)-time.Millisecond {
			args[len(args)-1] = item.TTL.Milliseconds()
		}
	}
	return batch.Eval(script, keys, args...)
}

// Delete is Delete of [backend.Backend].
func (b *Backend) Delete(ctx context.Context, keys []backend.Key) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	keys = slices.Clone(keys)
	var calls []*redisio.Call
	err := b.send(ctx, b.names.lockOf(keys[0]), len(keys)*commandSize, func(batch *redisio.Batch) {
		args := []any{"unlink"}
		for _, key := range keys {
			args = append(args, b.names.valueOf(key), b.names.lockOf(key))
			if b.client.Cluster() || len(args) > 1000 {
				calls = append(calls, batch.Do(args...))
				args = []any{"unlink"}
			}
		}
		if len(args) > 1 {
			calls = append(calls, batch.Do(args...))
		}
	})
	if err != nil {
		return err
	}
	return b.firstError(ctx, calls)
}

// firstError returns the first answer that is an error.
func (b *Backend) firstError(ctx context.Context, calls []*redisio.Call) error {
	for _, call := range calls {
		if _, err := call.Value(); err != nil {
			return b.explained(ctx, err)
		}
	}
	return nil
}

func (b *Backend) explained(ctx context.Context, err error) error {
	return redisio.Explain(ctx, err)
}
