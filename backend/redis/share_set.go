package redis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// sharedTries is how often a write of a view is tried whose lock got lost before it could
// store. Among several writers of one key, another one is first each time for some of them.
const sharedTries = 32

// Set is Set of [backend.Backend], without stamps. What is stored without a lease takes two
// round trips, as there: see Set of [Backend].
func (v *shared) Set(ctx context.Context, items []backend.Item, _ []backend.Guard) ([]backend.Stamps, error) {
	b := v.b
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	writes := make([]*writing, len(items))
	open := make([]*writing, 0, len(items)) // those without an outcome
	for i := range items {
		key := items[i].Key
		w := &writing{item: items[i], lock: v.lockOf(key), value: key.Name}
		w.prepare(v.member)
		if writes[i] = w; w.item.Err == nil {
			open = append(open, w)
		}
	}
	for try := 1; len(open) > 0; try++ {
		var err error
		if open, err = v.seize(ctx, open, try); err == nil {
			err = v.store(ctx, open)
		}
		if err != nil {
			for _, w := range open {
				w.giveUp(err)
			}
			return nil, err
		}
		again := open[:0]
		for _, w := range open {
			if v.conclude(ctx, w) {
				continue
			}
			if try < sharedTries {
				again = append(again, w)
			} else {
				w.item.Err = errForgotten
			}
		}
		open = again
	}
	for i, w := range writes {
		items[i].Err = w.item.Err
	}
	return nil, nil
}

// seize takes the locks of those writes that have no lease, or learns whose they are, and
// returns the writes that are without an outcome still.
func (v *shared) seize(ctx context.Context, writes []*writing, try int) ([]*writing, error) {
	b := v.b
	c := &claim{ask: v.member.AskToWrite}
	var seizing []*writing
	for _, w := range writes {
		if w.seizes() {
			seizing = append(seizing, w)
			c.keys = append(c.keys, w.item.Key.String())
			c.locks = append(c.locks, w.lock)
		}
	}
	if seizing == nil {
		return writes, nil
	}
	if !b.acquiring.enter() {
		return writes, backend.ErrClosed
	}
	defer b.acquiring.leave()
	calls := make([]*redisio.Call, len(seizing))
	began := time.Now()
	err := b.send(ctx, c.locks[0], len(seizing)*commandSize, func(batch *redisio.Batch) {
		leases, before, ok := c.attempt()
		for i, l := range leases {
			if ok {
				calls[i] = batch.Eval(sharedSeizeScript, []string{c.locks[i], seizing[i].value}, l.Token(), b.ttl.Milliseconds(), before[i])
			}
		}
	})
	if err != nil {
		c.leave()
		return writes, err
	}
	leases, ok := c.asked()
	if !ok {
		return writes, backend.ErrClosed
	}
	for i, w := range seizing {
		w.lease, w.own, w.asked = nil, leases[i].Token(), began
		answer, err := calls[i].Value()
		parts, _ := answer.([]any)
		switch {
		case err != nil:
			w.item.Err = b.explained(ctx, err)
		case len(parts) != 3:
			w.item.Err = fmt.Errorf("redis: the answer to a script is %v", answer)
		}
		if w.item.Err != nil {
			leases[i].Abandon()
			continue
		}
		w.token, _ = parts[0].(string)
		w.seen, _ = parts[1].(string)
		w.foreign = parts[2] == int64(1)
		switch {
		case w.token != w.own:
			leases[i].Refused("")
			if try == 1 {
				w.old = w.token
			}
		case !leases[i].Granted():
			b.giveBack(leases[i:])
			return writes, backend.ErrClosed
		case leases[i].End():
			w.lease = leases[i]
		default: // it has expired already, and the store will be refused
		}
	}
	return slices.DeleteFunc(writes, func(w *writing) bool { return w.item.Err != nil }), nil
}

// store sends the writes.
func (v *shared) store(ctx context.Context, writes []*writing) error {
	if len(writes) == 0 {
		return nil
	}
	bytes := 0
	for _, w := range writes {
		bytes += commandSize
		if e := w.item.Entry; e != nil {
			bytes += len(e.Data)
		}
	}
	// The batch is sent whatever becomes of the caller, who gives up the writes then.
	writes = slices.Clone(writes)
	calls := make([]*redisio.Call, len(writes))
	times := 0
	err := v.b.send(ctx, writes[0].lock, bytes, func(batch *redisio.Batch) {
		times++
		for i, w := range writes {
			calls[i] = w.addShared(batch)
		}
	})
	if err != nil {
		return err
	}
	for i, w := range writes {
		w.call, w.doubt = calls[i], times > 1
	}
	return nil
}

// addShared is add for a view.
func (w *writing) addShared(batch *redisio.Batch) *redisio.Call {
	switch {
	case w.seizes():
		foreign := 0
		if w.foreign {
			foreign = 1
		}
		return batch.Eval(sharedStoreScript, []string{w.lock, w.value}, w.token, w.item.Entry.Data, w.ttl(), foreign)
	case w.item.Lease == nil:
		return batch.Eval(sharedVoidScript, []string{w.lock})
	}
	return w.add(batch)
}

// conclude takes the server's answer about a write. It returns false if the write has
// to be tried again.
func (v *shared) conclude(ctx context.Context, w *writing) bool {
	answer, err := w.call.Value()
	if err != nil || !w.seizes() {
		return v.b.conclude(ctx, w)
	}
	if w.lease != nil {
		w.lease.Ended(nil) // the lock has not that token any more
	}
	begins, refused := answer.(string)
	switch {
	case !refused:
		return true // the answer to the second may be about what the first has done
	case begins != "" && begins != w.seen && w.token != w.old:
		return true // another write came first, as if it had come just after
	case w.doubt:
		w.item.Err = errUnknown
		return true
	case begins == "" && !w.foreign && (w.token != w.old || w.seen != ""):
		// So did a Delete, after which this one must not be stored. If it was not that,
		// the server keeps little for long.
		if time.Since(w.asked) >= v.b.ttl {
			w.item.Err = errForgotten
		}
		return true
	}
	// As in conclude of Backend: the lock got lost, or was somebody's before this Set began.
	return false
}
