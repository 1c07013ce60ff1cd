package fleet

import (
	"context"
	"errors"
	"time"
)

// ErrGone says of a lease that its lock is not held under its token any more.
var ErrGone = errors.New("fleet: the lock is not held under this token")

// state is how far a lease has come. Member.mu guards it.
type state uint8

const (
	asked     state = iota // the server has been asked for it
	held                   // it was granted
	ending                 // something is under way that ends it
	returning              // it is to be given back, as soon as the server answers
	ended                  // it is over
)

// Lease is one attempt at a lock, and what came of it. It implements lock.Lease.
type Lease struct {
	// Handle is the owner's, to be set before Granted.
	Handle any

	member *Member
	key    string // what was asked for
	lock   string // the name of the lock key
	node   string
	token  string
	lost   chan struct{}

	// Guarded by Member.mu.
	state   state
	changes int // of the lock key, told of while the answer was under way
	echoes  int // of the lock key, this lease's own doing, still to be told of
	expires time.Time
	keep    time.Time // until when it is given back again and again: it may yet be granted
	until   time.Time // when it is not given back any more, whatever the server does
	stray   bool      // something that was sent for it may still be on its way
	returns int       // how often the server has answered since keep
	renewAt time.Time // when it is renewed next, or given back
}

// Ask registers an attempt at the lock of key, whose name is lock. It is called
// before the server is asked; Granted, Refused or Abandon must follow. After Close
// it returns nil.
func (m *Member) Ask(ctx context.Context, key, lock string) *Lease {
	return m.ask(ctx, key, lock, false)
}

// AskToWrite is Ask for somebody who takes the lock only for as long as a write takes.
// The token says so, which lets scripts tell such a lease from a creator's.
func (m *Member) AskToWrite(ctx context.Context, key, lock string) *Lease {
	return m.ask(ctx, key, lock, true)
}

func (m *Member) ask(ctx context.Context, key, lock string, writer bool) *Lease {
	node := m.nodeOf(ctx, lock)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	l := &Lease{
		member: m, key: key, lock: lock, node: node,
		token: m.newToken(node, writer), lost: make(chan struct{}),
		expires: time.Now().Add(m.TTL),
	}
	s := m.of(lock, node)
	s.leases = append(s.leases, l)
	s.at.held++
	return l
}

// Granted tells that the server has granted the lease. It returns false if the
// member was closed meanwhile; the lock is then given back.
func (l *Lease) Granted() bool {
	m := l.member
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.state == ended {
		return false // Close has released it, or will not have found it
	}
	l.state = held
	l.renewAt = l.expires.Add(-m.TTL + m.TTL/3)
	switch {
	case l.changes == 0:
		l.echo() // of having taken it
	case l.changes > 1:
		m.mark(m.subjects[l.lock])
	}
	alarm(m.subjects[l.lock].at.renews)
	return true
}

// Refused tells that the lock is held under another token. A Wait that follows soon
// then need not ask for it: every change since would have been told.
func (l *Lease) Refused(token string) {
	m := l.member
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.subjects[l.lock]
	if token != "" && s != nil && l.state == asked && l.changes == 0 && s.at.isTracking() {
		if s.token = token; !s.lingers {
			v := s.at
			s.lingers = true
			v.hurry = v.hurry || len(v.lingering) == 0
			v.lingering = append(v.lingering, linger{s, time.Now()})
			alarm(v.looks)
		}
	}
	m.drop(l)
}

// Abandon tells that it is not known what the server has done. The lock is given
// back as soon as the server answers, if it does so within three TTLs.
func (l *Lease) Abandon() {
	m := l.member
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.state != ended {
		now := time.Now()
		l.giveUp(now)
		l.stray = true
		l.keep = now.Add(2 * m.Client.Answers())
		if atLeast := l.keep.Add(m.TTL); l.until.Before(atLeast) {
			l.until = atLeast
		}
	}
}

// giveUp has the lease given back in the background. Member.mu is held.
func (l *Lease) giveUp(now time.Time) {
	m := l.member
	l.stray = !now.Before(l.expires)
	l.state = returning
	l.renewAt = now
	l.until = l.expires.Add(2 * m.TTL)
	alarm(m.subjects[l.lock].at.renews)
}

// End begins what ends the lease, such as storing under it, and reports whether it
// is still held as far as this process knows. Ended must follow.
func (l *Lease) End() bool {
	m := l.member
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.state != held {
		return false
	}
	l.state = ending
	return true
}

// Ended tells what came of it: nil if the lease has ended as was wanted, [ErrGone]
// if it had been lost, and another error if that is not known: then the lease is
// still held, as far as anybody knows.
func (l *Lease) Ended(err error) {
	m := l.member
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case l.state != ending:
	case err == nil:
		m.drop(l)
	case errors.Is(err, ErrGone):
		m.lose(l)
	default:
		l.state = held
		l.echoes = 0
		m.mark(m.subjects[l.lock])
		alarm(m.subjects[l.lock].at.renews) // nobody has renewed it meanwhile
	}
}

// Member returns the member that the lease belongs to.
func (l *Lease) Member() *Member { return l.member }

// Lock returns the name of the lock key.
func (l *Lease) Lock() string { return l.lock }

// Key returns the key that the lease was asked for.
func (l *Lease) Key() string { return l.key }

// Token returns the text that tells this lease from every other one.
func (l *Lease) Token() string { return l.token }

// Lost returns a channel that is closed when the lease is known to be lost.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Release gives the lease back. It returns nil also if the server does not answer:
// it is asked again in the background, for two TTLs after the lease has expired.
func (l *Lease) Release(ctx context.Context) error {
	if !l.End() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := l.member.Release(ctx, []*Lease{l}); err != nil {
		l.member.mu.Lock()
		defer l.member.mu.Unlock()
		if l.state == ending {
			l.giveUp(time.Now())
		}
		return nil
	}
	l.Ended(nil)
	return nil
}

// echo tells that a command of this lease is about to change the lock, which this
// process will be told of like everybody else. Member.mu is held.
func (l *Lease) echo() {
	if l.member.subjects[l.lock].at.isTracking() {
		l.echoes++
	}
}

// noticed is called when the lock has changed, and reports whether somebody else
// may have done it. Member.mu is held.
func (l *Lease) noticed() bool {
	switch {
	case l.state == asked:
		// It may be this lease's own doing, or that of whoever took the lock
		// before; the answer will tell which.
		l.changes++
		return false
	case l.echoes > 0:
		l.echoes--
		return false
	case l.state == returning:
		// It may have been granted only now.
		l.renewAt = time.Time{}
		alarm(l.member.subjects[l.lock].at.renews)
		return false
	}
	return l.state == held
}

// lose ends a lease and tells its holder. Member.mu is held.
func (m *Member) lose(l *Lease) {
	if l.state == ended {
		return
	}
	if l.state != returning { // else its holder has ended it, or never had it
		close(l.lost)
	}
	m.drop(l)
}

// drop takes the lease out of the member. m.mu is held.
func (m *Member) drop(l *Lease) {
	s := m.subjects[l.lock]
	if s == nil {
		l.state = ended
		return
	}
	for i, other := range s.leases {
		if other == l {
			s.leases = append(s.leases[:i], s.leases[i+1:]...)
			s.at.held--
			break
		}
	}
	l.state = ended
	m.tidy(s)
}

// Lease returns the lease of this process on lock that has this token, or nil.
func (m *Member) Lease(lock, token string) *Lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.subjects[lock]; s != nil {
		for _, l := range s.leases {
			if l.token == token {
				return l
			}
		}
	}
	return nil
}
