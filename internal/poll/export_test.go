package poll

// Keys returns how many keys p remembers.
func Keys(p *Poller) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys)
}
