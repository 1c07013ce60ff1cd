package memcachedio

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/lock"
)

var _ lock.Lease = (*Held)(nil)

// leaseFlags mark an item that holds a token.
const leaseFlags = 0xd0610001

// What a token begins with: whether a creator has the lease, for as long as it takes,
// or somebody who only writes.
const (
	Creator = 'c'
	Writer  = 'w'
)

func newToken(sign byte) string { return string(sign) + rand.Text() }

// TokenOf returns the token in the item of a lease; "" if there is none, or one of
// another library.
func TokenOf(item *memcache.Item) string {
	if item == nil || item.Flags != leaseFlags && !isNumber(item) {
		return ""
	}
	return string(item.Value)
}

// state is how far a lease has come.
type state int

const (
	asked     state = iota // the server was asked for it
	held                   // it was granted
	ending                 // its holder has begun to end it
	returning              // it is given back, as soon as the server answers
	over                   // it is over
)

// Held is one attempt at a lease, and what came of it. It implements lock.Lease.
type Held struct {
	leases *Leases
	key    string // what was asked for
	name   Name
	token  string
	lost   chan struct{}

	// Guarded by Leases.mu.
	state   state
	expires time.Time // before then nobody else can have it
	renewAt time.Time
	left    bool      // its holder has left while it was ending
	keep    time.Time // until when it is given back again and again: it may yet be granted
}

// Key returns the key that the lease was asked for.
func (h *Held) Key() string { return h.key }

// Token returns the text that tells this lease from every other one.
func (h *Held) Token() string { return h.token }

// Lost returns a channel that is closed when the lease is known to be lost.
func (h *Held) Lost() <-chan struct{} { return h.lost }

// Name returns the name of the item that stands for the lease.
func (h *Held) Name() Name { return h.name }

// End begins what ends the lease and reports whether it is still held, as far as this
// process knows. Ended must follow.
func (h *Held) End() bool {
	h.leases.mu.Lock()
	defer h.leases.mu.Unlock()
	if h.state != held {
		return false
	}
	h.state = ending
	return true
}

// ErrGone is for [Held.Ended]: the lease had been lost.
var ErrGone = errors.New("memcached: the lease is gone")

// Ended tells what came of it: nil if the lease has ended as was wanted, [ErrGone] if
// it had been lost, and another error if that is not known, or if it was not ended:
// then it is held on.
func (h *Held) Ended(err error) {
	l := h.leases
	l.mu.Lock()
	switch {
	case h.state == asked && err == nil:
		l.drop(h) // a writer's, which is never more than asked for
	case h.state != ending:
	case err == nil:
		l.drop(h)
	case errors.Is(err, ErrGone):
		l.lose(h)
	case h.left:
		l.giveBack(h) // nobody else will
	default:
		h.state = held
	}
	l.mu.Unlock()
	if err == nil {
		l.poller.Wake(h.name.Text)
	}
}

// leave notes that the holder has given up what ends the lease, as it may be still under
// way: if it is not ended by that, it is given back.
func (h *Held) leave() {
	h.leases.mu.Lock()
	defer h.leases.mu.Unlock()
	h.left = h.left || h.state == ending
}

// patience is how long a Release waits for the server.
const patience = time.Second

// Release gives the lease back. It returns nil also if the server does not answer: it
// is asked again in the background until the lease has expired.
func (h *Held) Release(ctx context.Context) error {
	if !h.End() {
		h.leave()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, err := Call(ctx, h.leases.client, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, Free(ctx, h.name, h.token, nil)
	}, nil)
	if err == nil || errors.Is(err, ErrGone) {
		h.Ended(nil) // there is nothing that its holder could have lost any more
		return nil
	}
	h.leases.abandon(h)
	return nil
}

// Free removes the item of a lease if it has this token, and returns [ErrGone] if it
// has not. It does so with a cas, because a delete would hit whoever has the lease by
// then. item is what was just read there, or nil.
func Free(ctx context.Context, name Name, token string, item *memcache.Item) error {
	for range 4 {
		if item == nil {
			var err error
			if item, err = name.Server.GetOne(ctx, name.Text); err != nil {
				return err
			}
		}
		if TokenOf(item) != token {
			return ErrGone
		}
		outcome, err := name.Server.CAS(ctx, &memcache.Item{Key: name.Text, Expiration: -1, CasID: item.CasID})
		switch {
		case err != nil && !Broken(err):
			return err
		case outcome == Done:
			return nil
		case outcome == Absent:
			return ErrGone
		}
		item = nil // it was renewed meanwhile, or the answer was lost
	}
	return errors.New("memcached: the lease changed again and again while it was given back")
}
