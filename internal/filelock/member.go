package filelock

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/internal/poll"
	"github.com/dogpile-go/dogpile/lock"
)

const (
	leaseSuffix = ".l"
	leaseMagic  = "dogpile lease 1 "
	leaseSize   = len(leaseMagic) + tokenSize + 1

	// look is how often a holder looks whether somebody has rung.
	look = 20 * time.Millisecond

	// check is how often it looks at its leases without that.
	check = time.Second

	// releaseTime is how long a Release waits for a folder. What it did not manage
	// is tried again in the background.
	releaseTime = time.Second
)

// Member grants leases in a Space. Open it with [Join]. All methods are safe for
// concurrent use; those whose names end in Locked have to be called under the lock of
// the folder, see [Space.Locked].
type Member struct {
	space  *Space
	ttl    time.Duration
	beat   time.Duration // how often the file of the process is touched
	poller *poll.Poller

	identifying sync.Mutex // held while self is made

	mu       sync.Mutex
	self     *process          // nil until it is needed
	touched  time.Time         // when self was touched
	leases   map[Name]*Lease   // those that are held
	leaving  map[Name][]string // tokens of leases whose files are still to be removed
	watching bool              // a watch runs
	closed   bool
	watches  sync.WaitGroup
}

// Join returns a Member of space. ttl is how long others wait for a process that does
// not run. The Member closes the space.
func Join(space *Space, ttl time.Duration) *Member {
	m := &Member{
		space:   space,
		ttl:     ttl,
		beat:    min(check, ttl/4),
		leases:  map[Name]*Lease{},
		leaving: map[Name][]string{},
	}
	m.poller = poll.New(m.look, space.closed)
	return m
}

// TakeLocked takes the lease of name, of which the holder knows by key. It returns
// [lock.ErrHeld] if somebody has it.
func (m *Member) TakeLocked(name Name, key string) (*Lease, error) {
	path := m.space.Path(name, leaseSuffix)
	token, err := readToken(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if token != "" {
		held, err := m.holds(name, token, nil)
		if err != nil {
			return nil, err
		}
		if held {
			return nil, lock.ErrHeld
		}
	}
	m.lose(name)
	self, err := m.identity()
	if err != nil {
		return nil, err
	}
	_ = os.Remove(path) // nobody's; if it cannot be removed, none can be created
	l := &Lease{
		member: m, name: name, key: key, lost: make(chan struct{}),
		token: self.id + "-" + strings.ToLower(rand.Text()[:nonceSize]),
	}
	if err := writeLease(path, l.token); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = os.Remove(path)
		return nil, m.space.closed
	}
	m.leases[name] = l
	m.startWatch()
	return l, nil
}

