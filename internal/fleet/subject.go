package fleet

import (
	"context"
	"time"
)

// subject is a lock that somebody in this process waits for or holds. It is guarded
// by Member.mu.
type subject struct {
	lock    string
	at      *server // the server that has it
	place   int     // in server.subjects
	waiters map[*waiter]struct{}
	leases  []*Lease // asked for or held

	token  string    // whose it was when it was last looked at; "" if that is not known
	marked bool      // it stands in server.changed
	since  time.Time // when it was last looked at, or changed
	delay  time.Duration
	fails  int // looks that failed, in a row

	asked time.Time // when it was last asked whether the lock ever expires

	askedFor string // the token whose holder was asked for last
	doomed   string // the token whose holder was found dead once

	lingers bool // it stands in server.lingering
}

// linger is a subject that is kept for a moment, because whoever was refused its
// lock is about to wait for it.
type linger struct {
	*subject
	since time.Time
}

const lingerFor = 500 * time.Millisecond

// waiter is one call of Wait.
type waiter struct {
	woken chan struct{} // closed, once err is set
	err   error
	done  bool
}

// wake ends a Wait. Member.mu is held.
func (w *waiter) wake(err error) {
	if !w.done {
		w.done, w.err = true, err
		close(w.woken)
	}
}

// of returns the subject of lock, which it makes if need be. m.mu is held, and m is not
// closed.
func (m *Member) of(lock, node string) *subject {
	s := m.subjects[lock]
	if s == nil {
		s = &subject{lock: lock, since: time.Now()}
		m.subjects[lock] = s
		m.server(node).add(s)
		m.peak = max(m.peak, len(m.subjects))
	}
	return s
}

// tidy drops a subject that nobody wants any more. m.mu is held. The map is dropped
// when it is empty after it had been large, because Go's maps do not shrink.
func (m *Member) tidy(s *subject) {
	if len(s.waiters) > 0 || len(s.leases) > 0 || s.lingers || m.subjects[s.lock] != s {
		return
	}
	delete(m.subjects, s.lock)
	s.at.remove(s)
	if len(m.subjects) == 0 && m.peak > roomy {
		m.subjects, m.peak = make(map[string]*subject), 0
	}
}

// endLingering lets go of subjects that nobody came to wait for, and returns when to
// do so again, or 0. Member.mu is held.
func (v *server) endLingering(now time.Time) time.Duration {
	n := 0
	for n < len(v.lingering) && now.Sub(v.lingering[n].since) >= lingerFor {
		s := v.lingering[n].subject
		s.lingers = false
		if len(s.waiters) == 0 {
			s.token = ""
		}
		v.member.tidy(s)
		n++
	}
	if v.lingering = v.lingering[n:]; len(v.lingering) == 0 {
		v.lingering = nil
		return 0
	}
	return lingerFor
}

// mark puts a subject on the list of those to be looked at. m.mu is held.
func (m *Member) mark(s *subject) {
	if !s.marked {
		s.marked = true
		s.at.changed = append(s.at.changed, s)
		alarm(s.at.looks)
	}
}

// Wait blocks while all of locks are held, and returns nil when one may be free. It
// returns the cause of ctx when that ends first, Config.Closed after Close, and
// another error when the server does not answer.
func (m *Member) Wait(ctx context.Context, locks ...string) error {
	if len(locks) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	nodes := m.nodesOf(ctx, locks)
	w := &waiter{woken: make(chan struct{})}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return m.Closed
	}
	for i, lock := range locks {
		s := m.of(lock, nodes[i])
		if s.waiters == nil {
			s.waiters = make(map[*waiter]struct{})
		}
		known := s.token != "" && s.at.isTracking()
		s.waiters[w] = struct{}{}
		m.rivalry(s)
		if !known {
			// It may have become free before anybody here was listening.
			m.mark(s)
		}
	}
	m.mu.Unlock()
	alarm(m.probes)

	var err error
	select {
	case <-w.woken:
		err = w.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-m.closing:
		err = m.Closed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w.done = true
	for _, lock := range locks {
		if s := m.subjects[lock]; s != nil {
			delete(s.waiters, w)
			m.tidy(s)
		}
	}
	return err
}

// nodesOf returns the servers that have locks.
func (m *Member) nodesOf(ctx context.Context, locks []string) []string {
	nodes := make([]string, len(locks))
	for i, lock := range locks {
		nodes[i] = m.nodeOf(ctx, lock)
	}
	return nodes
}

// onChange is called with the names of lock keys that have changed.
func (m *Member) onChange(locks []any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, lock := range locks {
		name, _ := lock.(string)
		s := m.subjects[name]
		if s == nil {
			continue
		}
		s.since, s.delay = now, 0
		s.token = ""
		foreign := len(s.waiters) > 0
		for _, l := range s.leases {
			foreign = l.noticed() || foreign
		}
		if foreign {
			m.mark(s)
		}
	}
}

// onGap is called when changes of locks on the server addr may have been missed.
func (m *Member) onGap(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, v := range m.servers {
		// Where the others are is not known.
		if at == addr || at == "" {
			v.gap()
		}
	}
}
