package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/dogpile-go/dogpile/internal/redisio"
)

// The scripts compare tokens, so that nobody's lease is touched but one's own, and
// bear being executed twice.
var (
	refreshScript = redisio.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0`)

	releaseScript = redisio.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('DEL', KEYS[1])
end
return 0`)
)

// batchSize is how many scripts are sent at once.
const batchSize = 500

// renew renews the leases of this process every third of their TTL, and gives back
// those that could not be given back before.
func (m *Member) renew() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-m.renews:
		case <-timer.C:
		case <-m.closing:
			return
		}
		due, back, wait := m.dueLeases()
		for len(due) > 0 {
			n := min(len(due), batchSize)
			m.renewSome(due[:n])
			due = due[n:]
		}
		if len(back) > 0 {
			m.giveBack(back)
		}
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// dueLeases returns what is to be renewed and what is to be given back now, and
// when to ask again: 0 if there is no lease. Leases that have expired are lost.
func (m *Member) dueLeases() (due, back []*Lease, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == 0 {
		return nil, nil, 0
	}
	now := time.Now()
	wait = m.TTL
	var expired []*Lease
	for _, s := range m.subjects {
		for _, l := range s.leases {
			switch {
			case l.state == returning && now.Before(l.expires):
				back = append(back, l)
				wait = min(wait, m.TTL/10)
			case l.state == returning || l.state == held && !now.Before(l.expires):
				expired = append(expired, l)
			case l.state == held && !now.Before(l.renewAt):
				// If it does not succeed it is tried again soon.
				l.renewAt = now.Add(m.TTL / 10)
				l.echo()
				due = append(due, l)
				wait = min(wait, m.TTL/10)
			case l.state == held:
				wait = min(wait, l.renewAt.Sub(now))
			}
		}
	}
	for _, l := range expired {
		m.lose(l)
	}
	return due, back, max(wait, time.Millisecond)
}

func (m *Member) renewSome(leases []*Lease) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(m.life, max(m.TTL/3, time.Millisecond))
	defer cancel()
	outcomes := m.Refresh(ctx, leases)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, l := range leases {
		if l.state != held {
			continue
		}
		switch err := outcomes[i]; {
		case err == nil:
			l.expires = began.Add(m.TTL)
			l.renewAt = began.Add(m.TTL / 3)
		case errors.Is(err, ErrGone):
			m.lose(l)
		default:
			// Nothing may have been changed that this lease would be told of.
			// If it was, that costs a look.
			l.echoes = 0
		}
	}
	alarm(m.renews)
}

func (m *Member) giveBack(leases []*Lease) {
	ctx, cancel := context.WithTimeout(m.life, max(m.TTL/3, time.Millisecond))
	defer cancel()
	if m.Release(ctx, leases) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, l := range leases {
		if now.After(l.keep) {
			m.drop(l)
		}
	}
}

func (m *Member) refresh(ctx context.Context, leases []*Lease) []error {
	outcomes := make([]error, len(leases))
	b := m.Client.Batch()
	calls := make([]*redisio.Call, len(leases))
	for i, l := range leases {
		calls[i] = b.Eval(refreshScript, []string{l.lock}, l.token, m.TTL.Milliseconds())
	}
	err := b.Exec(ctx)
	for i, call := range calls {
		if outcomes[i] = err; err != nil {
			continue
		}
		if renewed, err := call.Value(); err != nil {
			outcomes[i] = err
		} else if renewed == int64(0) {
			outcomes[i] = ErrGone
		}
	}
	return outcomes
}

func (m *Member) release(ctx context.Context, leases []*Lease) error {
	for len(leases) > 0 {
		n := min(len(leases), batchSize)
		b := m.Client.Batch()
		calls := make([]*redisio.Call, n)
		for i, l := range leases[:n] {
			calls[i] = b.Eval(releaseScript, []string{l.lock}, l.token)
		}
		if err := b.Exec(ctx); err != nil {
			return err
		}
		for _, call := range calls {
			if _, err := call.Value(); err != nil {
				return err
			}
		}
		leases = leases[n:]
	}
	return nil
}
