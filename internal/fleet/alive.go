package fleet

import (
	"context"
	"slices"
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
//
// A process whose connection breaks is dead to the others until it has another one,
// which takes some round trips. So a process measures how long one is, and its tokens
// tell how long those who find it dead have to wait before they find it dead again.

// deathChecks are the times between finding a process dead and finding it dead again.
// A token says which one is for its process.
var deathChecks = [...]time.Duration{
	110 * time.Millisecond, 220 * time.Millisecond, 440 * time.Millisecond,
	880 * time.Millisecond, 1760 * time.Millisecond, 3520 * time.Millisecond,
}

// reconnecting is how many round trips a process is given to be back. It takes five, or
// seven with TLS, from the break to the answer to SUBSCRIBE.
const reconnecting = 8

// patienceFor returns which of deathChecks is for a process that is trip away.
func patienceFor(trip time.Duration) byte {
	for i, d := range deathChecks {
		if d >= reconnecting*trip {
			return byte(i)
		}
	}
	return byte(len(deathChecks) - 1)
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

// checkDue begins to ask for the holders of locks on this server if that is due and may
// begin. It returns when to ask for a holder that has come up, or zero. Member.mu is held.
func (v *server) checkDue(now time.Time, waiting, begin bool) time.Time {
	switch {
	case !waiting:
		v.check, v.strange, v.ask = false, false, time.Time{}
		return v.ask
	case v.strange && v.ask.IsZero():
		v.ask = now.Add(latestProbe) // by then most have ended
	}
	if v.checking {
		return time.Time{} // and its end is told
	}
	if begin && (v.check || !v.ask.IsZero() && !now.Before(v.ask)) {
		v.check, v.checking = false, true
		v.strange, v.ask = false, time.Time{}
		v.member.running.Go(v.checkHolders)
	}
	return v.ask
}

// checkAll has the holders of all locks asked for that are waited for. m.mu is held.
func (m *Member) checkAll() {
	for _, v := range m.servers {
		v.check = true
	}
}

// rival is a lock that this process waits for, and the token it is held under.
type rival struct {
	lock, token string
}

// isRival reports whether s is waited for and its holder can be seen to be dead or
// alive. m.mu is held.
func (m *Member) isRival(s *subject) bool {
	if len(s.waiters) == 0 {
		return false
	}
	holder := holderOf(s.token)
	return holder != "" && holder != m.process
}

// rivalry notes that s is waited for, if its holder has not been asked for yet: it may
// have died before this process had anything to compare with. m.mu is held.
func (m *Member) rivalry(s *subject) {
	if m.isRival(s) && s.token != s.askedFor {
		s.at.strange = true
	}
}

// waitsForOthers reports whether there are rivals. m.mu is held.
func (m *Member) waitsForOthers() bool {
	for _, s := range m.subjects {
		if m.isRival(s) {
			return true
		}
	}
	return false
}

// checkHolders asks for those who hold what this process waits for on this server, and
// has the locks of the dead freed.
func (v *server) checkHolders() {
	m := v.member
	var rivals []rival
	m.mu.Lock()
	for _, s := range v.subjects {
		if m.isRival(s) && s.token != s.doomed {
			rivals = append(rivals, rival{s.lock, s.token})
		}
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.life, m.Client.Longest())
	defer cancel()
	dead, ok := m.dead(ctx, rivals)

	m.mu.Lock()
	defer m.mu.Unlock()
	v.checking = false
	v.strange = v.strange || !ok
	for _, r := range rivals {
		if s := m.subjects[r.lock]; s != nil && ok {
			s.askedFor = r.token
		}
	}
	doomed := make(map[time.Duration][]rival)
	for _, r := range dead {
		if s := m.subjects[r.lock]; s != nil {
			s.doomed = r.token
			doomed[patienceOf(r.token)] = append(doomed[patienceOf(r.token)], r)
		}
	}
	for wait, some := range doomed {
		m.running.Go(func() { v.evict(wait, some) })
	}
	alarm(m.probes)
}

// evict frees the locks of those who were found dead, if they are found dead again
// after wait.
func (v *server) evict(wait time.Duration, dead []rival) {
	m := v.member
	select {
	case <-time.After(wait):
	case <-m.closing:
		return
	}
	ctx, cancel := context.WithTimeout(m.life, m.Client.Longest())
	defer cancel()
	for batch := range slices.Chunk(dead, batchSize) {
		b := m.Client.Batch()
		for _, r := range batch {
			b.Eval(evictScript, []string{r.lock}, r.token, m.aliveChannel(holderOf(r.token)))
		}
		// What comes of it is told by the change of the lock, and if it failed
		// the next probe finds the same.
		_ = b.Exec(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range dead {
		if s := m.subjects[r.lock]; s != nil && s.doomed == r.token {
			s.doomed = ""
		}
	}
	m.probing.known = 0
	if !v.isTracking() {
		v.gap()
	}
}

// dead returns those of rivals whose holders are not subscribed, and false if the
// server, which has the locks of all, does not tell. Each holder is asked for once.
func (m *Member) dead(ctx context.Context, rivals []rival) (dead []rival, ok bool) {
	calls := make(map[string]*redisio.Call)
	b := m.Client.Batch()
	for _, r := range rivals {
		holder := holderOf(r.token)
		switch {
		case calls[holder] != nil:
		case m.Client.Cluster():
			calls[holder] = b.Eval(aliveScript, []string{r.lock}, m.aliveChannel(holder))
		default:
			calls[holder] = b.Do("pubsub", "numsub", m.aliveChannel(holder))
		}
	}
	if b.Len() > 0 && b.Exec(ctx) != nil {
		return nil, false
	}
	for _, r := range rivals {
		value, err := calls[holderOf(r.token)].Value()
		if answer, ok := value.([]any); ok && len(answer) == 2 {
			value = answer[1] // of the command: the channel, the number
		}
		if n, ok := value.(int64); ok && err == nil && n == 0 {
			dead = append(dead, r)
		}
	}
	return dead, true
}
