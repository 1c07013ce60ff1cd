package fleet

import (
	"context"
	"sync"
	"time"
)

// server is what this member does on one server. A member on a single server has one,
// on a cluster one for each node on which it waits for locks or holds them: a node
// that does not answer then holds up nobody on the others. Its goroutines start with
// its first lock.
type server struct {
	member *Member
	addr   string // "" if there is only one, or for locks of which it is not known where they are

	looks  chan struct{} // something is to be looked at
	renews chan struct{} // there are leases
	quit   chan struct{} // closed when nothing of it is left

	// Guarded by Member.mu.
	subjects  []*subject // in no order
	held      int        // leases in subjects
	changed   []*subject // those to be looked at
	lingering []linger   // those that are kept for a moment, the oldest first
	hurry     bool       // watch is to go through all subjects now

	check    bool      // somebody may be missing
	checking bool      // holders are being asked for
	strange  bool      // a holder has come up that was not asked for yet
	ask      time.Time // when to ask for it; zero: there is none
}

// server returns what this member does at addr. m.mu is held, and m is not closed.
func (m *Member) server(addr string) *server {
	v := m.servers[addr]
	if v == nil {
		v = &server{
			member: m, addr: addr,
			looks:  make(chan struct{}, 1),
			renews: make(chan struct{}, 1),
			quit:   make(chan struct{}),
		}
		m.servers[addr] = v
		m.running.Go(v.watch)
		m.running.Go(v.renew)
	}
	return v
}

// roomy is how many places a list may have that is kept though it is empty.
const roomy = 1024

// add puts a subject on the server's list. Member.mu is held.
func (v *server) add(s *subject) {
	s.at, s.place = v, len(v.subjects)
	v.subjects = append(v.subjects, s)
}

// remove takes a subject off the list. Member.mu is held.
func (v *server) remove(s *subject) {
	last := len(v.subjects) - 1
	moved := v.subjects[last]
	v.subjects[s.place], moved.place = moved, s.place
	v.subjects[last] = nil
	if v.subjects = v.subjects[:last]; last == 0 && cap(v.subjects) > roomy {
		v.subjects = nil
	}
}

// isTracking reports whether the server tells of changes. Member.mu is held.
func (v *server) isTracking() bool {
	if t := v.member.trackers[v.addr]; t != nil {
		return t.up
	}
	// Locks of which it is not known where they are may be anywhere, and those of a
	// server that is gone will be found elsewhere.
	return v.addr == "" && v.member.isTracking()
}

// gap is called when changes may have been missed. Member.mu is held.
func (v *server) gap() {
	for _, s := range v.subjects {
		v.member.missed(s)
	}
}

// missed notes that changes of s may have been missed. m.mu is held.
func (m *Member) missed(s *subject) {
	for _, l := range s.leases {
		l.echoes = 0
		if l.state == asked {
			l.changes += 2 // whatever the answer says, it may be out of date
		}
	}
	s.token = ""
	s.delay = 0
	m.mark(s)
}

// nodeOf returns the address of the server that has lock, or "".
func (m *Member) nodeOf(ctx context.Context, lock string) string {
	switch {
	case !m.Client.Cluster():
		return ""
	case m.mapped.Load():
		return m.Client.NodeOf(ctx, lock)
	}
	// go-redis asks the servers of a cluster for its map first, and may ask one that
	// does not answer.
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = m.Client.Run(ctx, func(ctx context.Context) error {
		if m.Client.NodeOf(ctx, lock) != "" {
			m.mapped.Store(true)
		}
		return nil
	})
	if !m.mapped.Load() {
		return ""
	}
	return m.Client.NodeOf(ctx, lock)
}

// regroup finds out anew which server has which lock, after slots were moved or a
// replica took over, and lets go of servers that have none.
func (m *Member) regroup() {
	type home struct {
		lock, addr string
	}
	m.mu.Lock()
	homes := make([]home, 0, len(m.subjects))
	for lock := range m.subjects {
		homes = append(homes, home{lock: lock})
	}
	m.mu.Unlock()
	for i := range homes {
		homes[i].addr = m.nodeOf(m.life, homes[i].lock)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	for _, h := range homes {
		if s := m.subjects[h.lock]; s != nil && h.addr != "" && h.addr != s.at.addr {
			m.move(s, m.server(h.addr))
		}
	}
	for addr, v := range m.servers {
		if len(v.subjects) == 0 && len(v.lingering) == 0 && m.trackers[addr] == nil {
			close(v.quit)
			delete(m.servers, addr)
		}
	}
}

// move gives a subject to another server. m.mu is held.
func (m *Member) move(s *subject, to *server) {
	s.at.remove(s)
	s.at.held -= len(s.leases)
	to.add(s)
	to.held += len(s.leases)
	// What stands on the lists of the old one is passed over there. Whether the new
	// one has told of all changes nobody knows.
	s.marked = false
	m.missed(s)
	alarm(to.renews)
	alarm(m.probes)
}

// byServer calls f for the leases of each server, all at once, and returns when all
// calls have returned.
func (m *Member) byServer(leases []*Lease, f func([]*Lease)) {
	groups := make(map[string][]*Lease)
	for _, l := range leases {
		groups[l.node] = append(groups[l.node], l)
	}
	var all sync.WaitGroup
	for _, group := range groups {
		all.Go(func() { f(group) })
	}
	all.Wait()
}
