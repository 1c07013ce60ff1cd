package faultproxy

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection of a client and the one to the server that goes with it.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	done   chan struct{} // closed by cut and when both directions have ended

	loss   atomic.Pointer[loss] // the next bytes of the server are the reply that is to be lost
	silent atomic.Bool          // nothing passes any more

	mu     sync.Mutex
	server *net.TCPConn // nil until the connection has been made
	ended  bool
}

// run passes bytes in both directions until both have ended.
func (l *link) run() {
	defer func() {
		l.end(false)
		l.proxy.mu.Lock()
		delete(l.proxy.links, l)
		l.proxy.mu.Unlock()
	}()
	if !l.open() {
		return
	}
	var requests sync.WaitGroup
	requests.Go(func() { l.pump(l.client, l.server, l.request) })
	var r rewriter
	l.pump(l.server, l.client, func(b []byte) bool { return l.reply(b, &r) })
	requests.Wait()
}

// open connects to the server. In a black hole it waits until that is over: the server
// must not see a connection that the network would not have let through.
func (l *link) open() bool {
	if !l.pass(time.Now(), nil) {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", l.proxy.upstream)
	if err != nil {
		l.cut() // the client is to see that nobody is there
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = c.(*net.TCPConn)
	if l.ended {
		_ = c.Close()
	}
	return !l.ended
}

// pump reads from in and gives handle what came, until handle returns false. After
// the end of in, which handle is told with nil, it ends out.
func (l *link) pump(in, out *net.TCPConn, handle func(b []byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := in.Read(buffer)
		late := errors.Is(err, os.ErrDeadlineExceeded) // a deadline of the rewriter
		if (n > 0 || late) && !handle(buffer[:n]) {
			return
		}
		if err != nil && !late {
			if handle(nil) {
				_ = out.CloseWrite()
			}
			return
		}
	}
}

// request passes on what the client sent.
func (l *link) request(b []byte) bool {
	since := time.Now()
	if b != nil {
		l.proxy.sawRequest(b)
	}
	// No lock is held while the tests' own functions run, so that those may call the
	// proxy.
	if !l.pass(since, nil) {
		return false
	}
	if b == nil {
		return true
	}
	if l.proxy.goesAstray(b) {
		l.cut()
		return false
	}
	if l.loss.Load() == nil {
		l.loss.Store(l.proxy.lossOf(b)) // before the server can answer
	}
	return l.write(b, l.server, since)
}

// reply passes on what the server sent.
func (l *link) reply(b []byte, r *rewriter) bool {
	since := time.Now()
	if loss := l.loss.Load(); loss != nil && len(b) > 0 {
		if loss.silent {
			l.silent.Store(true)
		} else {
			l.cut()
		}
		close(loss.lost)
		return l.pass(since, nil) // until the link ends
	}
	ended := b == nil
	b, held := r.rewrite(b, ended, l.proxy.currentRewrites())
	if !l.write(b, l.client, since) {
		return false
	}
	var deadline time.Time
	if held {
		deadline = time.Now().Add(20 * time.Millisecond)
	}
	_ = l.server.SetReadDeadline(deadline)
	return !ended || l.pass(since, nil)
}

// pass waits until bytes that came at the time since may pass and then calls step, if
// there is one, with the rules held still. It returns what step does, and false if the
// link has ended.
func (l *link) pass(since time.Time, step func() bool) bool {
	p := l.proxy
	for {
		p.passing.RLock()
		blocked, wait := p.blackhole || l.silent.Load(), p.delay-time.Since(since)
		if !blocked && wait <= 0 {
			ok := !l.over() && (step == nil || step())
			p.passing.RUnlock()
			return ok
		}
		changed := p.changed
		p.passing.RUnlock()
		var late <-chan time.Time
		if !blocked {
			late = time.After(wait)
		}
		select {
		case <-l.done:
			return false
		case <-changed:
		case <-late:
		}
	}
}

// write writes b to out. It tries for a short time only before it lets go of the rules:
// a side that does not read must not keep a test from changing them.
func (l *link) write(b []byte, out *net.TCPConn, since time.Time) bool {
	for len(b) > 0 {
		var err error
		passed := l.pass(since, func() bool {
			_ = out.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
			var n int
			n, err = out.Write(b)
			b = b[n:]
			return true
		})
		if !passed {
			return false
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			l.cut() // out is gone, which the other side now learns
			return false
		}
	}
	return true
}

// over says whether the link has ended.
func (l *link) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// cut resets both connections.
func (l *link) cut() { l.end(true) }

func (l *link) end(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.done)
	for _, c := range []*net.TCPConn{l.client, l.server} {
		if c == nil {
			continue
		}
		if reset {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
}
