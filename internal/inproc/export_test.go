package inproc

// MostYoung is mostYoung.
const MostYoung = mostYoung

// Tags returns how many tags are known.
func Tags(c *Core) int {
	c.stamps.mu.RLock()
	defer c.stamps.mu.RUnlock()
	return len(c.stamps.tags)
}
