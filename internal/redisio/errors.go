package redisio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// The errors that say what to do. They are wrapped around what the server said.
var (
	// ErrAuth says that the server refuses the user's name or password.
	ErrAuth = errors.New("redis: the server refuses user name or password; check those of the client or of the URL")

	// ErrNotAllowed says that the user may not do what is needed.
	ErrNotAllowed = errors.New("redis: the user may not run this command or use this key; allow it with ACL SETUSER")

	// ErrTooOld says that the server is older than Redis 6.2.
	ErrTooOld = errors.New("redis: the server is too old; 6.2 or newer is needed")
)

// failure returns err if it is not an answer of the server.
func failure(err error) error {
	var answer redis.Error
	if err == nil || errors.As(err, &answer) && !isAuth(err) {
		return nil
	}
	return err
}

// isAuth reports whether err is the refusal of a connection, which comes as the
// result of whatever command needed it.
func isAuth(err error) bool { return redis.IsAuthError(err) }

// Broken reports whether err tells that a connection ended before the answer came,
// as when a server was restarted. A timeout is something else: the server may be
// at work still.
func Broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Late reports whether err tells that an answer did not come in time.
func Late(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// explain makes of err, which came back from a command under ctx, one that says
// what to do. A command that ended with its ctx has the ctx's cause as its error,
// which go-redis tells as one of the socket.
func explain(ctx context.Context, err error) error {
	deadline, ok := ctx.Deadline()
	over := ctx.Err() != nil || ok && !time.Now().Before(deadline)
	switch {
	case err == nil:
		return nil
	case isAuth(err):
		return fmt.Errorf("%w: %w", ErrAuth, err)
	case redis.IsPermissionError(err), strings.Contains(err.Error(), "can't run this command"):
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	case over && Late(err):
		cause := context.Cause(ctx)
		if cause == nil {
			cause = context.DeadlineExceeded // the socket was a moment faster
		}
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// Explain is for the error of a single command that was not part of a batch.
func Explain(ctx context.Context, err error) error { return explain(ctx, err) }
