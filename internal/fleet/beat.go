package fleet

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// beat is how often a connection on which nothing happens is tried. One that has been
// silent for two is given up.
const beat = 2 * time.Second

// watchdog closes a connection on which nothing has come for two beats, or that leads
// to another server than the commands, or whose tracker was stopped. That ends
// Receive. The server is made to say something only when it has been silent for a
// beat.
func (t *tracker) watchdog(ps *redis.PubSub, ended <-chan struct{}) {
	ticker := time.NewTicker(beat / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-t.quit.Done():
			_ = ps.Close()
			return
		case <-ticker.C:
		}
		switch silent := time.Since(t.born) - time.Duration(t.heard.Load()); {
		case silent >= 2*beat:
			_ = ps.Close()
			return
		case silent >= beat && !t.knock(ps):
			_ = ps.Close()
			return
		}
	}
}

// knock has the server send something on the connection, and returns false if it has
// nobody to send it to: after a failover commands go to the new master at once, while
// the connection may stay with the old one.
func (t *tracker) knock(ps *redis.PubSub) bool {
	ctx, cancel := context.WithTimeout(t.quit, beat/2)
	defer cancel()
	heard, err := t.node.Publish(ctx, t.member.aliveChannel(t.member.process), "").Result()
	if err != nil {
		_ = ps.Ping(ctx) // for a user who may not publish
		return true
	}
	return heard > 0
}
