package faultproxy

import (
	"bytes"
	"net"
	"time"
)

// stray is a request that is to arrive late.
type stray struct {
	match   func([]byte) bool
	caught  chan struct{}
	request []byte // to be read after caught
}

// StrayRequest keeps the next request that match accepts on its way and resets the
// client's connection: the client cannot know whether the request was carried out. It
// was not: it reaches the server when deliver is called, on a connection of its own,
// which has seen nothing of what the client's connection had seen before. deliver
// returns when the server has answered; it is called once, after caught was closed. It
// happens once, on one connection. match must not keep or change the bytes and may be
// called from several goroutines at once.
func (p *Proxy) StrayRequest(match func(request []byte) bool) (caught <-chan struct{}, deliver func()) {
	s := &stray{match: match, caught: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.strays = append(p.strays, s)
	return s.caught, func() { p.deliver(s) }
}

func (p *Proxy) deliver(s *stray) {
	p.t.Helper()
	select {
	case <-s.caught:
	default:
		p.t.Error("there is no stray request to deliver yet")
		return
	}
	conn, err := net.Dial("tcp", p.upstream)
	if err != nil {
		p.t.Errorf("deliver a stray request: %v", err)
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Write(s.request)
	if err == nil {
		_, err = conn.Read(make([]byte, 64<<10))
	}
	if err != nil {
		p.t.Errorf("deliver a stray request: %v", err)
	}
}

// goesAstray reports whether this request goes astray, and keeps it if so.
func (p *Proxy) goesAstray(request []byte) bool {
	p.mu.Lock()
	waiting := p.strays
	p.mu.Unlock()
	for _, s := range waiting {
		if !s.match(request) {
			continue
		}
		p.mu.Lock()
		for i, other := range p.strays {
			if other == s {
				// A new slice: others read the old one without the mutex.
				p.strays = append(append([]*stray(nil), p.strays[:i]...), p.strays[i+1:]...)
				p.mu.Unlock()
				s.request = bytes.Clone(request)
				close(s.caught)
				return true
			}
		}
		p.mu.Unlock()
	}
	return false
}
