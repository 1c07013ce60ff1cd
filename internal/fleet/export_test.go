package fleet

import "time"

// What the tests look at, since the server offers no event for it.

// Process returns the name of this member in tokens.
func (m *Member) Process() string { return m.process }

// AliveChannel returns the channel on which this member can be seen to be alive.
func (m *Member) AliveChannel() string { return m.aliveChannel(m.process) }

// FleetChannel returns the channel on which the members probe.
func (m *Member) FleetChannel() string { return m.fleetChannel() }

// Waits reports whether n calls of Wait wait for lock, and the server has said whose
// it is.
func (m *Member) Waits(lock string, n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.subjects[lock]
	return s != nil && len(s.waiters) == n && s.token != "" && !s.marked
}

// Subjects returns how many locks are known.
func (m *Member) Subjects() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.subjects)
}

// SetRefusedBackoff is to be called before there are members.
func SetRefusedBackoff(d time.Duration) { refusedBackoff = d }

// DeadToken returns a token of a process that is dead, and could have been seen to be
// alive.
func DeadToken() string { return DeadTokenOf(0) }

// DeadTokenOf is DeadToken of a process that is waited for as long as trip calls for.
func DeadTokenOf(trip time.Duration) string {
	return newProcess() + string(visible) + string('0'+patienceFor(trip)) + newProcess()[:nonceSize]
}

// TrackingOf reports whether the server at addr tells of changed locks.
func (m *Member) TrackingOf(addr string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.trackers[addr]
	return t != nil && t.up
}

// ServerOf returns the address of the server that a lock is taken to be on.
func (m *Member) ServerOf(lock string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.subjects[lock]; s != nil {
		return s.at.addr
	}
	return ""
}
