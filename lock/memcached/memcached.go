// Package memcached is the Locker of a fleet of processes that share memcached servers.
//
//	l := memcached.New(memcached.Config{Servers: []string{"10.0.0.1:11211"}, Prefix: "app"})
//
// It is for regions whose values are kept elsewhere, such as in the memory of each
// process, and for work of one's own that only one process should do. A region on
// backend/memcached needs none: its backend brings leases, which guard publication as
// well. Close has to be called when a Locker is not needed any more.
//
// # What is stored
//
// The lock of a key whose SHA-256 digest is d, under the prefix "app":
//
//	app:m:d  the token of its lease, with a TTL
//
// Any key works, and nothing of it goes over the wire. Locker and backend may have the
// same prefix.
//
// # How a lease ends
//
// A lease is taken with "add", and renewed every third of its TTL for as long as it is
// held. It is renewed and given back with "cas", so that nobody's is touched but one's
// own. A holder looks once a second, or more often, whether its lease is still its own,
// and learns by Lost if it was voided, evicted, flushed, or could not be renewed in time.
// The lock of a process that has died is free when its TTL is over.
//
// Nobody tells when a lock becomes free. Those who wait in a process ask, all together,
// at intervals that grow from 5 to 50 ms; what the process itself does they learn at
// once.
//
// # What memcached cannot promise
//
// A server that evicts, is flushed or is restarted forgets locks, and then two hold one
// until the first of them looks. A lease keeps a fleet from working twice; it does not
// make what was worked out correct.
package memcached

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/internal/memcachedio"
	"github.com/dogpile-go/dogpile/lock"
)

var _ lock.Locker = (*Locker)(nil)

// ErrConfig is wrapped by the error of a Locker that cannot work as it was
// configured.
var ErrConfig = errors.New("memcached: the configuration of the locker is not usable")

// The errors of a server that cannot be used.
var (
	// ErrDown says that a server cannot be reached, or does not answer.
	ErrDown = memcachedio.ErrDown

	// ErrNoCAS says that a server was started without compare-and-swap.
	ErrNoCAS = memcachedio.ErrNoCAS
)

// The defaults of Config.
const (
	DefaultPrefix   = memcachedio.DefaultPrefix
	DefaultTimeout  = memcachedio.DefaultTimeout
	DefaultPoolSize = memcachedio.DefaultPoolSize
	DefaultTTL      = 10 * time.Second
)

const longestTTL = 24 * time.Hour

// Config says how a Locker works. All but Servers may be zero.
type Config struct {
	// Servers are the servers: "host:port", "host" with the port 11211, or the path of
	// a Unix socket. Which server has a lock depends on these texts, not on their
	// order, so all processes must have the same ones. There must be one.
	Servers []string

	// Prefix is what all keys begin with, followed by a colon. Lockers that exclude
	// each other have the same one. It has 128 bytes at most and neither spaces nor
	// control characters. Defaults to "dogpile".
	Prefix string

	// TTL is how long the lease of a process lasts that does not renew it, in whole
	// seconds, rounded up. Leases are renewed every third of it, so it does not limit
	// how long they are held; it is how long others wait for a process that has died.
	// Two seconds at least. Defaults to 10 seconds.
	TTL time.Duration

	// Timeout is how long a connection may take to be made, and the server to answer.
	// Defaults to 500 milliseconds.
	Timeout time.Duration

	// PoolSize is how many requests to each server may be under way at once; others
	// wait. As many connections are kept for reads, and for writes. From 1 to 10000.
	// Defaults to 64.
	PoolSize int

	// TLS, if it is not nil, is used for all connections.
	TLS *tls.Config
}

// Locker grants leases to the processes of a fleet. Open it with [New]. All methods
// are safe for concurrent use.
type Locker struct {
	broken error // what is wrong with the configuration
	client *memcachedio.Client
	leases *memcachedio.Leases
	closed atomic.Bool
}

// New returns a Locker. It does not wait for the servers, which may be down: the Locker
// works as soon as they do.
//
// A Config that cannot work makes a Locker whose every call returns an error that wraps
// [ErrConfig] and says what is wrong; Err returns it.
func New(cfg Config) *Locker {
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	client, err := memcachedio.New(memcachedio.Config{
		Servers:  cfg.Servers,
		Prefix:   cfg.Prefix,
		Timeout:  cfg.Timeout,
		PoolSize: cfg.PoolSize,
		TLS:      cfg.TLS,
		Closed:   lock.ErrClosed,
	})
	switch {
	case err != nil:
	case cfg.TTL < memcachedio.ShortestTTL:
		err = fmt.Errorf("TTL is %v; 2 seconds are the least, because memcached counts in seconds", cfg.TTL)
	case cfg.TTL > longestTTL:
		err = fmt.Errorf("TTL is %v; a day is the most, and some seconds are sensible", cfg.TTL)
	}
	if err != nil {
		return &Locker{broken: fmt.Errorf("%w: %w", ErrConfig, err)}
	}
	return &Locker{client: client, leases: memcachedio.NewLeases(client, cfg.TTL)}
}

// Err returns what is wrong with the configuration, or nil.
func (l *Locker) Err() error { return l.broken }

func (l *Locker) usable() error {
	switch {
	case l.broken != nil:
		return l.broken
	case l.closed.Load():
		return lock.ErrClosed
	}
	return nil
}

// TryAcquire is TryAcquire of [lock.Locker]. Its errors besides [lock.ErrHeld] and
// [lock.ErrClosed] wrap [ErrConfig], [ErrDown] or [ErrNoCAS], or are those of the network.
func (l *Locker) TryAcquire(ctx context.Context, key string) (lock.Lease, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	name := l.nameOf(key)
	held, err := memcachedio.Call(ctx, l.client, func(ctx context.Context) (*memcachedio.Held, error) {
		return l.leases.Take(ctx, key, name)
	}, func(held *memcachedio.Held) { l.leases.GiveBack([]*memcachedio.Held{held}) })
	switch {
	case err != nil:
		return nil, err
	case held == nil:
		return nil, lock.ErrHeld
	}
	return held, nil
}

// Wait is Wait of [lock.Locker].
func (l *Locker) Wait(ctx context.Context, keys ...string) error {
	if err := l.usable(); err != nil {
		return err
	}
	places := make([]memcachedio.Place, len(keys))
	for i, key := range keys {
		places[i] = l.client.Place("", key)
	}
	return l.leases.Wait(ctx, places, memcachedio.Mutex)
}

// Void is Void of [lock.Locker].
func (l *Locker) Void(ctx context.Context, keys ...string) error {
	if err := l.usable(); err != nil || len(keys) == 0 {
		return err
	}
	names := make([]memcachedio.Name, len(keys))
	for i, key := range keys {
		names[i] = l.nameOf(key)
	}
	_, err := memcachedio.Call(ctx, l.client, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.leases.Void(ctx, names)
	}, nil)
	return err
}

// Close is Close of [lock.Locker]. It waits for the requests that are under way, and
// returns nil.
func (l *Locker) Close() error {
	if l.broken != nil || l.closed.Swap(true) {
		return nil
	}
	l.leases.Close()
	l.client.Close()
	return nil
}

func (l *Locker) nameOf(key string) memcachedio.Name {
	place := l.client.Place("", key)
	return place.Name(memcachedio.Mutex)
}
