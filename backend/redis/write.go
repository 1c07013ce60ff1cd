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
