package fleet

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/dogpile-go/dogpile/internal/redisio"
)

// # How a fleet notices that one of it has died
//
// Those who wait for locks take turns in probing: one publishes to the channel of
// the fleet, which costs one command and tells two things. The server answers how
// many were listening, so that the prober sees when one is missing. And all others
// hear it, and put off their own next probe, as in the suppression of reports by
// IGMP (RFC 2236, section 3). So the fleet probes every third of a second, however
// many it are, and each process seldom.
//
// A prober who finds one missing, or who has nothing to compare with, asks for the
// processes that hold what it waits for, and alarms the others to do the same. Each
// also asks for a holder it has not waited for before, who may have died while nobody
// cared. A holder who is found dead twice loses its locks.
const (
	// A process probes so long after it heard the last probe, at random.
	earliestProbe = 250 * time.Millisecond
	latestProbe   = 380 * time.Millisecond

	// deathCheck is the time between finding a process dead and finding it dead
	// again. A connection that was lost is back sooner.
	deathCheck = 110 * time.Millisecond
)

// ownPause is how long after its own last probe a process may probe again: if it has
// heard nobody since, and if one other probes, or several. A fleet that takes turns
// leaves each its rest.
var ownPause = [...]time.Duration{350 * time.Millisecond, 520 * time.Millisecond, 680 * time.Millisecond}

// mostOthers is how many are counted; more than a few make no difference.
const mostOthers = 64

// remembered is for how long a process counts another one that has probed.
const remembered = 2 * time.Second

// What is published to the channel of the fleet is a sign and the sender.
const (
	probed  = "?" // how many are we?
	missing = "!" // one is missing
	joined  = "+" // there is one more
)

// probing is what this member knows of the others. Member.mu guards it.
type probing struct {
	known  int64                // how many listened to the last probe of this process; 0 if not known
	last   time.Time            // when it was
	others map[string]time.Time // when others have probed last
	next   time.Time            // when this process is to probe; zero: nobody waits
	check  bool                 // somebody may be missing

	strange bool      // a holder has come up that was not asked for yet
	ask     time.Time // when to ask for it; zero: there is none
}

