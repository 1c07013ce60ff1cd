package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/redisio"
)

const (
	// keptFor is how long a connection is kept from the pool at most. The pool checks
	// it then, as it does each time.
	keptFor = time.Second

	// keptPool is how many connections a pool has at least from which one is kept.
	keptPool = 4
)

// keptConn keeps one of the client's connections from the pool while reads follow one
// another. The pool asks the kernel about a connection whenever it hands one out, which
// costs a twentieth of a hit.
type keptConn struct {
	client *redisio.Client
	idle   atomic.Pointer[goredis.Conn] // nil: it is in use, or there is none
	going  atomic.Bool                  // the timer is going

	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

// process runs a command, on the kept connection if it is idle.
func (k *keptConn) process(ctx context.Context, cmd goredis.Cmder) error {
	conn := k.idle.Swap(nil)
	if conn == nil {
		err := k.client.Process(ctx, cmd)
		if err == nil && !k.going.Load() {
			k.keep()
		}
		return err
	}
	ok := false
	defer func() { // also if a hook panics
		parked := ok && k.going.Load() && k.idle.CompareAndSwap(nil, conn)
		if !parked || !k.going.Load() && k.idle.CompareAndSwap(conn, nil) {
			_ = conn.Close()
		}
	}()
	err := conn.Process(ctx, cmd)
	ok = err == nil
	return err
}

// keep begins to keep a connection, which the next command takes out of the pool.
func (k *keptConn) keep() {
	conn := k.client.Conn(keptPool)
	if conn == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || !k.going.CompareAndSwap(false, true) {
		return
	}
	if other := k.idle.Swap(conn); other != nil {
		_ = other.Close() // one that was just put back when its time was over
	}
	if k.timer == nil {
		k.timer = time.AfterFunc(keptFor, k.giveBack)
	} else {
		k.timer.Reset(keptFor)
	}
}

// giveBack gives the connection back to the pool. One that is in use is given back by
// whoever uses it.
func (k *keptConn) giveBack() {
	k.going.Store(false)
	if conn := k.idle.Swap(nil); conn != nil {
		_ = conn.Close()
	}
}

func (k *keptConn) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
	k.giveBack()
}
