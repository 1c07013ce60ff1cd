package fleet

import (
	"context"
	"time"

	"github.com/dogpile-go/dogpile/internal/redisio"
)

const (
	firstPoll = 5 * time.Millisecond
	lastPoll  = 50 * time.Millisecond

	// lookSize is how many locks one command looks at.
	lookSize = 500

	// lookFails is how many looks in a row may fail before those who wait are
	// told.
	lookFails = 2
)

// glance is one subject that is being looked at.
type glance struct {
	*subject
	held []*Lease // those that were held when the look began
}

// watch looks at locks that have changed, and, without tracking, again and again
// at all that are waited for.
func (v *server) watch() {
	m := v.member
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var next time.Time // when to go through all of them
	for {
		if now := time.Now(); v.hurried() || !now.Before(next) {
			next = time.Time{}
			if again := v.due(); again > 0 {
				next = now.Add(again)
				timer.Reset(again)
			}
		}
		for {
			glances := v.takeChanged()
			if len(glances) == 0 {
				break
			}
			v.look(glances)
			if m.life.Err() != nil {
				return
			}
		}
		select {
		case <-v.looks:
		case <-timer.C:
		case <-v.quit:
			return
		case <-m.closing:
			return
		}
	}
}

// hurried reports whether there is a reason to go through all of them before it is
// time.
func (v *server) hurried() bool {
	v.member.mu.Lock()
	defer v.member.mu.Unlock()
	hurry := v.hurry
	v.hurry = false
	return hurry
}

// due marks what has to be looked at without having been told to, and returns when
// to ask again, or 0.
func (v *server) due() time.Duration {
	m := v.member
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	again := v.endLingering(now)
	tracking := v.isTracking()
	waited := 0
	for _, s := range v.subjects {
		if len(s.waiters) == 0 {
			continue
		}
		waited++
		if s.asked.IsZero() {
			s.asked = now
		}
		// A lock that is alive is renewed, and so changes, three times in its
		// TTL. One that has not changed for so long has expired, and the server
		// has yet to notice.
		wait := m.TTL + m.TTL/10
		if !tracking {
			wait = min(max(s.delay*3/2, firstPoll), lastPoll)
		}
		if now.Sub(s.since) >= wait {
			if !tracking {
				s.delay = wait
			}
			s.since = now
			m.mark(s)
		}
	}
	switch {
	case waited == 0:
		return again
	case tracking && again > 0:
		return min(again, max(m.TTL/10, firstPoll))
	case tracking:
		return max(m.TTL/10, firstPoll)
	}
	// So many that going through them takes long are asked after less often.
	return firstPoll + time.Duration(waited)*time.Microsecond
}

func (v *server) takeChanged() []glance {
	m := v.member
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(v.changed), lookSize)
	glances := make([]glance, 0, n)
	for _, s := range v.changed[:n] {
		if s.at != v {
			continue
		}
		s.marked = false
		if m.subjects[s.lock] != s {
			continue
		}
		g := glance{subject: s}
		for _, l := range s.leases {
			if l.state == held {
				g.held = append(g.held, l)
			}
		}
		if len(s.waiters) > 0 || len(g.held) > 0 {
			glances = append(glances, g)
		}
	}
	if v.changed = v.changed[n:]; len(v.changed) == 0 {
		v.changed = nil
	}
	return glances
}

// look asks the server whose the locks are, and tells those whom it concerns.
func (v *server) look(glances []glance) {
	m := v.member
	ctx, cancel := context.WithTimeout(m.life, m.Client.Longest())
	defer cancel()
	if !m.Foreign {
		m.freeEternal(ctx, glances)
	}
	tokens, err := m.tokens(ctx, glances)

	m.mu.Lock()
	defer m.mu.Unlock()
	for i, g := range glances {
		if err != nil {
			m.lookFailed(g.subject, err)
			continue
		}
		g.fails = 0
		token := tokens[i]
		for _, l := range g.held {
			if l.state == held && l.token != token {
				m.lose(l)
			}
		}
		if g.token = token; token == "" {
			for w := range g.waiters {
				w.wake(nil)
			}
			clear(g.waiters)
		}
		m.rivalry(g.subject)
		m.tidy(g.subject)
	}
	alarm(m.probes)
}

// lookFailed tells those who wait that the server does not answer, unless it may
// have been a passing trouble. m.mu is held.
func (m *Member) lookFailed(s *subject, err error) {
	s.token = ""
	if s.fails++; s.fails < lookFails {
		m.mark(s)
		return
	}
	s.fails = 0
	for w := range s.waiters {
		w.wake(err)
	}
	clear(s.waiters)
	m.tidy(s)
}

// eternalScript frees a lock that never expires: all of ours do, so it is nobody's,
// and would be waited for for ever.
var eternalScript = redisio.NewScript(`
if redis.call('PTTL', KEYS[1]) == -1 then
	return redis.call('DEL', KEYS[1])
end
return 0`)

// freeEternal asks, of locks that have been waited for for longer than a TTL, whether
// they ever expire.
func (m *Member) freeEternal(ctx context.Context, glances []glance) {
	b := m.Client.Batch()
	now := time.Now()
	m.mu.Lock()
	for _, g := range glances {
		if len(g.waiters) > 0 && !g.asked.IsZero() && now.Sub(g.asked) > m.TTL {
			g.asked = now
			b.Eval(eternalScript, []string{g.lock})
		}
	}
	m.mu.Unlock()
	if b.Len() > 0 {
		_ = b.Exec(ctx) // it is asked again after another TTL
	}
}

// nameless stands for the token of another program's lock that has none. It is not one of
// ours.
const nameless = "?"

// tokens returns what the locks hold: "" for one that is free.
func (m *Member) tokens(ctx context.Context, glances []glance) ([]string, error) {
	tokens := make([]string, len(glances))
	b := m.Client.Batch()
	if m.Client.Cluster() || m.Foreign || len(glances) == 1 {
		calls := make([]*redisio.Call, len(glances))
		for i, g := range glances {
			calls[i] = b.Do("get", g.lock)
		}
		if err := b.Exec(ctx); err != nil {
			return nil, err
		}
		for i, call := range calls {
			value, err := call.Value()
			tokens[i], _ = value.(string) // "" also for a key of another type, which is in nobody's way
			if m.Foreign && tokens[i] == "" && (value != nil || err != nil) {
				tokens[i] = nameless
			}
		}
		return tokens, nil
	}
	args := make([]any, 1, 1+len(glances))
	args[0] = "mget"
	for _, g := range glances {
		args = append(args, g.lock)
	}
	call := b.Do(args...)
	if err := b.Exec(ctx); err != nil {
		return nil, err
	}
	values, err := call.Value()
	if err != nil {
		return nil, err
	}
	list, _ := values.([]any)
	for i := range min(len(list), len(tokens)) {
		tokens[i], _ = list[i].(string)
	}
	return tokens, nil
}
