package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// errShortTTL is the Err of an item whose TTL Redis cannot count.
var errShortTTL = errors.New("redis: a TTL below a millisecond cannot be kept; give zero to keep the entry for ever")

// writing is one item of a Set on its way.
type writing struct {
	item  backend.Item
	lock  string
	value string

	note  string
	lease *fleet.Lease // nil: the token is another writer's
	token string       // what it is stored under
	own   string       // what it asked for; the same, unless the token is shared
	old   string       // a token that was there before the Set began
	seen  string       // the note of the last write before it; of a view: how the value began

	doubt bool // it was sent more than once: who knows what the first one did

	// Only of a view.
	foreign bool      // the token is another program's
	asked   time.Time // when it asked for the token
	call    *redisio.Call
}

// seizes reports whether the item is stored whatever is there: under a lease that is
// taken for it.
func (w *writing) seizes() bool { return w.item.Lease == nil && w.item.Entry != nil }

const (
	// mostTries is how often a write is tried whose lock got lost before it could
	// store: the server evicts locks, or is another one since.
	mostTries = 8

	// noteFor is how long a write leaves a note: longer than another one may take that
	// has the same token.
	noteFor = 10 * time.Second
)

var (
	// errForgotten is the Err of an item whose lock got lost each time.
	errForgotten = errors.New("redis: the lock of this write was lost again and again, so the value was not stored; does the server evict keys at once, or fail over?")

	// errUnknown is the Err of an item of which it is not known what became of it.
	errUnknown = errors.New("redis: the answer to this write got lost, and others have written since, so it is not known whether the value was stored for a while")
)

// Set is Set of [backend.Backend].
//
// What is stored without a lease takes two round trips: the first takes the lock, from
// whoever creates the value, and the second stores under it. So nothing that reaches the
// server late can undo what was done after the Set had ended.
func (b *Backend) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if len(items) == 0 && len(guards) == 0 {
		return nil, nil
	}
	writes := make([]*writing, len(items))
	open := make([]*writing, 0, len(items)) // those without an outcome
	for i := range items {
		key := items[i].Key
		w := &writing{item: items[i], lock: b.names.lockOf(key), value: b.names.valueOf(key), note: b.names.noteOf(key)}
		w.prepare(b.member)
		if writes[i] = w; w.item.Err == nil {
			open = append(open, w)
		}
	}
	parts := b.stampParts(guards)
	var stamps []backend.Stamps
	for try := 1; ; try++ {
		var err error
		if open, err = b.seize(ctx, open, try); err == nil {
			stamps, err = b.store(ctx, open, guards, parts)
		}
		if err != nil {
			for _, w := range open {
				w.giveUp(err)
			}
			return nil, err
		}
		again := open[:0]
		for _, w := range open {
			if b.conclude(ctx, w) {
				continue
			}
			if try < mostTries {
				again = append(again, w)
			} else {
				w.item.Err = errForgotten
			}
		}
		if open = again; len(open) == 0 {
			break
		}
	}
	for i, w := range writes {
		items[i].Err = w.item.Err
	}
	return stamps, nil
}

// prepare sets the item's Err if it cannot be stored, and otherwise takes its lease
// into its hands, if it has one, which must be of member.
func (w *writing) prepare(member *fleet.Member) {
	item := &w.item
	item.Err = nil
	switch {
	case item.TTL < 0:
		item.Err = fmt.Errorf("redis: the TTL is negative (%v); give zero to keep the entry for ever", item.TTL)
	case item.TTL > 0 && item.TTL < time.Millisecond:
		item.Err = errShortTTL
	}
	if item.Lease == nil || item.Err != nil {
		return
	}
	// A proxy may have wrapped the lease, so it is known by key and token.
	w.token = item.Lease.Token()
	if w.lease = member.Lease(w.lock, w.token); w.lease == nil || !w.lease.End() {
		w.lease = nil
		item.Err = backend.ErrLeaseLost
	}
}

