package regionpg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// session is one connection that listens.
type session struct {
	conn  *pgx.Conn
	began time.Time
	wires *wires
}

// errDeaf is why a connection is given up that answers but would hear nothing.
var errDeaf = errors.New("the connection does not listen any more; is there a pool in between that is not in session mode?")

// open connects and listens. When it returns, LISTEN is in force.
func (s *Source) open(ctx context.Context) (*session, error) {
	config := s.config.Copy()
	if before := s.cfg.BeforeConnect; before != nil {
		if err := before(ctx, config); err != nil {
			return nil, fmt.Errorf("BeforeConnect: %w", err)
		}
	}
	if config.ConnectTimeout <= 0 || config.ConnectTimeout > s.cfg.Timeout {
		config.ConnectTimeout = s.cfg.Timeout
	}
	if config.MaxProtocolMessageBodyLen <= 0 {
		config.MaxProtocolMessageBodyLen = maxMessage
	}
	// What comes is to be kept for WaitForNotification, and when the time for waiting
	// is over, the connection has to stay as it is.
	config.OnNotification = nil
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()}
	}
	wires := newWires(config.DialFunc)
	config.DialFunc = wires.dial

	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		wires.close()
		// Its text is discreet, but it carries the password.
		if failed := (*pgconn.ConnectError)(nil); errors.As(err, &failed) {
			err = failed.Unwrap()
		}
		return nil, err
	}
	c := &session{conn: conn, began: time.Now(), wires: wires}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.cfg.Channel}.Sanitize()); err != nil {
		c.close()
		return nil, fmt.Errorf("LISTEN: %w", err)
	}
	return c, nil
}

// wait returns the next payload, or false if none has come for as long as patience.
func (c *session) wait(ctx context.Context, patience time.Duration) (payload string, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := c.conn.WaitForNotification(ctx)
	switch {
	case n != nil:
		return n.Payload, true, nil // the error, if there is one, will come again
	case ctx.Err() == context.DeadlineExceeded && !c.conn.IsClosed():
		return "", false, nil
	}
	return "", false, err
}

// ask asks the server whether it is there and the connection still listens: behind a
// pool in the wrong mode the question comes to another connection. What is notified
// meanwhile is kept for wait.
func (c *session) ask(ctx context.Context, channel string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var listens bool
	err := c.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_listening_channels() AS c WHERE c = $1)",
		pgx.QueryExecModeExec, channel).Scan(&listens)
	if err == nil && !listens {
		err = errDeaf
	}
	return err
}

// close ends the connection, and returns when nothing of it is left.
func (c *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.conn.Close(ctx) // tells the server, unless the connection is broken
	c.wires.close()
	<-c.conn.PgConn().CleanupDone()
}
