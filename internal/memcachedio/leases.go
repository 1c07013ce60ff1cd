package memcachedio

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/internal/poll"
)

// ShortestTTL is the least that a lease can last: the server counts in seconds, so one
// of two seconds is over after one to two.
const ShortestTTL = 2 * time.Second

// Leases are the leases of one process: it takes them, renews them every third of
// their TTL, notices within a second if they are lost, and waits for those of others.
// It is safe for concurrent use.
type Leases struct {
	client *Client
	ttl    time.Duration
	poller *poll.Poller

	shared bool // with programs that have another library
	others strangers

	mu      sync.Mutex
	byToken map[string]*Held
	running bool // the goroutine that renews
	wake    chan struct{}
	closed  bool
}

// NewLeases returns the Leases of a client. ttl is at least [ShortestTTL].
func NewLeases(c *Client, ttl time.Duration) *Leases {
	l := &Leases{client: c, ttl: ttl, byToken: map[string]*Held{}, wake: make(chan struct{}, 1)}
	l.poller = poll.New(l.look, c.closed)
	return l
}

// NewSharedLeases returns the Leases of a client in a place where programs with another
// library have theirs. Tokens are numbers, as Python has them. A lease of such a program
// that has stayed the same for stealAfter since it was first seen is taken away; zero
// means never.
func NewSharedLeases(c *Client, ttl, stealAfter time.Duration) *Leases {
	l := NewLeases(c, ttl)
	l.shared, l.others.after = true, stealAfter
	return l
}

// life is how long a lease lasts at least after it was taken or renewed.
func (l *Leases) life() time.Duration {
	return time.Duration(seconds(l.ttl)-1) * time.Second
}

// Ask registers an attempt at the lease name, before the server is asked. It returns
// nil after Close.
func (l *Leases) Ask(key string, name Name, sign byte) *Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	now := time.Now()
	h := &Held{
		leases: l, key: key, name: name, lost: make(chan struct{}),
		expires: now.Add(l.life()), renewAt: now.Add(l.ttl / 3),
	}
	if l.shared {
		h.token = newNumber()
	} else {
		h.token = newToken(sign)
	}
	l.byToken[h.token] = h
	return h
}

// Item returns what stands for the lease on the server.
func (h *Held) Item() *memcache.Item {
	ttl := h.leases.ttl
	if h.token[0] == Writer {
		ttl = ShortestTTL // a write takes some round trips
	}
	item := &memcache.Item{
		Key: h.name.Text, Value: []byte(h.token), Flags: leaseFlags,
		Expiration: LeaseExpiration(ttl, time.Now()),
	}
	if h.leases.shared {
		item.Flags = numberFlags
	}
	return item
}

// Take tries to take the lease name. It returns nil if somebody else has it.
func (l *Leases) Take(ctx context.Context, key string, name Name) (*Held, error) {
	for try := 1; ; try++ {
		h := l.Ask(key, name, Creator)
		if h == nil {
			return nil, l.client.closed
		}
		outcome, err := name.Server.Add(ctx, h.Item())
		if Unsent(err) {
			l.Forget(h)
			return nil, err
		}
		if outcome == Changed && l.others.after > 0 {
			outcome, err = l.steal(ctx, h)
		}
		if err != nil && Broken(err) && ctx.Err() == nil {
			// It may have been executed, and then will not be once more. If it was
			// not, it may be later: this token must not be used then.
			var item *memcache.Item
			if item, err = name.Server.GetOne(ctx, name.Text); err == nil {
				switch TokenOf(item) {
				case h.token:
					outcome = Done
				case "":
					l.abandon(h)
					if try < 3 {
						continue
					}
					return nil, errors.New("memcached: the connection broke again and again")
				default:
					l.abandon(h)
					return nil, nil
				}
			}
		}
		switch {
		case err != nil:
			l.abandon(h)
			return nil, err
		case outcome == Done:
			if !l.grant(h) {
				l.abandon(h) // Close waits for that
				return nil, l.client.closed
			}
			return h, nil
		default:
			l.Forget(h)
			return nil, nil
		}
	}
}

// steal takes a lease from a program with another library that is taken for dead. It is
// Done if that was so.
func (l *Leases) steal(ctx context.Context, h *Held) (Outcome, error) {
	item, err := h.name.Server.GetOne(ctx, h.name.Text)
	if err != nil || !l.others.dead(h.name.Text, item) {
		return Changed, err
	}
	mine := h.Item()
	mine.CasID = item.CasID // it is nobody else's by now
	return h.name.Server.CAS(ctx, mine)
}

// grant notes that the server has granted h. It returns false after Close.
func (l *Leases) grant(h *Held) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.state != asked || l.closed {
		return false
	}
	h.state = held
	l.start()
	return true
}

// Forget notes that h was refused.
func (l *Leases) Forget(h *Held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(h)
}

// abandon notes that it is not known what the server has done. The lease is given back
// in the background.
func (l *Leases) abandon(h *Held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giveBack(h)
}

// giveBack is abandon. l.mu is held.
func (l *Leases) giveBack(h *Held) {
	if h.state == over {
		return
	}
	h.state = returning
	h.keep = time.Now().Add(2 * h.name.Server.mc.Timeout)
	l.start()
	l.alarm()
}

