// Package redis keeps entries in Redis, for a whole fleet of processes: a single
// server, one that sentinels watch over, or a cluster.
//
//	b := redis.New(client, redis.Config{Prefix: "app"})
//	b, err := backend.Open("redis://127.0.0.1:6379/0?prefix=app")
//
// It needs Redis 6.2 or newer. Close, or the region that uses it, has to be called
// when it is not needed any more: each backend keeps a connection of its own to
// every server, over which the server tells when leases end.
//
// # What is stored
//
// Of a region "users" under the prefix "app":
//
//	app:{users:user:42}       a value, in its envelope, with a TTL
//	app:lock:{users:user:42}  the lease of that value, with a TTL
//	app:note:{users:user:42}  who has set that value last, for ten seconds
//	app:stamp:{users}         the stamps of the region, for ever
//	app:stamp:{users}:#blue   the stamps of the tag "blue", with a TTL
//
// Value and lease are in one slot of a cluster, so that one script can change both. So are
// all stamps of a region. The stamps of a tag are kept for half an hour longer than what is
// stored with it, at least, and for an hour at most: those of a tag that is in use are
// prolonged now and then, not at each publication. Beside what is stored for ever they are
// kept for ever.
//
// Channels are app:lock:fleet and app:lock:alive:…, one for each process.
//
// A server that evicts keys may evict any of them: a value that is gone is a miss,
// a lease that is gone refuses the publication under it, and a stamp that is gone
// makes the values that carry it dead.
//
// # Round trips
//
// A hit takes one: the value and the stamps of its region and its tags in one MGET, or, on a
// cluster, in one pipeline to two servers at most. So do Acquire, Delete, Renew and a Set
// under leases, for one key or for a thousand, with one tag or with a thousand; a Set
// without a lease takes two. Calls that come while others are
// under way are sent together, as one batch, when those have come back; no call is ever
// answered with what had been asked for before it came.
//
// # Late commands
//
// A command may reach the server after its connection was given up, however late. It
// cannot bring back or replace a value then, and that rests on no clock: a lock is asked
// for with a new token in each attempt, which no client repeats, and values are stored
// only under a token whose grant has been answered, which ends with it. So what is late
// finds its token gone. That is why a Set without a lease takes a lock first: until it has
// stored, creators of its keys wait. A lock that is taken late is given back; if it is
// later than that is tried, creators of the key wait until it has expired.
//
// Stamps that are written late are new ones, which nothing carries: they invalidate, and
// never revive what was invalidated.
//
// # Clients
//
// A client that is opened from a URL keeps the deadlines of contexts, waits a
// second for an answer, and does not repeat commands by itself. One that is handed
// to New is used as it is, with its timeouts and its hooks, and it is not closed; only
// what writes is not repeated by it but by the backend. One of its connections is kept
// from the pool while keys are read, and given back within a second, if the pool has at
// least four. Set ContextTimeoutEnabled on it: otherwise a call with a near deadline
// costs a goroutine. No client of go-redis ends a command when a context is
// cancelled, as opposed to a deadline that passes; its read timeout does, as often as
// the client repeats the command, so a cancelled call may return that much later if it
// was the one that sends for others.
//
// go-redis logs connections that fail to standard error, besides returning the error;
// its SetLogger is for the whole program, so it is left to the program.
//
// # URLs
//
//	redis://[user:password@]host[:6379][/database][?options]
//	redis+sentinel://[user:password@]host[:26379],host,…/master[/database][?options]
//	redis+cluster://[user:password@]host[:6379],host,…[?options]
//
// rediss, rediss+sentinel and rediss+cluster are the same over TLS. Options, each once:
// prefix, lease_ttl, pool_size, dial_timeout, read_timeout, write_timeout, client_name,
// sentinel_username, sentinel_password, and with TLS tls_ca (a PEM file),
// tls_server_name, tls_insecure=true. Times are written as in 500ms.
//
// # Permissions
//
// The user needs GET, MGET, SET, DEL, UNLINK, PTTL, PEXPIRE, EVAL, EVALSHA and
// TIME on keys that begin with the prefix. Without CLIENT TRACKING and SUBSCRIBE the end of a
// lease is polled for instead of pushed, which is logged once. Without PUBLISH and
// PUBSUB a lease of a process that has died is taken over when it expires.
//
// # Sharing with other libraries
//
// A view in the layout of another caching library (see [Backend.Share]) has its keys where
// that library has them. Of a key "user:42", with the lock prefix "_lock":
//
//	user:42       the value, as the library encodes it, with the TTL it was given
//	_lockuser:42  the lease of that value, with the TTL of leases
//
// and nothing else: no prefix, no region, no stamps, no notes. Channels are _lockfleet and
// _lockalive:…, one for each process. A value is whatever is under its name, so two regions
// that use the same name have the same value, and a name that begins with the lock prefix
// may be that of a lock.
//
// A lock is free if its key does not exist, and is taken, renewed and freed by token, as
// redis-py does. The tokens of this library's own processes have a form of their own: their
// leases are ended by Set and Delete anywhere, and taken over when a process has died. Any
// other lock, and a key of another type or without content under the name of a lock, is
// another program's. It is waited for until it is freed or expires, which the server tells,
// so nobody polls; one without a TTL is waited for until the caller gives up, or for
// Layout.StealAfter. Then it is removed if it has the token that it had and still no TTL.
//
// A Set without a lease takes the lock first, as ever, and leaves nothing behind; while
// another program has the lock, the value is stored as long as that is so. What a Delete
// overtakes is not stored after it; without notes that is told by the value being gone, so a
// lock that the server has lost meanwhile may be taken for the same. Where the answer to a
// Set gets lost and others have deleted the value before it is asked for again, it returns
// an error though the value may have been stored for a while. And while another program has
// the lock nothing ends with a Set: one whose connection was given up may still be executed,
// late, until that lock ends.
//
// The user needs GETRANGE besides, and all of it on the library's keys. A cluster cannot be
// shared: value and lock are in different slots.
//
// # What Redis cannot promise
//
// Replication is asynchronous. A failover to a replica that had not yet got the
// last writes undoes them, invalidations among them; where that matters more than
// availability, min-replicas-to-write and WAIT are the server's means. Nothing here
// reads from replicas.
//
// While a slot of a cluster is being moved, its keys can be read and its stamps renewed, but
// a value cannot be changed together with its lock. Such calls wait until it has moved, for
// as long as the client waits for an answer, and then fail.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Clock   = (*Backend)(nil)
	_ backend.Sharer  = (*Backend)(nil)
)