var (
	aliveSource = `return redis.call('PUBSUB', 'NUMSUB', ARGV[1])[2]`

	// aliveScript returns how many are subscribed to the channel of a process.
	// The key only says which server of a cluster is meant.
	aliveScript = redisio.NewScript(aliveSource)

	// evictScript frees a lock if it is still held under this token, and the
	// process that holds it is still dead.
	evictScript = redisio.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PUBSUB', 'NUMSUB', ARGV[2])[2] == 0 then
	return redis.call('DEL', KEYS[1])
end
return 0`)
)

func (m *Member) aliveChannel(process string) string { return m.Prefix + "alive:" + process }
func (m *Member) fleetChannel() string               { return m.Prefix + "fleet" }

// tell publishes to the fleet and returns how many listened.
func (m *Member) tell(ctx context.Context, sign string) int64 {
	b := m.Client.Batch()
	call := b.Do("publish", m.fleetChannel(), sign+m.process)
	if b.Exec(ctx) != nil {
		return 0
	}
	value, _ := call.Value()
	n, _ := value.(int64)
	return n
}

// onMessage is called with what was published to the fleet.
func (m *Member) onMessage(text string) {
	if len(text) != 1+processSize || text[1:] == m.process {
		return // whoever else has published that
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &m.probing
	switch text[:1] {
	case probed:
		if !p.next.IsZero() {
			now := time.Now()
			if len(p.others) < mostOthers {
				p.others[text[1:]] = now
			}
			m.scheduleProbe(now)
		}
	case joined:
		p.known = 0
	case missing:
		p.known, p.check = 0, true
		alarm(m.probes)
	}
}

// scheduleProbe sets the time of the next probe. m.mu is held.
func (m *Member) scheduleProbe(now time.Time) {
	p := &m.probing
	next := now.Add(earliestProbe + rand.N(latestProbe-earliestProbe))
	heard := false
	for process, at := range p.others {
		if now.Sub(at) > remembered {
			delete(p.others, process)
		}
		heard = heard || at.After(p.last)
	}
	pause := ownPause[0]
	if heard {
		pause = ownPause[min(len(p.others), len(ownPause)-1)]
	}
	if rested := p.last.Add(pause); next.Before(rested) {
		next = rested
	}
	p.next = next
}

// probe probes while there is somebody to wait for.
func (m *Member) probe() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		m.mu.Lock()
		p := &m.probing
		waiting := m.waitsForOthers()
		due, check := false, false
		switch {
		case !waiting:
			p.next, p.ask, p.check, p.strange = time.Time{}, time.Time{}, false, false
		case p.next.IsZero():
			p.others = make(map[string]time.Time)
			m.scheduleProbe(now)
		default:
			due, check = !now.Before(p.next), p.check || !p.ask.IsZero() && !now.Before(p.ask)
			p.check = false
		}
		if p.strange && p.ask.IsZero() {
			p.ask = now.Add(latestProbe) // by then most have ended
		}
		next := p.next
		if !p.ask.IsZero() && p.ask.Before(next) {
			next = p.ask
		}
		m.mu.Unlock()

		switch {
		case due:
			m.probeNow(check)
			continue
		case check:
			m.checkHolders()
			continue
		case !next.IsZero():
			timer.Reset(next.Sub(now))
		}
		select {
		case <-timer.C:
		case <-m.probes:
		case <-m.closing:
			return
		}
	}
}

// probeNow publishes one probe and does what it calls for.
func (m *Member) probeNow(check bool) {
	ctx, cancel := context.WithTimeout(m.life, m.Client.Longest())
	defer cancel()
	m.mu.Lock()
	m.probing.last = time.Now()
	m.scheduleProbe(m.probing.last)
	before := m.probing.known
	m.mu.Unlock()

	n := m.tell(ctx, probed)
	m.mu.Lock()
	m.probing.known = n
	m.mu.Unlock()
	if n < before {
		m.tell(ctx, missing)
	}
	if check || before == 0 || n < before {
		m.checkHolders()
	}
}

// rival is a lock that this process waits for, and the token it is held under.
type rival struct {
	lock, node, token string
}

// rivals returns the locks that are waited for and whose holder can be seen to be
// dead or alive. m.mu is held.
func (m *Member) rivals() (rivals []rival) {
	for _, s := range m.subjects {
		if holder := holderOf(s.token); len(s.waiters) > 0 && holder != "" && holder != m.process {
			rivals = append(rivals, rival{s.lock, s.node, s.token})
		}
	}
	return rivals
}

// rivalry notes that s is waited for, if its holder has not been asked for yet: it may
// have died before this process had anything to compare with. m.mu is held.
func (m *Member) rivalry(s *subject) {
	holder := holderOf(s.token)
	if len(s.waiters) > 0 && holder != "" && holder != m.process && s.token != s.askedFor {
		m.probing.strange = true
	}
}

// waitsForOthers reports whether there are rivals. m.mu is held.
func (m *Member) waitsForOthers() bool {
	for _, s := range m.subjects {
		if holder := holderOf(s.token); len(s.waiters) > 0 && holder != "" && holder != m.process {
			return true
		}
	}
	return false
}

// checkHolders asks for those who hold what this process waits for, and frees the
// locks of the dead.
func (m *Member) checkHolders() {
	m.mu.Lock()
	m.probing.strange, m.probing.ask = false, time.Time{}
	rivals := m.rivals()
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.life, m.Client.Longest())
	defer cancel()
	dead, ok := m.dead(ctx, rivals)
	m.mu.Lock()
	for _, r := range rivals {
		if s := m.subjects[r.lock]; s != nil && ok {
			s.askedFor = r.token
		}
	}
	m.probing.strange = m.probing.strange || !ok
	m.mu.Unlock()
	if len(dead) == 0 {
		return
	}
	select {
	case <-time.After(deathCheck):
	case <-m.closing:
		return
	}
	for len(dead) > 0 {
		n := min(len(dead), batchSize)
		b := m.Client.Batch()
		for _, r := range dead[:n] {
			b.Eval(evictScript, []string{r.lock}, r.token, m.aliveChannel(holderOf(r.token)))
		}
		// What comes of it is told by the change of the lock, and if it failed
		// the next probe finds the same.
		_ = b.Exec(ctx)
		dead = dead[n:]
	}
	if !m.Tracking() {
		m.onGap()
	}
	m.mu.Lock()
	m.probing.known = 0
	m.mu.Unlock()
}

// dead returns those of rivals whose holders are not subscribed, and false if the
// server does not tell. Each holder is asked for once on each server.
func (m *Member) dead(ctx context.Context, rivals []rival) (dead []rival, ok bool) {
	type at struct{ holder, node string }
	calls := make(map[at]*redisio.Call)
	b := m.Client.Batch()
	for _, r := range rivals {
		where := at{holderOf(r.token), r.node}
		switch {
		case calls[where] != nil:
		case m.Client.Cluster():
			calls[where] = b.Eval(aliveScript, []string{r.lock}, m.aliveChannel(where.holder))
		default:
			calls[where] = b.Do("pubsub", "numsub", m.aliveChannel(where.holder))
		}
	}
	if b.Len() > 0 && b.Exec(ctx) != nil {
		return nil, false
	}
	for _, r := range rivals {
		value, err := calls[at{holderOf(r.token), r.node}].Value()
		if answer, ok := value.([]any); ok && len(answer) == 2 {
			value = answer[1] // of the command: the channel, the number
		}
		if n, ok := value.(int64); ok && err == nil && n == 0 {
			dead = append(dead, r)
		}
	}
	return dead, true
}
