package regionpg

import (
	"context"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// wires are the network connections that were dialed for one session. A session that
// breaks is cleaned up by pgx in the background, for up to 15 seconds and with a
// connection of its own; nobody is to wait for that.
type wires struct {
	next pgconn.DialFunc
	life context.Context
	end  context.CancelFunc

	mu    sync.Mutex
	conns []net.Conn
}

func newWires(next pgconn.DialFunc) *wires {
	w := &wires{next: next}
	w.life, w.end = context.WithCancel(context.Background())
	return w
}

// dial is a [pgconn.DialFunc].
func (w *wires) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.life, cancel)()
	conn, err := w.next(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.life.Err(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	w.conns = append(w.conns, conn)
	return conn, nil
}

// close ends what is being dialed and closes what has been, and lets nothing be dialed
// any more.
func (w *wires) close() {
	w.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
}
