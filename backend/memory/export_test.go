package memory

// CleanUp does at once what the eviction would do in a moment.
func (b *Backend) CleanUp() { b.entries.Load().CleanUp() }

// Len returns how many entries take memory.
func (b *Backend) Len() int { return b.entries.Load().EstimatedSize() }
