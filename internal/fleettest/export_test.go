package fleettest

// CloseInput closes the worker's standard input, as the death of its parent does.
func (p *Process) CloseInput() { _ = p.in.Close() }