// GiveBack releases leases that nobody wants any more, in the background.
func (l *Leases) GiveBack(all []*Held) {
	for _, h := range all {
		if h != nil {
			l.abandon(h)
		}
	}
}

// Find returns the lease of this process with this token, or nil.
func (l *Leases) Find(name Name, token string) *Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.byToken[token]; h != nil && h.name == name {
		return h
	}
	return nil
}

// Of returns the leases of this process that are held of names. Those are what a
// request ends that is sent next and that voids them; see [Leases.Voided].
func (l *Leases) Of(names []Name) []*Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.byToken) == 0 {
		return nil
	}
	wanted := make(map[Name]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	var found []*Held
	for _, h := range l.byToken {
		if wanted[h.name] && (h.state == held || h.state == ending) {
			found = append(found, h)
		}
	}
	return found
}

// Lost notes that leases were lost.
func (l *Leases) Lost(leases []*Held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range leases {
		if h.state == held {
			l.lose(h)
		}
	}
}

// Voided notes that leases were voided, and wakes those who wait for names.
func (l *Leases) Voided(leases []*Held, names []Name) {
	l.Lost(leases)
	for _, name := range names {
		l.poller.Wake(name.Text)
	}
}

// Void ends leases, whoever holds them.
func (l *Leases) Void(ctx context.Context, names []Name) error {
	mine := l.Of(names)
	err := Each(ctx, len(names), func(i int) error { return names[i].Server.Delete(ctx, names[i].Text) })
	if err == nil {
		l.Voided(mine, names)
	}
	return err
}

// Wait waits until one of names may be free, as lock.Locker says.
func (l *Leases) Wait(ctx context.Context, places []Place, kind byte) error {
	texts := make([]string, len(places))
	for i := range places {
		texts[i] = places[i].Text(kind)
	}
	return l.WaitFor(ctx, texts)
}

// WaitFor is Wait for items with these texts, on the one server that there is.
func (l *Leases) WaitFor(ctx context.Context, texts []string) error {
	return l.poller.Wait(ctx, texts...)
}

// look is the poller's.
func (l *Leases) look(ctx context.Context, texts []string) ([]bool, error) {
	names := make([]Name, len(texts))
	byServer := map[*Server][]int{}
	for i, text := range texts {
		names[i] = l.client.named(text)
		byServer[names[i].Server] = append(byServer[names[i].Server], i)
	}
	free, errs := make([]bool, len(texts)), make(poll.KeyErrors, len(texts))
	var failed bool
	var mu sync.Mutex
	servers := make([]*Server, 0, len(byServer))
	for s := range byServer {
		servers = append(servers, s)
	}
	// A server that fails is no news about the keys of the others.
	_, err := Call(ctx, l.client, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, Each(ctx, len(servers), func(i int) error {
			at := byServer[servers[i]]
			some := make([]Name, len(at))
			for j, k := range at {
				some[j] = names[k]
			}
			items, err := Read(ctx, some)
			mu.Lock()
			defer mu.Unlock()
			for j, k := range at {
				if errs[k] = err; err == nil {
					free[k] = items[j] == nil
					if l.others.dead(texts[k], items[j]) {
						free[k] = true
					}
				}
			}
			failed = failed || err != nil
			return nil
		})
	}, nil)
	switch {
	case err != nil:
		return nil, err
	case failed:
		return free, errs
	}
	return free, nil
}

// Close ends all leases and wakes all who wait. The client is still open then.
func (l *Leases) Close() {
	l.mu.Lock()
	l.closed = true
	var mine []*Held
	for _, h := range l.byToken {
		if h.state != asked {
			mine = append(mine, h)
			l.lose(h)
		}
	}
	l.alarm()
	l.mu.Unlock()
	l.poller.Close()
	// What the server was asked for before may yet be granted.
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		waiting, late := false, time.Now().After(end)
		for _, h := range l.byToken {
			switch {
			case h.state == asked && !late:
				waiting = true
				continue
			case h.state != asked:
				mine = append(mine, h)
			}
			l.lose(h)
		}
		l.mu.Unlock()
		if !waiting {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if len(mine) == 0 {
		return
	}
	_, _ = Call(ctx, l.client, func(ctx context.Context) (struct{}, error) {
		_ = Each(ctx, len(mine), func(i int) error {
			_ = Free(ctx, mine[i].name, mine[i].token, nil)
			return nil // the next one may be on another server
		})
		return struct{}{}, nil
	}, nil)
}

// lose ends a lease and tells its holder. l.mu is held.
func (l *Leases) lose(h *Held) {
	if h.state == held || h.state == ending {
		close(h.lost)
	}
	l.drop(h)
}

// drop takes the lease out of the table. l.mu is held.
func (l *Leases) drop(h *Held) {
	if h.state == over {
		return
	}
	h.state = over
	delete(l.byToken, h.token)
	if len(l.byToken) == 0 {
		l.byToken = map[string]*Held{} // Go's maps do not shrink
		l.alarm()
	}
}

func (l *Leases) alarm() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
