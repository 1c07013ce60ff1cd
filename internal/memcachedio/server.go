package memcachedio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/bradfitz/gomemcache/memcache"
)

// Server is one memcached with the connections to it. It is safe for concurrent use.
//
// It has a client of its own, so that a server that hangs holds up nobody who wants
// another one: the connections are counted by server.
type Server struct {
	client  *Client
	addr    Addr
	mc      *memcache.Client
	seed    uint64
	slots   chan struct{} // one for each request that may be under way
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	readers readers
	breaker breaker
}

// only is the selector of a client that has one server.
type only struct{ addr Addr }

func (o only) PickServer(string) (net.Addr, error) { return o.addr, nil }

func (o only) Each(f func(net.Addr) error) error { return f(o.addr) }

func newServer(c *Client, addr Addr, cfg Config) *Server {
	s := &Server{client: c, addr: addr, seed: seedOf(addr), slots: make(chan struct{}, cfg.PoolSize)}
	s.mc = memcache.NewFromSelector(only{addr})
	s.mc.Timeout = cfg.Timeout
	s.mc.MaxIdleConns = cfg.PoolSize
	s.dial = new(net.Dialer).DialContext
	if cfg.TLS != nil {
		s.dial = (&tls.Dialer{Config: cfg.TLS}).DialContext
	}
	s.mc.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := s.dial(ctx, network, address)
		if err != nil {
			s.breaker.open(err)
		}
		return conn, err
	}
	return s
}

// String returns the server's address.
func (s *Server) String() string { return s.addr.text }

// Broken reports whether err tells that a connection ended before the answer came, as
// those do that were left from before a server's restart. The request may have been
// executed, or may be still.
func Broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// answered reports whether err is an answer of the server rather than a failure.
func answered(err error) bool {
	switch err {
	case nil, memcache.ErrCacheMiss, memcache.ErrCASConflict, memcache.ErrNotStored:
		return true
	}
	return false
}

// send runs one request. What answered accepts is returned as it is.
func send[T any](ctx context.Context, s *Server, request func(*memcache.Client) (T, error)) (T, error) {
	var zero T
	if err := s.enter(ctx); err != nil {
		return zero, err
	}
	defer func() { <-s.slots }()
	value, err := request(s.mc)
	return value, s.judge(err)
}

// repeat is send for requests that may be executed twice: it is sent again if the
// connection had ended.
func repeat[T any](ctx context.Context, s *Server, request func(*memcache.Client) (T, error)) (T, error) {
	value, err := send(ctx, s, request)
	if err != nil && Broken(err) && ctx.Err() == nil {
		value, err = send(ctx, s, request)
	}
	return value, err
}

// enter waits until one more request may be under way.
func (s *Server) enter(ctx context.Context) error {
	if s.breaker.isOpen() {
		if err := s.breaker.refuse(s); err != nil {
			return err
		}
	}
	select {
	case s.slots <- struct{}{}:
	default:
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		// It may have been found to be down meanwhile.
		if s.breaker.isOpen() {
			if err := s.breaker.refuse(s); err != nil {
				<-s.slots
				return err
			}
		}
	}
	if err := s.client.Open(); err != nil {
		<-s.slots
		return err
	}
	return nil
}

// judge takes the outcome of a request into account, and says what it means.
func (s *Server) judge(err error) error {
	var netErr net.Error
	var late *memcache.ConnectTimeoutError
	switch {
	case answered(err):
		s.breaker.answered()
		return err
	case Broken(err):
		// The other connections that wait for use are as old.
		s.dropIdle()
	case errors.As(err, &late):
		return fmt.Errorf("%w: %w", ErrDown, err)
	case errors.As(err, &netErr) && netErr.Timeout():
		s.breaker.late(err)
	case s.breaker.isOpen():
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return fmt.Errorf("memcached: %s: %w", s.addr.text, err)
}

// ping asks the server whether it is there, whatever the breaker says.
func (s *Server) ping(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.slots }()
	if err := s.client.Open(); err != nil {
		return err
	}
	err := s.mc.Ping()
	if Broken(err) {
		s.dropIdle()
		err = s.mc.Ping()
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDown, s.addr.text, err)
	}
	s.breaker.close()
	return nil
}

// close waits for the requests that are under way, lets none follow, and closes the
// connections.
func (s *Server) close() {
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	s.dropIdle()
	for range cap(s.slots) {
		<-s.slots // for those who come and find that it is closed
	}
}
