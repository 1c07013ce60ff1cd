package faultproxy

import "bytes"

// keep is how many bytes of requests a proxy remembers.
const keep = 8 << 20

// Requests returns what clients have sent so far, in the order in which the proxy read
// it: the newest 8 MiB of it.
func (p *Proxy) Requests() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.requests...)
}

// OnRequest has f called with each request before it is passed on, which waits until f
// returns. f must not keep or change the bytes, is called from one goroutine for each
// connection, and may call the proxy. nil, the default, is no function.
func (p *Proxy) OnRequest(f func(request []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onRequest = f
}

func (p *Proxy) sawRequest(b []byte) {
	p.mu.Lock()
	p.requests = append(p.requests, bytes.Clone(b))
	for p.kept += len(b); p.kept > keep; p.requests = p.requests[1:] {
		p.kept -= len(p.requests[0])
	}
	f := p.onRequest
	p.mu.Unlock()
	if f != nil {
		f(b)
	}
}
