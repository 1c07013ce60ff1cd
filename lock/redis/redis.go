// Package redis is the Locker of a fleet of processes: leases kept in Redis by
// github.com/bsm/redislock, on a single server, one that sentinels watch over, or a
// cluster.
//
//	l := redis.New(client, redis.Config{Prefix: "app"})
//
// It is for regions whose values are kept elsewhere, such as in the memory of each
// process, and for work of one's own that only one process should do. A region on
// backend/redis needs none: its backend brings leases, which guard publication as
// well, and of which it takes a thousand in one round trip; a Locker takes one.
//
// Close has to be called when a Locker is not needed any more: each keeps a
// connection of its own to every server, over which the server tells when locks
// become free.
//
// # What is stored
//
// The lock of a key "users:user:42" under the prefix "app":
//
//	app:mutex:{users:user:42}  the token of its lease, with a TTL
//
// It is in one slot of a cluster with the value that backend/redis keeps under that
// key, and has a name of its own, so Locker and backend may have the same prefix.
// Channels are app:mutex:fleet and app:mutex:alive:…, one for each Locker.
//
// # How a lease ends
//
// A lease is renewed every third of its TTL for as long as it is held, and tells its
// holder by Lost when it has been voided, deleted, overwritten or flushed, or could
// not be renewed in time. The server pushes changes of locks, so holders and waiters
// learn of them at once, and nobody polls. Release never waits for a server that does
// not answer for more than a second: it is asked again in the background, until the
// TTL is over.
//
// When a process dies, those who wait take over its locks within half a second. The
// locks of one that is cut off, or does not run, expire after their TTL.
//
// Where the server does not push (a RESP2 proxy, a user who may not run CLIENT
// TRACKING) those who wait poll, a holder learns of a loss when it renews, and locks
// of the dead expire.
//
// # Clients
//
// A client is used as it is, with its timeouts, its repetitions and its hooks. No
// call waits for it longer than for its ctx, but go-redis itself goes on until its
// read timeout has passed, and Close waits for that.
//
// # What Redis cannot promise
//
// Replication is asynchronous, so a failover may forget a lock that was just taken,
// and then two hold it. A lease keeps a fleet from working twice; it does not make
// what was worked out correct.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bsm/redislock"
	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
	"github.com/dogpile-go/dogpile/lock"
)

var _ lock.Locker = (*Locker)(nil)

// ErrConfig is wrapped by the error of a Locker that cannot work as it was
// configured.
var ErrConfig = errors.New("redis: the configuration of the locker is not usable")

// The errors of a server or a key that cannot be used as it is. They are wrapped
// around what the server said.
var (
	// ErrAuth says that the server refuses the user's name or password.
	ErrAuth = redisio.ErrAuth

	// ErrNotAllowed says that the user may not run a command or use a key that is
	// needed.
	ErrNotAllowed = redisio.ErrNotAllowed

	// ErrForeign says that another program keeps something that is not a string
	// under the name of a lock.
	ErrForeign = errors.New("redis: another program keeps something under the name of a lock; give the locker another prefix, or Void the key to remove it")
)

// DefaultPrefix is what keys begin with if Config.Prefix is empty.
const DefaultPrefix = "dogpile"

const (
	defaultTTL  = 10 * time.Second
	shortestTTL = time.Millisecond

	// voidSize is how many locks are voided in one round trip.
	voidSize = 1000
)

// Config says how a Locker works. The zero value is good.
type Config struct {
	// Prefix is what all keys and channels begin with, followed by ":mutex:", so
	// that several applications can share a server. Lockers that exclude each
	// other have the same one. It has 128 bytes at most, no braces, and does not
	// end in ":lock", ":note", ":stamp" or ":mutex". Defaults to "dogpile".
	Prefix string

	// TTL is how long the lease of a process lasts that does not renew it, in
	// whole milliseconds; what is left over is cut off. Leases are renewed every
	// third of it, so it does not limit how long they are held; it is how long
	// others wait for a process that is cut off or does not run. They do not wait
	// for one that has died. At least a millisecond; some seconds are sensible.
	// Lockers that exclude each other should have the same one. Defaults to 10
	// seconds.
	TTL time.Duration

	// Logger is told once if the server does not tell when locks become free, so
	// that they have to be polled. Defaults to slog.Default().
	Logger *slog.Logger
}

