package redis

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

// sharedAcquisition is one call of Acquire of a view.
type sharedAcquisition struct {
	*claim
	v      *shared
	values []string
	calls  []*redisio.Call // of the last attempt
}

// Acquire is Acquire of [backend.Backend], without stamps.
func (v *shared) Acquire(ctx context.Context, keys []backend.Key, _ []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	b := v.b
	if err := b.usable(ctx); err != nil {
		return nil, nil, err
	}
	if len(keys) == 0 {
		return nil, nil, nil
	}
	if !b.acquiring.enter() {
		return nil, nil, backend.ErrClosed
	}
	defer b.acquiring.leave()
	v.member.Settle(ctx) // as in Acquire of Backend
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	a := &sharedAcquisition{claim: &claim{ask: v.member.Ask}, v: v}
	for _, key := range keys {
		a.keys = append(a.keys, key.String())
		a.locks = append(a.locks, v.lockOf(key))
		a.values = append(a.values, key.Name)
	}
	if err := b.send(ctx, a.locks[0], len(keys)*commandSize, a.fill); err != nil {
		a.leave()
		return nil, nil, err
	}
	grants, err := a.answers(ctx)
	if err != nil {
		a.leave()
	}
	return grants, nil, err
}

// fill adds the commands of one attempt.
func (a *sharedAcquisition) fill(batch *redisio.Batch) {
	leases, before, ok := a.attempt()
	if !ok {
		return
	}
	a.calls = make([]*redisio.Call, len(leases))
	for i, l := range leases {
		a.calls[i] = batch.Eval(sharedAcquireScript, []string{a.locks[i], a.values[i]},
			l.Token(), a.v.b.ttl.Milliseconds(), before[i], a.v.others.dead(a.locks[i], a.v.steal))
	}
}

// answers returns what the server has granted.
func (a *sharedAcquisition) answers(ctx context.Context) ([]backend.Grant, error) {
	leases, ok := a.asked()
	if !ok {
		return nil, backend.ErrClosed
	}
	grants := make([]backend.Grant, len(leases))
	for i, l := range leases {
		g, err := grantOf(a.calls[i])
		switch {
		case err != nil:
			return nil, a.v.b.explained(ctx, err)
		case !g.ok:
			l.Refused(g.holder)
			a.v.others.refused(a.locks[i], g)
		case !l.Granted():
			a.v.b.giveBack(leases[i:])
			return nil, backend.ErrClosed
		default:
			a.v.others.forget(a.locks[i])
			grants[i] = backend.Grant{Lease: l, Entry: g.entry}
		}
	}
	return grants, nil
}

// errEarly ends a Wait whose caller has to ask for the lease again.
var errEarly = errors.New("redis: the lock may have expired, or is taken for dead")

// Wait is Wait of [backend.Backend]. It returns early when the lock of another program, as it
// was last seen, expires or is to be taken away.
func (v *shared) Wait(ctx context.Context, keys []backend.Key) error {
	if err := v.b.usable(ctx); err != nil {
		return err
	}
	locks := make([]string, len(keys))
	for i, key := range keys {
		locks[i] = v.lockOf(key)
	}
	until := v.others.next(locks, v.steal)
	if v.steal > 0 {
		// Who has taken the lock meanwhile is seen when it is asked for again.
		if soon := time.Now().Add(min(v.steal, v.b.ttl)); until.IsZero() || soon.Before(until) {
			until = soon
		}
	}
	if until.IsZero() {
		return v.member.Wait(ctx, locks...)
	}
	short, cancel := context.WithDeadlineCause(ctx, until, errEarly)
	defer cancel()
	err := v.member.Wait(short, locks...)
	if errors.Is(err, errEarly) {
		return nil
	}
	return err
}

// holders is what a view has seen of the locks that other programs have.
type holders struct {
	mu     sync.Mutex
	byLock map[[sha256.Size]byte]*holder // names of locks are of any length
}

// holder is another program that has a lock.
type holder struct {
	token   string
	since   time.Time // when it was seen first
	seen    time.Time // and last
	expires time.Time // zero: never
}

// mostHolders is how many are known at most. Those that were not seen for longest are
// forgotten, and then their locks are waited for without knowing when they expire.
const mostHolders = 4096

// refused takes note of the answer about a lock.
func (h *holders) refused(lock string, g granted) {
	if g.ours && g.left >= 0 {
		h.forget(lock) // its fleet looks after it
		return
	}
	now, key := time.Now(), sha256.Sum256([]byte(lock))
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.byLock[key]
	if o == nil || o.token != g.holder {
		if o == nil {
			h.makeRoom()
		}
		o = &holder{token: g.holder, since: now}
		h.byLock[key] = o
	}
	o.seen, o.expires = now, time.Time{}
	if g.left >= 0 {
		o.expires = now.Add(time.Duration(g.left+1) * time.Millisecond)
	}
}

// makeRoom makes room for one more. mu is held.
func (h *holders) makeRoom() {
	if h.byLock == nil {
		h.byLock = make(map[[sha256.Size]byte]*holder)
	}
	if len(h.byLock) < mostHolders {
		return
	}
	var oldest [sha256.Size]byte
	var first time.Time
	for key, o := range h.byLock {
		if first.IsZero() || o.seen.Before(first) {
			oldest, first = key, o.seen
		}
	}
	delete(h.byLock, oldest)
}

// forget is called when no other program has the lock any more.
func (h *holders) forget(lock string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.byLock) > 0 {
		delete(h.byLock, sha256.Sum256([]byte(lock)))
	}
}

// dead returns the token of whoever has the lock if it never expires and was seen for so long,
// or "". Zero is for ever.
func (h *holders) dead(lock string, steal time.Duration) string {
	if steal == 0 {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.byLock) == 0 {
		return ""
	}
	o := h.byLock[sha256.Sum256([]byte(lock))]
	if o == nil || !o.expires.IsZero() || time.Since(o.since) < steal {
		return ""
	}
	return o.token
}

// next returns when one of locks is to be asked for again: it has expired by then, or may be
// taken away. It is zero if there is nothing of that kind.
func (h *holders) next(locks []string, steal time.Duration) (at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.byLock) == 0 {
		return at
	}
	for _, lock := range locks {
		o := h.byLock[sha256.Sum256([]byte(lock))]
		if o == nil {
			continue
		}
		when := o.expires
		if when.IsZero() {
			if steal == 0 || o.token == "" {
				continue
			}
			when = o.since.Add(steal)
		}
		if at.IsZero() || when.Before(at) {
			at = when
		}
	}
	return at
}
