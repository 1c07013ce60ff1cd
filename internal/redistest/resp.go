package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Error is a reply of a server that begins with a minus sign, without that sign.
type Error string

func (e Error) Error() string { return string(e) }

// conn is a connection of our own to a server, in RESP2. It is not a go-redis client
// because what a test sees of a server (its commands, its connections) has to be
// what the tested code did, and because it must tell at once that a server that is
// just starting refuses connections.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// dial connects and, if there is a password, says it.
func dial(addr, password string, deadline time.Time) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, max(time.Until(deadline), time.Millisecond))
	if err != nil {
		return nil, err
	}
	c := &conn{nc, bufio.NewReader(nc)}
	err = c.SetDeadline(deadline)
	if err == nil && password != "" {
		_, err = c.do("AUTH", password)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// do sends one command and returns its reply: string, int64, nil or []any, or an
// [Error].
func (c *conn) do(args ...any) (any, error) {
	request := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		var s string
		switch arg := arg.(type) {
		case string:
			s = arg
		case []byte:
			s = string(arg)
		default:
			s = fmt.Sprint(arg)
		}
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(s), s)
	}
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	return c.reply()
}

func (c *conn) reply() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("a reply that is no RESP: %q", line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, Error(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("a reply that is no RESP: %q", line)
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		text := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, text); err != nil {
			return nil, err
		}
		return string(text[:n]), nil
	case kind == '*':
		list := make([]any, n)
		for i := range list {
			var failed Error
			if list[i], err = c.reply(); errors.As(err, &failed) {
				list[i] = failed
			} else if err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("a reply that is no RESP2: %q", line)
}