// Locker grants leases to the processes of a fleet. Open it with [New]. All methods
// are safe for concurrent use.
type Locker struct {
	broken error // what is wrong with the configuration
	client *redisio.Client
	locks  *redislock.Client
	prefix string // of the names of lock keys
	ttl    time.Duration
	member *fleet.Member

	ending context.Context // ends with Close
	end    context.CancelFunc

	working sync.WaitGroup // what Close waits for
	mu      sync.Mutex     // guards over, and fleet.Lease.Handle
	over    bool           // Close has begun to wait
}

// New returns a Locker on client, which is a *redis.Client or a *redis.ClusterClient
// of go-redis and is not closed by it. It does not wait for the server, which may be
// down: the Locker works as soon as the server does.
//
// A client or Config that cannot work makes a Locker whose every call returns an
// error that wraps [ErrConfig] and says what is wrong; Err returns it.
func New(client goredis.UniversalClient, cfg Config) *Locker {
	l := &Locker{}
	var err error
	if l.client, err = redisio.New(client); err != nil {
		return broken("%w", err)
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if err := redisio.CheckPrefix(cfg.Prefix); err != nil {
		return broken("Prefix %q %w", cfg.Prefix, err)
	}
	switch {
	case cfg.TTL == 0:
		cfg.TTL = defaultTTL
	case cfg.TTL < shortestTTL:
		// Redis would delete a lock of zero milliseconds as soon as it is taken.
		return broken("TTL is %v; a millisecond is the least, and some seconds are sensible", cfg.TTL)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	// What redislock does not tell the server must not be counted on here.
	l.ttl = cfg.TTL.Truncate(time.Millisecond)
	l.prefix = cfg.Prefix + ":mutex:"
	l.locks = redislock.New(l.client)
	l.ending, l.end = context.WithCancel(context.Background())
	l.member = fleet.Join(fleet.Config{
		Client:  l.client,
		Prefix:  l.prefix,
		TTL:     l.ttl,
		Refresh: l.refresh,
		Release: l.release,
		Closed:  lock.ErrClosed,
		Logger:  cfg.Logger,
	})
	return l
}

func broken(format string, args ...any) *Locker {
	return &Locker{broken: fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)}
}

// Err returns what is wrong with the configuration, or nil.
func (l *Locker) Err() error { return l.broken }

// Wait is Wait of [lock.Locker].
func (l *Locker) Wait(ctx context.Context, keys ...string) error {
	if l.broken != nil {
		return l.broken
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = l.nameOf(key)
	}
	return l.member.Wait(ctx, names...)
}

// Void is Void of [lock.Locker]. It takes one round trip for a thousand keys.
func (l *Locker) Void(ctx context.Context, keys ...string) error {
	ctx, leave, err := l.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for len(keys) > 0 {
		n := min(len(keys), voidSize)
		some := keys[:n]
		if _, err := l.run(ctx, func(ctx context.Context) error { return l.unlink(ctx, some) }, nil); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// unlink removes locks, with one command or, on a cluster, where a command must not
// name keys of several slots, with one for each.
func (l *Locker) unlink(ctx context.Context, keys []string) error {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = l.nameOf(key)
	}
	return twice(ctx, func() error {
		if !l.client.Cluster() {
			return l.client.Unlink(ctx, names...).Err()
		}
		_, err := l.client.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
			for _, name := range names {
				pipe.Unlink(ctx, name)
			}
			return nil
		})
		return err // the first one
	})
}

// Close is Close of [lock.Locker]. It returns when nothing of the Locker is left: no
// goroutine, no connection of its own, and, if the server answers within a second,
// no lock. It returns nil.
func (l *Locker) Close() error {
	if l.broken != nil {
		return nil
	}
	l.end()
	l.member.Close()
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.working.Wait()
	return nil
}

// nameOf returns the name of the lock of key. What stands between the braces decides
// the slot of a cluster. If nothing stood there the whole name would, so a key that
// is empty or begins with a closing brace is escaped, as backend/redis does it.
func (l *Locker) nameOf(key string) string {
	if key == "" || key[0] == '}' || key[0] == '%' {
		key = "%" + key
	}
	return l.prefix + "{" + key + "}"
}
