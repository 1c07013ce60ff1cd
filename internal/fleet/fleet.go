// Package fleet is what the processes of a fleet tell each other through a Redis
// server, besides storing values there: who holds which lock, when one becomes
// free, and who is still alive.
//
// A process joins with [Join] and so becomes a [Member]. It keeps one connection
// to each server of its own, besides those of the client it was given.
//
// # Wake-up
//
// The connection asks the server (CLIENT TRACKING, RESP3, broadcast mode) to push
// the name of every lock key that changes, whoever changes it and however: by
// taking, renewing, releasing, deleting, or because it expired. Members look at a
// lock when it has changed, all waiters of a process with one command, and wake
// those whose lock is free. Nobody polls. A connection on which nothing comes back
// any more is given up after two beats, and after every gap all locks that are
// waited for are looked at again. Where tracking is not to be had, a member polls:
// one poller for all waiters of the process, each lock every 5 ms at first and
// every 50 ms in the end.
//
// # Takeover
//
// A token names the process that holds the lock, and each process subscribes to a
// channel of its own name on that connection. When a process dies the kernel closes
// its connections, and the server knows at once that nobody is subscribed any more:
// those who wait for its locks remove them. See alive.go. A process that is alive
// but does not run, or that is cut off, keeps its locks until they expire.
//
// # Clusters
//
// Each server is looked after by itself, see server.go: one that does not answer delays
// what concerns its own locks.
//
// None of this has to be right for a value to be right: a lock only keeps a fleet
// from working twice. What may be stored is decided by the server, by token.
package fleet

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/internal/redisio"
)

// Config says how a process joins. Client, Prefix and TTL must be set.
type Config struct {
	// Client is what commands are sent with, and whose options the member's own
	// connections have.
	Client *redisio.Client

	// Prefix is what the names of all lock keys begin with, and no other key.
	Prefix string

	// Foreign says that other programs have locks under Prefix as well. Those are theirs:
	// one that never expires is not taken for a mistake, and one that has no token, because
	// it is empty or of another type, is held all the same.
	Foreign bool

	// TTL is how long a lease lasts without being renewed. At least a
	// millisecond.
	TTL time.Duration

	// Refresh renews leases for another TTL. It returns for each nil, [ErrGone]
	// if the lock is not held under that token any more, or what kept it from
	// knowing. The leases are of one server of a cluster. Nil stands for a script.
	Refresh func(ctx context.Context, leases []*Lease) []error

	// Release frees locks that are held under their leases' tokens, likewise. Nil
	// stands for a script.
	Release func(ctx context.Context, leases []*Lease) error

	// Closed is what Wait returns after Close.
	Closed error

	// Logger is told what the user may want to mend, once each. It must be set.
	Logger *slog.Logger
}

// Member is this process as a member of the fleet. All methods are safe for
// concurrent use.
type Member struct {
	Config
	process string // names this member in tokens and channels
	joined  time.Time
	mapped  atomic.Bool // it is known which server of a cluster has which lock

	closing chan struct{}   // closed by Close
	life    context.Context // ends with Close, so that nothing is tried again
	end     context.CancelFunc
	running sync.WaitGroup
	probes  chan struct{} // somebody waits for another process, or may have died
	settled chan struct{} // closed when it is known whether tracking works

	mu       sync.Mutex // guards everything below, and what says so elsewhere
	closed   bool
	subjects map[string]*subject // locks that somebody waits for or holds
	peak     int                 // the most subjects since the map was made
	servers  map[string]*server  // by their addresses
	trackers map[string]*tracker // likewise
	expected int                 // trackers that have not settled yet
	probing  probing
}

// Join makes this process a member. It does not wait for the server, which may be
// down.
func Join(cfg Config) *Member {
	m := &Member{
		Config:   cfg,
		process:  newProcess(),
		joined:   time.Now(),
		closing:  make(chan struct{}),
		probes:   make(chan struct{}, 1),
		settled:  make(chan struct{}),
		subjects: make(map[string]*subject),
		servers:  make(map[string]*server),
		trackers: make(map[string]*tracker),
	}
	m.life, m.end = context.WithCancel(context.Background())
	if m.Refresh == nil {
		m.Refresh = m.refresh
	}
	if m.Release == nil {
		m.Release = m.release
	}
	m.running.Go(m.probe)
	m.running.Go(m.track)
	return m
}

// patience is how long Settle waits at most, and Release for an answer.
const patience = time.Second

// Settle waits until it is known whether locks of this process can be taken over
// when it dies, so that the first of them says so. It waits for a second after Join at
// most: one server of a cluster that does not answer must not hold up every call.
func (m *Member) Settle(ctx context.Context) {
	select {
	case <-m.settled:
		return
	default:
	}
	timer := time.NewTimer(time.Until(m.joined.Add(patience)))
	defer timer.Stop()
	select {
	case <-m.settled:
	case <-m.closing:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Tracking reports whether the server tells of changed locks at the moment, so that
// nobody polls.
func (m *Member) Tracking() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.isTracking()
}

// Close ends the leases of this process, wakes those who wait, and closes the
// connections. It returns when nothing of the member is left, except that a client
// without ContextTimeoutEnabled may still be waiting for an answer. With a server that
// does not answer it takes a second, or as long as the client waits for the answer to
// one command. A second Close does nothing.
func (m *Member) Close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		m.running.Wait()
		return
	}
	m.closed = true
	var mine []*Lease
	for _, s := range m.subjects {
		mine = append(mine, s.leases...)
	}
	for _, l := range mine {
		m.lose(l)
	}
	close(m.closing)
	m.end()
	trackers := make([]*tracker, 0, len(m.trackers))
	for _, t := range m.trackers {
		trackers = append(trackers, t)
	}
	m.mu.Unlock()

	for _, t := range trackers {
		t.stop()
	}
	if len(mine) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		m.byServer(mine, func(leases []*Lease) {
			_ = m.Release(ctx, leases) // what is left of them expires
		})
	}
	m.running.Wait()
}

// alarm rings a bell that is a channel of capacity one.
func alarm(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
