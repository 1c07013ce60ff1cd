package redisio

// Answered reports whether the call has what a client has written, or may still write.
func (c *Call) Answered() bool { return c.cmd != nil }
