package redisurl

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// reloadPause is how long at least there is between two looks at who serves what.
const reloadPause = time.Second

// lostNode is a hook for the clients of a cluster's nodes. When one fails in
// another way than by an answer, it has the cluster client look again who serves
// its slots, since a replica may have taken over. go-redis itself looks again when
// it is redirected, but a dead node redirects nobody, and it went on dialling it
// for a minute.
type lostNode struct {
	cluster *redis.ClusterClient
	began   time.Time
	next    atomic.Int64 // nanoseconds after began at which to look again is due
}

// watchNodes puts the hook on every node that c will have.
func watchNodes(c *redis.ClusterClient) {
	h := &lostNode{cluster: c, began: time.Now()}
	c.OnNewNode(func(node *redis.Client) { node.AddHook(h) })
}

func (h *lostNode) note(ctx context.Context, err error) {
	if err == nil {
		return
	}
	var answer redis.Error
	if errors.As(err, &answer) || errors.Is(err, redis.ErrClosed) || errors.Is(err, context.Canceled) {
		return
	}
	now, next := int64(time.Since(h.began)), h.next.Load()
	if now >= next && h.next.CompareAndSwap(next, now+int64(reloadPause)) {
		h.cluster.ReloadState(ctx) // in the background
	}
}

func (h *lostNode) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		h.note(ctx, err)
		return conn, err
	}
}

func (h *lostNode) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.note(ctx, err)
		return err
	}
}

func (h *lostNode) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		h.note(ctx, err)
		return err
	}
}