func writeLease(path, token string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(leaseMagic + token + "\n")
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// readToken returns the token in a lease file, or "" if there is none: the file was
// not finished, or is no lease.
func readToken(path string) (string, error) {
	var buf [leaseSize + 1]byte
	n, err := Read(path, buf[:])
	if err != nil || n != leaseSize {
		return "", err
	}
	text := string(buf[:n])
	token := strings.TrimSuffix(strings.TrimPrefix(text, leaseMagic), "\n")
	if len(token) != tokenSize || !validID(token[:idSize]) {
		return "", nil
	}
	return token, nil
}

// holds reports whether the lease of name that has token is held by anybody. known has
// what was found out about processes already; nil is good.
func (m *Member) holds(name Name, token string, known map[string]bool) (bool, error) {
	id := token[:idSize]
	m.mu.Lock()
	self := m.self != nil && m.self.id == id
	l := m.leases[name]
	mine := l != nil && l.token == token
	m.mu.Unlock()
	if self {
		// One that this process does not know of could not be removed by it.
		return mine, nil
	}
	if alive, ok := known[id]; ok {
		return alive, nil
	}
	alive, err := m.space.alive(id, m.ttl)
	if err == nil && known != nil {
		known[id] = alive
	}
	return alive, err
}

// identity returns what leases are granted as, and makes sure that others see it alive.
func (m *Member) identity() (*process, error) {
	m.identifying.Lock()
	defer m.identifying.Unlock()
	m.mu.Lock()
	self, closed, touched := m.self, m.closed, m.touched
	m.mu.Unlock()
	if closed {
		return nil, m.space.closed
	}
	if self != nil && !standsAt(self.lock, self.path) {
		m.drop(self)
		self = nil
	}
	if self == nil {
		m.space.SweepProcesses() // those that ended without Close, if nobody else does it
		var err error
		if self, err = m.space.newProcess(); err != nil {
			return nil, err
		}
	} else if time.Since(touched) < m.beat {
		return self, nil
	} else {
		self.touch()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.touched = time.Now()
	m.self = self
	return self, nil
}

// VoidLocked ends the lease of name, whoever holds it.
func (m *Member) VoidLocked(name Name) error {
	path := m.space.Path(name, leaseSuffix)
	token, err := readToken(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	m.lose(name)
	m.poller.Wake(string(name[:]))
	if token == "" {
		return nil
	}
	m.mu.Lock()
	self := m.self != nil && m.self.id == token[:idSize]
	m.mu.Unlock()
	if !self {
		m.space.ring(token[:idSize])
	}
	return nil
}

// lose tells the holder in this process that the lease of name is lost.
func (m *Member) lose(name Name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.leases[name]; l != nil {
		delete(m.leases, name)
		close(l.lost)
	}
}

// FinishLocked runs store if the lease of name with token is held, and ends the lease
// if store has returned nil. It returns [lock.ErrLost] if it is not held, and then has
// not run store.
func (m *Member) FinishLocked(name Name, token string, store func() error) error {
	m.mu.Lock()
	l := m.leases[name]
	m.mu.Unlock()
	if l == nil || l.token != token {
		return lock.ErrLost
	}
	there, err := readToken(m.space.Path(name, leaseSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if there != token {
		m.lose(name)
		return lock.ErrLost
	}
	if err := store(); err != nil {
		return err
	}
	m.endLocked(l)
	return nil
}

// endLocked ends a lease that is held. What cannot be removed now is removed later.
func (m *Member) endLocked(l *Lease) {
	// First here: a watch that finds the file gone must not think that it was lost.
	if !m.forget(l) {
		return
	}
	if m.removeLocked(l.name, l.token) != nil {
		m.leave(l)
	}
	m.poller.Wake(string(l.name[:]))
}

// removeLocked removes the lease of name if it has that token.
func (m *Member) removeLocked(name Name, token string) error {
	path := m.space.Path(name, leaseSuffix)
	there, err := readToken(path)
	if err == nil && there == token {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// forget takes l out of those that are held. It reports false if it was not among them.
func (m *Member) forget(l *Lease) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leases[l.name] != l {
		return false
	}
	delete(m.leases, l.name)
	return true
}

// leave has the file of a lease that is over removed by the watch.
func (m *Member) leave(l *Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return // the process is dead for others
	}
	m.leaving[l.name] = append(m.leaving[l.name], l.token)
	m.startWatch()
}

// Wait is Wait of [lock.Locker] for the leases of names.
func (m *Member) Wait(ctx context.Context, names ...Name) error {
	if m.space.over.Load() {
		return m.space.closed
	}
	keys := make([]string, len(names))
	for i := range names {
		keys[i] = string(names[i][:])
	}
	return m.poller.Wait(ctx, keys...)
}

// look is the look of the poller.
func (m *Member) look(ctx context.Context, keys []string) ([]bool, error) {
	free := make([]bool, len(keys))
	errs := make(poll.KeyErrors, len(keys))
	failed := false
	known := map[string]bool{}
	for i, key := range keys {
		err := m.space.Read(ctx, func() (err error) {
			free[i], err = m.isFree(Name([]byte(key)), known)
			return err
		})
		if ctx.Err() != nil || m.space.over.Load() {
			return free, err
		}
		errs[i] = err
		failed = failed || err != nil
	}
	if failed {
		return free, errs
	}
	return free, nil
}

// isFree reports whether the lease of name may be free.
func (m *Member) isFree(name Name, known map[string]bool) (bool, error) {
	token, err := readToken(m.space.Path(name, leaseSuffix))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case token == "":
		return true, nil // or not finished yet, which whoever tries will find
	}
	held, err := m.holds(name, token, known)
	return !held && err == nil, err
}

// SweepLeaseLocked removes the file of the lease of name if it is nobody's.
func (m *Member) SweepLeaseLocked(name Name) {
	path := m.space.Path(name, leaseSuffix)
	token, err := readToken(path)
	if err != nil {
		return
	}
	if token != "" {
		if held, err := m.holds(name, token, nil); held || err != nil {
			return
		}
	}
	_ = os.Remove(path)
}

// Close ends all leases and the Space, and wakes those who wait.
func (m *Member) Close() {
	m.mu.Lock()
	m.space.over.Store(true) // no watch is started any more
	m.mu.Unlock()
	m.space.end()
	m.poller.Close()
	m.watches.Wait()
	m.space.Close()
	m.identifying.Lock()
	m.mu.Lock()
	m.closed = true
	leases, leaving, self := m.leases, m.leaving, m.self
	m.leases, m.leaving, m.self = map[Name]*Lease{}, map[Name][]string{}, nil
	m.mu.Unlock()
	m.identifying.Unlock()
	for _, l := range leases {
		close(l.lost)
		leaving[l.name] = append(leaving[l.name], l.token)
	}
	if self != nil {
		self.leave() // from now on everybody knows the leases to be free
	}
	m.clear(leaving)
}

// clear removes what is left of leases, as far as that takes a second.
func (m *Member) clear(leaving map[Name][]string) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	names := make([]Name, 0, len(leaving))
	for name := range leaving {
		names = append(names, name)
	}
	_ = ByShard(names, func(shard int, places []int) error {
		return m.space.locked(ctx, shard, time.Now(), nil, func() error {
			for _, i := range places {
				for _, token := range leaving[names[i]] {
					_ = m.removeLocked(names[i], token)
				}
			}
			return nil
		})
	})
}
