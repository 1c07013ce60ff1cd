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

// backAgain is the longest time between two attempts at giving a lease back.
const backAgain = 500 * time.Millisecond

// batchSize is how many scripts are sent at once.
const batchSize = 500

// renew renews the leases of this process every third of their TTL, and gives back
// those that could not be given back before.
func (v *server) renew() {
	m := v.member
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-v.renews:
		case <-timer.C:
		case <-v.quit:
			return
		case <-m.closing:
			return
		}
		due, back, wait := v.dueLeases()
		for len(due) > 0 {
			n := min(len(due), batchSize)
			v.renewSome(due[:n])
			due = due[n:]
		}
		if len(back) > 0 {
			v.giveBack(back)
		}
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// dueLeases returns what is to be renewed and what is to be given back now, and
// when to ask again: 0 if there is no lease. Leases that have expired are lost, and
// given back: the server may have executed something late, and count from then.
func (v *server) dueLeases() (due, back []*Lease, wait time.Duration) {
	m := v.member
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.held == 0 {
		return nil, nil, 0
	}
	now := time.Now()
	wait = m.TTL
	var over []*Lease
	for _, s := range v.subjects {
		for _, l := range s.leases {
			if l.state == held && !now.Before(l.expires) {
				close(l.lost)
				l.giveUp(now)
			}
			switch {
			case l.state == returning && !now.Before(l.until):
				over = append(over, l)
			case l.state == returning && !now.Before(l.renewAt):
				again := min(m.TTL/10, backAgain)
				l.renewAt = now.Add(again)
				back = append(back, l)
				wait = min(wait, again)
			case l.state == held && !now.Before(l.renewAt):
				// If it does not succeed it is tried again soon.
				l.renewAt = now.Add(m.TTL / 10)
				l.echo()
				due = append(due, l)
				wait = min(wait, m.TTL/10)
			case l.state == held || l.state == returning:
				wait = min(wait, l.renewAt.Sub(now))
			}
		}
	}
	for _, l := range over {
		m.drop(l)
	}
	return due, back, max(wait, time.Millisecond)
}

func (v *server) renewSome(leases []*Lease) {
	m := v.member
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
	alarm(v.renews)
}

// giveBack frees what may be held under the tokens of leases that are over. A lease is
// dropped when the server has answered twice since the client had given up what was sent
// for it: a server that did not run for a while executes what has piled up meanwhile in
// any order, and answers when it is through.
func (v *server) giveBack(leases []*Lease) {
	m := v.member
	began := time.Now()
	ctx, cancel := context.WithTimeout(m.life, max(min(m.TTL/3, patience), time.Millisecond))
	defer cancel()
	if m.Release(ctx, leases) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range leases {
		if began.Before(l.keep) {
			continue
		}
		if l.returns++; l.returns == 2 || !l.stray {
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
