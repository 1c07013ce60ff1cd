package flight

// Holds reports whether the group keeps a map, empty or not.
func (g *Group[R]) Holds() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flights != nil
}
