package faultproxy

// loss is an answer that is to get lost.
type loss struct {
	match  func([]byte) bool
	silent bool
	lost   chan struct{}
}

// DropReplyTo passes the next request that match accepts on to the server, waits for
// the server's reply and cuts the connection instead of passing that on: the command
// was carried out, and the client cannot know. dropped is closed after the cut. It
// happens once, on one connection; several DropReplyTo wait side by side for a request
// each. match must not keep or change the bytes and may be called from several
// goroutines at once.
func (p *Proxy) DropReplyTo(match func(request []byte) bool) (dropped <-chan struct{}) {
	return p.lose(match, false)
}

// LoseReplyTo is [Proxy.DropReplyTo] for a network that dies without a word: the
// connection stays open, and nothing passes on it any more in either direction.
func (p *Proxy) LoseReplyTo(match func(request []byte) bool) (lost <-chan struct{}) {
	return p.lose(match, true)
}

func (p *Proxy) lose(match func([]byte) bool, silent bool) <-chan struct{} {
	l := &loss{match: match, silent: silent, lost: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.losses = append(p.losses, l)
	return l.lost
}

// lossOf returns the loss that this request calls for, which no other then does.
func (p *Proxy) lossOf(request []byte) *loss {
	p.mu.Lock()
	waiting := p.losses
	p.mu.Unlock()
	for _, l := range waiting {
		if l.match(request) && p.take(l) {
			return l
		}
	}
	return nil
}

// take removes l from the losses that wait for a request, if it is still there.
func (p *Proxy) take(l *loss) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.losses {
		if other == l {
			// A new slice: lossOf reads the old one without the mutex.
			p.losses = append(append([]*loss(nil), p.losses[:i]...), p.losses[i+1:]...)
			return true
		}
	}
	return false
}