// ErrConfig is wrapped by the error of a Backend that cannot work as it was
// configured.
var ErrConfig = errors.New("redis: the configuration is not usable")

// The errors of a server that cannot be used as it is. They are wrapped around what
// the server said.
var (
	// ErrAuth says that the server refuses the user's name or password.
	ErrAuth = redisio.ErrAuth

	// ErrNotAllowed says that the user may not run a command or use a key that is
	// needed.
	ErrNotAllowed = redisio.ErrNotAllowed

	// ErrTooOld says that the server is older than Redis 6.2.
	ErrTooOld = redisio.ErrTooOld
)

// DefaultPrefix is what keys begin with if Config.Prefix is empty.
const DefaultPrefix = "dogpile"

const (
	defaultLeaseTTL = 10 * time.Second
	shortestLease   = time.Millisecond
)

// Config says how a Backend works. The zero value is good.
type Config struct {
	// Prefix is what all keys and channels begin with, followed by a colon, so
	// that several applications can share a server. It has 128 bytes at most, no
	// braces, and does not end in ":lock", ":note", ":stamp" or ":mutex". Defaults to
	// "dogpile".
	Prefix string

	// LeaseTTL is how long the lease of a process lasts that does not renew it.
	// Leases are renewed every third of it while the creator runs, so it does not
	// limit creators; it is how long others wait for a process that is cut off or
	// does not run. They do not wait for one that has died. At least a
	// millisecond. Defaults to 10 seconds.
	LeaseTTL time.Duration

	// Logger is told once if the server does not tell when leases end, so that
	// they have to be polled. Defaults to slog.Default().
	Logger *slog.Logger
}

