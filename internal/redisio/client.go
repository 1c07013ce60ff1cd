// Package redisio is how this project talks to Redis through a go-redis client:
// what it has to know of the client, batches of commands and scripts in one round
// trip, and what its errors mean.
package redisio

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrClient says that a client cannot be used for regions.
var ErrClient = errors.New("redis: this client cannot be used")

// Client is a go-redis client of one server or of a cluster. It does not own the
// client. All methods are safe for concurrent use.
type Client struct {
	redis.UniversalClient
	single  *redis.Client
	cluster *redis.ClusterClient

	reload   atomic.Int64  // when the slots of the cluster were last looked at again, in Unix nanoseconds
	obedient bool          // the client ends a command at the deadline of its ctx
	longest  time.Duration // how long one command may take, repetitions included
	answers  time.Duration // how long an answer is waited for
}

// New returns what wraps client: a *redis.Client, as redis.NewClient and
// redis.NewFailoverClient make it, or a *redis.ClusterClient. Every other one, and
// one that reads from replicas, is refused with [ErrClient]: a replica is behind,
// and would serve what has been invalidated.
func New(client redis.UniversalClient) (*Client, error) {
	switch client := client.(type) {
	case *redis.Client:
		if client == nil {
			break
		}
		opt := client.Options()
		return &Client{
			UniversalClient: client,
			single:          client,
			obedient:        opt.ContextTimeoutEnabled,
			longest:         longest(opt.DialTimeout, opt.PoolTimeout, opt.ReadTimeout, opt.WriteTimeout) * time.Duration(2*(1+max(0, opt.MaxRetries))),
			answers:         longest(opt.ReadTimeout),
		}, nil
	case *redis.ClusterClient:
		if client == nil {
			break
		}
		opt := client.Options()
		if opt.ReadOnly || opt.RouteByLatency || opt.RouteRandomly {
			return nil, fmt.Errorf("%w: it reads from replicas, which are behind and would serve what has been invalidated; leave ReadOnly, RouteByLatency and RouteRandomly unset", ErrClient)
		}
		return &Client{
			UniversalClient: client,
			cluster:         client,
			obedient:        opt.ContextTimeoutEnabled,
			longest:         longest(opt.DialTimeout, opt.PoolTimeout, opt.ReadTimeout, opt.WriteTimeout) * time.Duration(2*(1+max(0, opt.MaxRedirects))),
			answers:         longest(opt.ReadTimeout),
		}, nil
	case nil:
	default:
		return nil, fmt.Errorf("%w: it is a %T; pass a *redis.Client or a *redis.ClusterClient", ErrClient, client)
	}
	return nil, fmt.Errorf("%w: it is nil", ErrClient)
}

// longest returns how long a command takes at most. Timeouts that are switched off
// count as a minute.
func longest(timeouts ...time.Duration) (sum time.Duration) {
	for _, d := range timeouts {
		if d <= 0 {
			d = time.Minute
		}
		sum += d
	}
	return sum
}

// Cluster reports whether the keys are spread over several servers, so that one
// command cannot name keys of different slots.
func (c *Client) Cluster() bool { return c.cluster != nil }

// Conn returns a connection of its own, which its first command takes out of the pool
// and its Close gives back. It is nil if keys are spread over several servers, or if the
// pool has fewer than least connections.
func (c *Client) Conn(least int) *redis.Conn {
	if c.single == nil || c.single.Options().PoolSize < least {
		return nil
	}
	return c.single.Conn()
}

// Longest returns how long one command may take when nothing else ends it.
func (c *Client) Longest() time.Duration { return c.longest }

// Answers returns how long the answer to a command is waited for at most.
func (c *Client) Answers() time.Duration { return c.answers }

// NodeOf returns the address of the server that has key, or "" if there is only
// one server or it is not known which.
func (c *Client) NodeOf(ctx context.Context, key string) string {
	if c.cluster == nil {
		return ""
	}
	node, err := c.cluster.MasterForKey(ctx, key)
	if err != nil {
		return ""
	}
	return node.Options().Addr
}

// Masters returns a client for each server that has keys, by its address; it is ""
// where there is only one.
func (c *Client) Masters(ctx context.Context) (map[string]*redis.Client, error) {
	if c.cluster == nil {
		return map[string]*redis.Client{"": c.single}, nil
	}
	type master struct {
		addr   string
		client *redis.Client
	}
	found := make(chan master)
	collected := make(chan map[string]*redis.Client)
	go func() {
		masters := make(map[string]*redis.Client)
		for m := range found {
			masters[m.addr] = m.client
		}
		collected <- masters
	}()
	err := c.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		found <- master{node.Options().Addr, node}
		return nil
	})
	close(found)
	return <-collected, err
}

// Failed is told of an error of a command. A node of a cluster that does not answer
// may have been replaced, which go-redis finds out by being redirected, or after a
// minute: a dead node redirects nobody.
func (c *Client) Failed(ctx context.Context, err error) {
	if c.cluster == nil || failure(err) == nil || errors.Is(err, redis.ErrClosed) {
		return
	}
	now := time.Now().UnixNano()
	if last := c.reload.Load(); now-last > int64(time.Second) && c.reload.CompareAndSwap(last, now) {
		c.cluster.ReloadState(ctx) // in the background
	}
}

// Run calls f, which talks to the server, and returns when it does. If ctx may end
// before f has to, and the client would not notice, f is left to itself when ctx
// ends, and the cause is returned: what f writes must then not be read.
//
// A cancellation, as opposed to a deadline, never interrupts a command of go-redis:
// the timeouts of the client do.
func (c *Client) Run(ctx context.Context, f func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if c.obedient || ctx.Done() == nil {
		return calm(ctx, f)
	}
	done := make(chan error, 1)
	go func() { done <- calm(ctx, f) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// calm calls f and makes an error of its panic: a hook of the client that panics must
// not end the program from a goroutine of which its owner knows nothing.
func calm(ctx context.Context, f func(ctx context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("redis: the client panicked: %v", p)
		}
	}()
	return f(ctx)
}
