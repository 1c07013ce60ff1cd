// Package memcachedio is what the memcached backend and the memcached locker have in
// common: servers with their connections, the names of keys, expiration times, and
// leases.
//
// # What a late request may do
//
// A request whose connection was given up may still be executed, once, at any later
// time. So every request that is sent here is one of
//
//   - a read,
//   - a delete, which makes a miss or voids a lease, both of which may happen anyway,
//   - an add of bytes that are random and were never sent before: a token, a stub or a
//     stamp, of which none stands for a value,
//   - a set of stamps that are random and were never sent before, which only makes the
//     values dead that carry others,
//   - an append of nothing, which only gives an item a new CAS id,
//   - a cas, which the server refuses if the item has changed since it was read.
//
// None of them can bring back what was replaced or deleted meanwhile. CAS ids begin
// anew when a server is restarted, so a cas of a value is sent only right after a read that
// has shown that the server still knows a token of the sender's own. That of stamps is sent
// right after a read, too.
//
// Where a program shares a server with another library there is one more, which see the
// comment of package backend/memcached for: an add of a value that ends by itself, before
// its mark does.
package memcachedio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of Config.
const (
	DefaultTimeout  = 500 * time.Millisecond
	DefaultPoolSize = 64
	DefaultPrefix   = "dogpile"

	maxPoolSize = 10_000
)

var (
	// ErrDown says that a server cannot be reached, or does not answer. It is wrapped
	// around what was found when it was last tried.
	ErrDown = errors.New("memcached: the server is down; it is tried again within a second")

	// ErrNoCAS says that a server was started without compare-and-swap.
	ErrNoCAS = errors.New("memcached: the server runs without CAS; start it without the option -C")
)

// Config says which servers there are and how to talk to them. Zero values stand for
// the defaults, except that there must be a server.
type Config struct {
	Servers  []string // "host:port", "host", or the path of a socket
	Prefix   string
	Timeout  time.Duration
	PoolSize int
	TLS      *tls.Config
	Closed   error // what is returned after Close
}

// Client talks to the servers among which keys are spread. It is safe for concurrent
// use.
type Client struct {
	servers []*Server
	prefix  string
	closed  error

	over    atomic.Bool
	mu      sync.Mutex // guards over against working.Add
	working sync.WaitGroup
}

// New returns a Client. It connects to nothing yet. An error says what is wrong with
// the configuration.
func New(cfg Config) (*Client, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if err := checkPrefix(cfg.Prefix); err != nil {
		return nil, fmt.Errorf("the Prefix %q %w", cfg.Prefix, err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Timeout < time.Millisecond {
		return nil, fmt.Errorf("the Timeout is %v; a millisecond is the least, and %v are sensible", cfg.Timeout, DefaultTimeout)
	}
	if cfg.PoolSize == 0 {
		cfg.PoolSize = DefaultPoolSize
	}
	if cfg.PoolSize < 1 || cfg.PoolSize > maxPoolSize {
		return nil, fmt.Errorf("PoolSize is %d; it is a number from 1 to %d", cfg.PoolSize, maxPoolSize)
	}
	if len(cfg.Servers) == 0 {
		return nil, errors.New("Servers is empty; give at least one, such as \"127.0.0.1:11211\"")
	}
	c := &Client{prefix: cfg.Prefix, closed: cfg.Closed}
	known := map[string]bool{}
	for _, name := range cfg.Servers {
		addr, err := parseAddr(name)
		if err != nil {
			return nil, err
		}
		if known[addr.text] {
			return nil, fmt.Errorf("Servers has %q twice; give each server once", addr.text)
		}
		known[addr.text] = true
		c.servers = append(c.servers, newServer(c, addr, cfg))
	}
	return c, nil
}

// Servers returns all servers.
func (c *Client) Servers() []*Server { return c.servers }

// Open returns nil, or the error of a Client that was closed.
func (c *Client) Open() error {
	if c.over.Load() {
		return c.closed
	}
	return nil
}

// Ping asks every server whether it is there, also one that was found to be down.
func (c *Client) Ping(ctx context.Context) error {
	_, err := Call(ctx, c, func(ctx context.Context) (struct{}, error) {
		for _, s := range c.servers {
			if err := s.ping(ctx); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	}, nil)
	return err
}

// Close ends the Client: when it returns no request is under way and no connection is
// left. That takes as long as the requests do which are under way.
func (c *Client) Close() {
	c.mu.Lock()
	over := c.over.Swap(true)
	c.mu.Unlock()
	if over {
		return
	}
	for _, s := range c.servers {
		s.close()
	}
	c.working.Wait()
}

// Go runs f in a goroutine that Close waits for. It returns false, and does not run f,
// after Close.
func (c *Client) Go(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Load() {
		return false
	}
	c.working.Go(f)
	return true
}

// Call runs op, which is made of requests, and returns when op has or when ctx has
// ended. The library that sends requests knows no contexts, so op goes on in the
// background then until the request that is under way has ended; what it returns goes
// to undo, if there is one, and to nobody else. op must not touch what belongs to the
// caller. A ctx that cannot end costs no goroutine.
func Call[T any](ctx context.Context, c *Client, op func(context.Context) (T, error), undo func(T)) (T, error) {
	var zero T
	if err := c.Open(); err != nil {
		return zero, err
	}
	if ctx.Done() == nil {
		return op(ctx)
	}
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	var taken atomic.Bool // by the caller who stays, or by the one who leaves
	started := c.Go(func() {
		value, err := op(ctx)
		if taken.CompareAndSwap(false, true) {
			done <- result{value, err}
		} else if undo != nil && err == nil {
			undo(value)
		}
	})
	if !started {
		return zero, c.closed
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		if taken.CompareAndSwap(false, true) {
			return zero, context.Cause(ctx)
		}
		r := <-done // it was a moment faster
		return r.value, r.err
	}
}

// breadth is how many requests of one call are under way at once.
const breadth = 16

// Each runs f for all i below n, several at a time, until one returns an error, which
// it returns, or ctx ends.
func Each(ctx context.Context, n int, f func(i int) error) error {
	if n == 1 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return f(0)
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	work := func() {
		for failed.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			var err error
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			} else {
				err = f(i)
			}
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}
	}
	for range min(n, breadth) - 1 {
		all.Go(work)
	}
	work()
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
