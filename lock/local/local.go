// Package local is the Locker of one process: leases kept in memory.
//
// A lease has no time limit. Whoever holds it lives in this process, so a holder
// that died took the Locker with it, and a lease ends only when it is released,
// voided, used up by [Locker.Finish], or when the Locker is closed. Nothing here
// starts a goroutine or a timer: a waiter sleeps on a channel until the very
// lease it waits for has ended.
//
// Only Wait looks at its ctx, because nothing else ever waits.
package local

import (
	"context"
	"crypto/rand"
	"hash/maphash"
	"strconv"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/lock"
)

var _ lock.Locker = (*Locker)(nil)

// shards is how many mutexes share the keys. Sections under a mutex are short,
// so 64 keep even 100,000 busy keys from queueing on a large machine.
const shards = 64

// Locker grants leases to the goroutines of this process. Open it with [New].
// All methods are safe for concurrent use.
//
// Everything that happens to the lease of a key happens under the mutex of the
// key's shard. [Locker.Finish] and [Locker.Supersede] lend that mutex to
// backends of the same process, which so change what is stored under a key in
// one step with the key's lease.
type Locker struct {
	shards [shards]shard
	seed   maphash.Seed
	closed atomic.Bool

	// A token is prefix and the number of the lease: unique in this Locker by
	// the number, among all Lockers by the prefix.
	prefix string
	leases atomic.Uint64
}

// New returns a Locker that shares leases with no other Locker.
func New() *Locker {
	l := &Locker{seed: maphash.MakeSeed(), prefix: rand.Text()[:12] + "-"}
	for i := range l.shards {
		l.shards[i].held = make(map[string]*lease)
	}
	return l
}

// TryAcquire takes the lease of key if nobody holds it, and otherwise returns
// [lock.ErrHeld] at once. It returns [lock.ErrClosed] after Close and no other
// error; ctx is not looked at.
func (l *Locker) TryAcquire(_ context.Context, key string) (lock.Lease, error) {
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Close sets the flag before it empties the shards, so what is granted here
	// to somebody who saw no flag is ended by Close.
	if l.closed.Load() {
		return nil, lock.ErrClosed
	}
	if s.held[key] != nil {
		return nil, lock.ErrHeld
	}
	h := &lease{shard: s, key: key, token: l.newToken(), lost: make(chan struct{})}
	s.add(h)
	return h, nil
}

// Void ends the leases of keys, whoever holds them, as [lock.Locker] says. It
// returns [lock.ErrClosed] after Close and no other error; ctx is not looked at.
func (l *Locker) Void(_ context.Context, keys ...string) error {
	for _, key := range keys {
		if !l.Supersede(key, func() {}) {
			return lock.ErrClosed
		}
	}
	return nil
}

// Finish runs publish if lease is held, and then ends the lease and wakes those
// who wait for it. It returns false, without having run publish, if lease is nil,
// was lost or released, or is not of this Locker.
//
// While publish runs nobody can void or take the lease, so what it stores is
// stored under the lease and in one step with its end. It must be quick and must
// not call the Locker. If it panics, the lease remains held.
//
// The lease is known by its key and token, so one that a proxy has wrapped is as
// good.
func (l *Locker) Finish(lease lock.Lease, publish func()) bool {
	if lease == nil {
		return false
	}
	key, token := lease.Key(), lease.Token()
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[key]
	if h == nil || h.token != token {
		return false
	}
	publish()
	s.end(h)
	return true
}

// Supersede runs change and voids the lease of key, if there is one, before anybody
// can take it again. Whoever learns that the lease is lost finds what change has
// made. It returns false, without having run change, after Close.
//
// With Finish it makes the changes of one key a sequence: a publication that
// began earlier is complete before change runs, and one that comes later finds
// its lease lost. change must be quick and must not call the Locker.
func (l *Locker) Supersede(key string, change func()) bool {
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.closed.Load() {
		return false
	}
	if h := s.held[key]; h != nil {
		defer s.lose(h) // after a panic of change as well
	}
	change()
	return true
}

// Close ends every lease and wakes every waiter. It returns nil.
func (l *Locker) Close() error {
	l.closed.Store(true)
	for i := range l.shards {
		l.shards[i].loseAll()
	}
	return nil
}

func (l *Locker) shardOf(key string) *shard {
	return &l.shards[maphash.String(l.seed, key)%shards]
}

func (l *Locker) newToken() string {
	return l.prefix + strconv.FormatUint(l.leases.Add(1), 36)
}
