// Package faultproxy is a TCP proxy with which a test breaks the network between its
// code and a real server: answers that are lost, connections that are cut, refused,
// silent or slow.
//
//	proxy := faultproxy.New(t, server.Addr)
//	... // a client that connects to proxy.Addr
//	lost := proxy.DropReplyTo(func(request []byte) bool { return bytes.Contains(request, []byte("evalsha")) })
//	... // the client sends a script: the server runs it, the client gets no answer
//	<-lost
//
// The proxy knows nothing of what is spoken through it. A request is what one side
// sent at once, as far as the network kept it together: a client that sends a command,
// or a pipeline, of up to some ten kilobytes in one write will find it is one request.
// A reply is what the server sends next, asked for or not: on a
// connection on which the server pushes messages, a message may be taken for it.
//
// A proxy is safe for concurrent use. It listens on 127.0.0.1 and ends with the test.
package faultproxy

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Proxy passes connections on to one server until it is told to do otherwise. Open it
// with [New].
type Proxy struct {
	// Addr is the host and port on which the proxy listens. Its port has five digits,
	// as those of package redistest have, so that [Proxy.Rewrite] can put one in the
	// place of the other.
	Addr string

	t        testing.TB
	upstream string
	running  sync.WaitGroup // all goroutines

	// passing is held for reading while bytes are handed on and for writing while what
	// follows changes, so that a change holds from the moment its method returns.
	passing   sync.RWMutex
	blackhole bool
	delay     time.Duration
	changed   chan struct{} // closed at each change

	mu        sync.Mutex // guards what follows; held for moments only
	listener  net.Listener
	closed    bool
	links     map[*link]struct{}
	accepted  int
	losses    []*loss
	strays    []*stray
	rewrites  []substitution
	requests  [][]byte
	kept      int // bytes in requests
	onRequest func([]byte)
}

// New returns a proxy for the server at the address upstream, which need not be there
// yet. It is closed when the test ends.
func New(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, upstream: upstream, links: make(map[*link]struct{}), changed: make(chan struct{})}
	// Below the ports of outgoing connections, one of which would otherwise be able to
	// take the place of a listener that Refuse has closed for a while.
	var l net.Listener
	var err error
	for range 100 {
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.IntN(12768))); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("no free port for a proxy: %v", err)
	}
	p.Addr = l.Addr().String()
	p.serve(l)
	t.Cleanup(p.close)
	return p
}

// Upstream returns the address of the server.
func (p *Proxy) Upstream() string { return p.upstream }

// Blackhole makes the proxy swallow the network: connections stay open and new ones
// are accepted, but nothing passes in either direction, the end of a connection
// included. After Blackhole(false) all that was sent meanwhile passes, as it does when
// a broken network is mended.
func (p *Proxy) Blackhole(on bool) { p.change(func() { p.blackhole = on }) }

// Delay holds all bytes for d, in each direction, before it passes them on: a round
// trip takes 2 d longer. Bytes that arrive while others are being held may be held for
// up to 2 d. The default is 0.
func (p *Proxy) Delay(d time.Duration) { p.change(func() { p.delay = d }) }

func (p *Proxy) change(what func()) {
	p.passing.Lock()
	defer p.passing.Unlock()
	what()
	close(p.changed)
	p.changed = make(chan struct{})
}

// CutAll resets all connections, on both sides. New ones are accepted.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.cut()
	}
}

// Refuse makes the port refuse connections, as if nobody listened on it, or listen
// again. Connections that are there live on; see [Proxy.CutAll].
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	l := p.listener
	if on {
		p.listener = nil
	}
	closed := p.closed
	p.mu.Unlock()
	switch {
	case on && l != nil:
		_ = l.Close()
	case !on && l == nil && !closed:
		var err error
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if l, err = net.Listen("tcp", p.Addr); err == nil {
				p.serve(l)
				return
			}
		}
		p.t.Errorf("the proxy cannot listen on %s again: %v", p.Addr, err)
	}
}

// Connections returns how many connections clients have to the proxy now. One that the
// client has closed while nothing passed still counts, as the server does not know of
// its end.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Accepted returns how many connections the proxy has accepted so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// serve accepts connections until the listener is closed.
func (p *Proxy) serve(listener net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = listener.Close()
		return
	}
	p.listener = listener
	p.running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			l := &link{proxy: p, client: c.(*net.TCPConn), done: make(chan struct{})}
			p.mu.Lock()
			if p.closed {
				p.mu.Unlock()
				_ = c.Close()
				return
			}
			p.links[l] = struct{}{}
			p.accepted++
			p.running.Go(l.run)
			p.mu.Unlock()
		}
	})
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	if p.listener != nil {
		_ = p.listener.Close()
	}
	p.mu.Unlock()
	p.CutAll()
	p.running.Wait()
}