// seize takes the locks of those writes that have no lease, and returns the writes
// that are without an outcome still.
func (b *Backend) seize(ctx context.Context, writes []*writing, try int) ([]*writing, error) {
	c := &claim{ask: b.member.AskToWrite}
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
	err := b.send(ctx, c.locks[0], len(seizing)*commandSize, func(batch *redisio.Batch) {
		leases, before, ok := c.attempt()
		for i, l := range leases {
			if ok {
				calls[i] = batch.Eval(seizeScript, []string{c.locks[i], seizing[i].note}, l.Token(), b.ttl.Milliseconds(), before[i])
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
		w.lease, w.own = nil, leases[i].Token()
		answer, err := calls[i].Value()
		parts, _ := answer.([]any)
		switch {
		case err != nil:
			w.item.Err = b.explained(ctx, err)
		case len(parts) != 2:
			w.item.Err = fmt.Errorf("redis: the answer to a script is %v", answer)
		}
		if w.item.Err != nil {
			leases[i].Abandon()
			continue
		}
		w.token, _ = parts[0].(string)
		w.seen, _ = parts[1].(string)
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

// store sends the writes, and reads the stamps of guards after them. Those of tags are then
// kept longer than what was stored is.
func (b *Backend) store(ctx context.Context, writes []*writing, guards []backend.Guard, parts []*stampPart) ([]backend.Stamps, error) {
	first, bytes := "", sizeOf(guards)
	if len(writes) > 0 {
		first = writes[0].lock
	} else if len(parts) > 0 {
		first = parts[0].names[0]
	} else {
		return nil, nil
	}
	stores, longest := false, int64(0)
	for _, w := range writes {
		bytes += commandSize
		e := w.item.Entry
		if e == nil {
			continue
		}
		bytes += len(e.Data)
		ttl := w.ttl()
		if !stores || ttl == 0 || longest != 0 && ttl > longest {
			longest = ttl
		}
		stores = true
	}
	// The batch is sent whatever becomes of the caller, who gives up the writes then.
	writes = slices.Clone(writes)
	stored, sent := make([]*redisio.Call, len(writes)), make([]int, len(writes))
	stampCalls := make([][]*redisio.Call, len(parts))
	times := 0
	err := b.send(ctx, first, bytes, func(batch *redisio.Batch) {
		times++
		for i, w := range writes {
			// What was answered is not sent again when only the stamps have to be.
			if stored[i] == nil || !stored[i].Done() {
				stored[i] = w.add(batch)
				sent[i]++
			}
		}
		for i, p := range parts {
			if stores {
				stampCalls[i] = p.ask(batch, times, false, keepFor(longest))
			} else {
				stampCalls[i] = p.get(batch)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for i, w := range writes {
		w.call, w.doubt = stored[i], sent[i] > 1
	}
	values, err := stampValues(len(guards), parts, stampCalls)
	if err != nil {
		return nil, b.explained(ctx, err)
	}
	return stampsOf(values), nil
}

// ttl returns for how many milliseconds the entry is kept, or 0 for ever. It is rounded up:
// an entry is kept so long at least.
func (w *writing) ttl() int64 {
	ttl := w.item.TTL.Milliseconds()
	if w.item.TTL%time.Millisecond != 0 {
		ttl++
	}
	return ttl
}

// add adds what stores the item, or only ends its lease, or only voids that of its key.
// It changes nothing of w, which may have been given up.
func (w *writing) add(batch *redisio.Batch) *redisio.Call {
	if w.item.Lease == nil && w.item.Entry == nil {
		return batch.Do("unlink", w.lock)
	}
	args := []any{w.token}
	if w.item.Entry != nil {
		args = append(args, w.item.Entry.Data, w.ttl())
	}
	if w.seizes() {
		return batch.Eval(storeScript, []string{w.lock, w.value, w.note}, append(args, w.own, noteFor.Milliseconds())...)
	}
	return batch.Eval(publishScript, []string{w.lock, w.value}, args...)
}

// conclude takes the server's answer about a write. It returns false if the write has
// to be tried again.
func (b *Backend) conclude(ctx context.Context, w *writing) bool {
	answer, err := w.call.Value()
	if err != nil {
		w.item.Err = b.explained(ctx, err)
		w.giveUp(err)
		return true
	}
	if !w.seizes() {
		if w.item.Lease != nil && answer == int64(0) {
			w.item.Err = backend.ErrLeaseLost
			err = fleet.ErrGone
		}
		if w.lease != nil {
			w.lease.Ended(err)
		}
		return true
	}
	if w.lease != nil {
		w.lease.Ended(nil) // the lock has not that token any more
	}
	note, refused := answer.(string)
	_, by, _ := strings.Cut(note, " ")
	switch {
	case !refused, by == w.own:
		return true // the answer to the second may be about what the first has done
	case note != "" && note != w.seen && w.token != w.old:
		return true // another write or a Delete came first, as if it had come just after
	case w.doubt:
		w.item.Err = errUnknown
		return true
	}
	// The lock got lost before anything was stored under it. Or it had been there before
	// this Set began, and its token was used by a write that may have been given up long
	// ago and was late: that one must not be the last.
	return false
}

// giveUp ends a write that failed.
func (w *writing) giveUp(err error) {
	if w.lease == nil {
		return
	}
	w.lease.Ended(err)
	if w.seizes() {
		w.lease.Abandon() // a caller's lease is the caller's
	}
}
