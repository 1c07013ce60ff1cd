package filelock

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// startWatch has leases watched for as long as there are any. m.mu is held.
func (m *Member) startWatch() {
	if m.watching || m.closed || m.space.over.Load() {
		return
	}
	m.watching = true
	m.watches.Go(m.watch)
}

// watch tells others that this process runs, and holders that their leases are lost.
// Looking costs one system call, however many leases there are: whoever ends a lease of
// another process rings. What happens otherwise, such as that somebody removes the
// files, is found within a second.
func (m *Member) watch() {
	ticker := time.NewTicker(min(look, m.beat))
	defer ticker.Stop()
	checked := time.Now()
	for {
		select {
		case <-m.space.ending.Done():
			return
		case <-ticker.C:
		}
		m.mu.Lock()
		if len(m.leases) == 0 && len(m.leaving) == 0 {
			m.watching = false
			m.mu.Unlock()
			return
		}
		self := m.self
		beat := time.Since(m.touched) >= m.beat
		if beat {
			m.touched = time.Now()
		}
		m.mu.Unlock()
		if self == nil {
			continue
		}
		if beat {
			self.touch()
		}
		rang := self.rang()
		if !rang && time.Since(checked) < check {
			continue
		}
		checked = time.Now()
		m.checkSelf(self)
		m.checkLeases()
		m.retryLeaving()
	}
}

// checkSelf gives up an identity that others cannot see any more: somebody has removed
// its file.
func (m *Member) checkSelf(self *process) {
	if standsAt(self.lock, self.path) {
		return
	}
	m.identifying.Lock()
	defer m.identifying.Unlock()
	m.drop(self)
}

// drop gives up an identity, if it is still the one, and the leases that it had.
// m.identifying is held.
func (m *Member) drop(self *process) {
	m.mu.Lock()
	if m.self != self {
		m.mu.Unlock()
		return
	}
	m.self = nil
	leases := m.leases
	m.leases = map[Name]*Lease{}
	for _, l := range leases {
		close(l.lost)
	}
	m.mu.Unlock()
	unlock(self.lock)
}

// checkLeases looks at the files of all leases that are held.
func (m *Member) checkLeases() {
	m.mu.Lock()
	leases := make([]*Lease, 0, len(m.leases))
	for _, l := range m.leases {
		leases = append(leases, l)
	}
	m.mu.Unlock()
	for _, l := range leases {
		// Not an operation like others: this process must not seem to be stopped while
		// it waits for a turn.
		token, err := readToken(m.space.Path(l.name, leaseSuffix))
		if (err == nil || errors.Is(err, fs.ErrNotExist)) && token != l.token && m.forget(l) {
			close(l.lost)
		}
	}
}

// retryLeaving tries again to remove the files of leases that are over.
func (m *Member) retryLeaving() {
	m.mu.Lock()
	names := make([]Name, 0, len(m.leaving))
	for name := range m.leaving {
		names = append(names, name)
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.space.ending, m.beat/2)
	defer cancel()
	for _, name := range names {
		_ = m.space.Locked(ctx, name.Shard(), func() error {
			m.mu.Lock()
			tokens := m.leaving[name]
			delete(m.leaving, name)
			m.mu.Unlock()
			for i, token := range tokens {
				if err := m.removeLocked(name, token); err != nil {
					m.mu.Lock()
					m.leaving[name] = append(m.leaving[name], tokens[i:]...)
					m.mu.Unlock()
					return err
				}
			}
			return nil
		})
	}
}