// Backend is a backend.Backend of bytes. Open it with [New] or with a URL. All
// methods are safe for concurrent use.
type Backend struct {
	broken error // what is wrong with the configuration
	client *redisio.Client
	owned  bool // Close closes the client
	logger *slog.Logger
	names  names
	ttl    time.Duration
	member *fleet.Member
	clock  clock

	greeted  atomic.Bool // the server was found to be usable
	greetMu  sync.Mutex
	greeting *greeting // the attempt that is under way, if one is

	lanesMu sync.RWMutex
	reads   map[string]*lane[*read]  // by the server's address
	writes  map[string]*lane[*write] // likewise
	kept    keptConn

	viewsMu sync.Mutex
	views   map[codec.Layout]*shared // nil once it is closed

	closed     atomic.Bool
	background gate // goroutines that Close waits for
	acquiring  gate // calls under way that ask for leases
}

// New returns a Backend on client, which is a *redis.Client or a
// *redis.ClusterClient of go-redis and is not closed by it. It does not wait for the
// server, which may be down: the backend works as soon as the server does.
//
// A client or Config that cannot work makes a Backend whose every call returns an
// error that wraps [ErrConfig] and says what is wrong; Err returns it, and a region
// refuses such a backend when it is configured.
func New(client goredis.UniversalClient, cfg Config) *Backend {
	return open(client, cfg, false)
}

func open(client goredis.UniversalClient, cfg Config, owned bool) *Backend {
	b := &Backend{owned: owned, ttl: cfg.LeaseTTL}
	var err error
	if b.client, err = redisio.New(client); err != nil {
		return &Backend{broken: fmt.Errorf("%w: %w", ErrConfig, err)}
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if err := redisio.CheckPrefix(cfg.Prefix); err != nil {
		return &Backend{broken: fmt.Errorf("%w: Prefix %q %w", ErrConfig, cfg.Prefix, err)}
	}
	switch {
	case b.ttl == 0:
		b.ttl = defaultLeaseTTL
	case b.ttl < shortestLease:
		return &Backend{broken: fmt.Errorf("%w: LeaseTTL is %v; a millisecond is the least, and some seconds are sensible", ErrConfig, b.ttl)}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	b.logger = cfg.Logger
	b.names = newNames(cfg.Prefix)
	b.views = make(map[codec.Layout]*shared)
	b.kept.client = b.client
	b.reads = make(map[string]*lane[*read])
	b.writes = make(map[string]*lane[*write])
	b.member = fleet.Join(fleet.Config{
		Client: b.client,
		Prefix: b.names.lock,
		TTL:    b.ttl,
		Closed: backend.ErrClosed,
		Logger: cfg.Logger,
	})
	return b
}

// Err returns what is wrong with the configuration, or nil.
func (b *Backend) Err() error { return b.broken }

// Ping asks whether the server can be reached and used, for those who would rather
// not start without it. Its errors are [ErrAuth], [ErrTooOld], [ErrConfig],
// [backend.ErrClosed], and those of the network.
func (b *Backend) Ping(ctx context.Context) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	batch := b.client.Batch()
	pong := batch.Do("ping")
	if err := batch.Exec(ctx); err != nil {
		return b.failed(err)
	}
	_, err := pong.Value()
	return err
}

// Bytes reports true: entries are kept as bytes.
func (b *Backend) Bytes() bool { return true }

// Now returns the server's time, as it was measured and has gone on since. Before
// the first answer of the server it is this machine's.
func (b *Backend) Now() time.Time {
	now, stale := b.clock.now()
	if stale && b.clock.measuring.CompareAndSwap(false, true) {
		b.spawn(func() {
			defer b.clock.measuring.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), b.client.Longest())
			defer cancel()
			_ = b.measure(ctx) // the last reading is still better than nothing
		})
	}
	return now
}

