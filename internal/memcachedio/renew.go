package memcachedio

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// glance is how often a process looks whether its leases are still its own, with one
// request for all on a server.
const glance = time.Second

// start starts the goroutine that renews, if it does not run. l.mu is held.
func (l *Leases) start() {
	if !l.running && !l.closed {
		l.running = l.client.Go(l.renew)
	}
}

// renew looks after the leases of this process. It ends when there are none.
func (l *Leases) renew() {
	ticker := time.NewTicker(l.pause())
	defer ticker.Stop()
	for {
		l.mu.Lock()
		if l.closed || len(l.byToken) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		back := l.returning()
		l.mu.Unlock()
		if len(back) > 0 {
			l.takeBack(back)
		}
		select {
		case <-ticker.C:
			l.tend()
		case <-l.wake:
		}
	}
}

func (l *Leases) pause() time.Duration { return min(l.ttl/6, glance) }

// returning returns the leases that are to be given back. l.mu is held.
func (l *Leases) returning() []*Held {
	var back []*Held
	for _, h := range l.byToken {
		if h.state == returning {
			back = append(back, h)
		}
	}
	return back
}

// takeBack gives leases back of which it was not known whether they were granted. One
// that is not there may yet come, so it is looked for some times.
func (l *Leases) takeBack(back []*Held) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = Each(ctx, len(back), func(i int) error {
		h := back[i]
		err := Free(ctx, h.name, h.token, nil)
		now := time.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil || errors.Is(err, ErrGone) && now.After(h.keep) || now.After(h.expires.Add(l.ttl)) {
			l.drop(h)
			l.poller.Wake(h.name.Text)
		}
		return nil
	})
}

// tend looks whether the leases are still held, and renews those that are due.
func (l *Leases) tend() {
	l.mu.Lock()
	var mine []*Held
	for _, h := range l.byToken {
		if h.state == held {
			mine = append(mine, h)
		}
	}
	l.mu.Unlock()
	byServer := map[*Server][]*Held{}
	for _, h := range mine {
		byServer[h.name.Server] = append(byServer[h.name.Server], h)
	}
	servers := make([]*Server, 0, len(byServer))
	for s := range byServer {
		servers = append(servers, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(l.ttl/3, patience))
	defer cancel()
	_ = Each(ctx, len(servers), func(i int) error {
		l.tendOf(ctx, byServer[servers[i]])
		return nil
	})
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range mine {
		if h.state == held && now.After(h.expires) {
			l.lose(h)
		}
	}
}

// tendOf is tend for the leases of one server.
func (l *Leases) tendOf(ctx context.Context, mine []*Held) {
	began := time.Now()
	names := make([]Name, len(mine))
	for i, h := range mine {
		names[i] = h.name
	}
	items, err := Read(ctx, names)
	if err != nil {
		return
	}
	_ = Each(ctx, len(mine), func(i int) error {
		h := mine[i]
		l.mu.Lock()
		due, still := !began.Before(h.renewAt.Add(-l.pause())), h.state == held
		if still && TokenOf(items[i]) != h.token {
			l.lose(h)
			still = false
		}
		l.mu.Unlock()
		if !still || !due {
			return nil
		}
		renewal := h.Item()
		renewal.CasID = items[i].CasID
		// A touch would renew the lease of whoever has it now.
		outcome, err := h.name.Server.CAS(ctx, renewal)
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err != nil || h.state != held:
		case outcome == Done:
			h.expires, h.renewAt = began.Add(l.life()), began.Add(l.ttl/3)
		case outcome == Absent:
			l.lose(h)
		}
		// One that has changed may have been renewed by what was sent before and came
		// late. The next look will tell.
		return nil
	})
}

// named finds the server of a name that was made by Place.
func (c *Client) named(text string) Name {
	name := Name{Server: c.servers[0], Text: text}
	if at := len(text) - digestSize; len(c.servers) > 1 && at >= 0 {
		var sum [9]byte // twelve characters of the digest
		if n, _ := base64.RawURLEncoding.Decode(sum[:], []byte(text[at:at+12])); n == len(sum) {
			name.Server = c.pick(binary.LittleEndian.Uint64(sum[:8]))
		}
	}
	return name
}