// spawn runs f on a goroutine that Close waits for. f must not panic.
func (b *Backend) spawn(f func()) {
	counted := b.background.enter()
	go func() {
		if counted {
			defer b.background.leave()
		}
		f()
	}()
}

// Wait is Wait of [backend.Backend].
func (b *Backend) Wait(ctx context.Context, keys []backend.Key) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	locks := make([]string, len(keys))
	for i, key := range keys {
		locks[i] = b.names.lockOf(key)
	}
	return b.member.Wait(ctx, locks...)
}

// Close ends the leases of this process and closes its connections, and the client
// if it was opened by URL. With a server that does not answer, it takes a second to give
// up the leases, and with a client that is not closed as long again as that waits for
// answers.
func (b *Backend) Close() error {
	if b.broken != nil || b.closed.Swap(true) {
		return nil
	}
	// A lease that is granted while it is being closed is to be ended as well.
	b.acquiring.close(time.Second)
	closing := b.closeViews()
	b.member.Close()
	closing.Wait()
	b.kept.close()
	var err error
	if b.owned {
		err = b.client.Close() // which ends what is under way
	}
	b.background.close(b.client.Longest())
	return err
}

// usable returns nil if the backend is open and the server has been found to be
// usable. The first call asks the server for its time and its version.
func (b *Backend) usable(ctx context.Context) error {
	switch {
	case b.broken != nil:
		return b.broken
	case b.closed.Load():
		return backend.ErrClosed
	case b.greeted.Load():
		return nil
	}
	return b.greet(ctx)
}

// greeting is one attempt to find out whether the server is usable. All who come
// meanwhile wait for the same.
type greeting struct {
	over chan struct{}
	err  error
}

func (b *Backend) greet(ctx context.Context) error {
	b.greetMu.Lock()
	g := b.greeting
	if g == nil {
		g = &greeting{over: make(chan struct{})}
		b.greeting = g
		b.spawn(func() {
			ctx, cancel := context.WithTimeout(context.Background(), b.client.Longest())
			defer cancel()
			defer func() {
				if p := recover(); p != nil {
					g.err = panicked(p)
				}
				b.greetMu.Lock()
				b.greeting = nil
				b.greetMu.Unlock()
				close(g.over)
			}()
			g.err = b.greetOnce(ctx)
		})
	}
	b.greetMu.Unlock()
	select {
	case <-g.over:
		return g.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *Backend) greetOnce(ctx context.Context) error {
	batch := b.client.Batch()
	info := batch.Do("info", "server")
	if err := batch.Exec(ctx); err != nil {
		return b.failed(err)
	}
	// A user who may not ask for it has to know the version.
	if text, err := info.Value(); err == nil {
		if err := checkVersion(text); err != nil {
			return err
		}
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.greeted.Store(true)
	return nil
}

// measure reads the server's clock.
func (b *Backend) measure(ctx context.Context) error {
	if b.closed.Load() {
		return backend.ErrClosed
	}
	var best *redisio.Call
	var asked, answered time.Time
	for range 3 {
		batch := b.client.Batch()
		call := batch.Do("time")
		before := time.Now()
		if err := batch.Exec(ctx); err != nil {
			return b.failed(err)
		}
		after := time.Now()
		if best == nil || after.Sub(before) < answered.Sub(asked) {
			best, asked, answered = call, before, after
		}
		if after.Sub(before) <= 2*doubtful {
			break // one that took longer says little
		}
	}
	return b.clock.set(asked, answered, best)
}

// failed makes of an error of the client one of the backend.
func (b *Backend) failed(err error) error {
	if err != nil && b.closed.Load() {
		return backend.ErrClosed
	}
	return err
}
