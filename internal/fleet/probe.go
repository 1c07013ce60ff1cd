package fleet

import (
	"context"
	"math/rand/v2"
	"time"
)

// Who probes and when; what for stands in alive.go.
const (
	// A process probes so long after it heard the last probe, at random.
	earliestProbe = 250 * time.Millisecond
	latestProbe   = 380 * time.Millisecond
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
	asked  string               // the address of the server that was probed last
}

// tell publishes to the fleet, and returns how many listened at the server it was sent
// to: that of t, or any if t is nil. It returns false if that does not answer.
func (m *Member) tell(ctx context.Context, t *tracker, sign string) (int64, bool) {
	if t != nil && m.Client.Cluster() {
		heard := make(chan int64, 1)
		err := m.Client.Run(ctx, func(ctx context.Context) error {
			n, err := t.node.Publish(ctx, m.fleetChannel(), sign+m.process).Result()
			heard <- n
			if isAnswer(err) {
				return nil
			}
			return err
		})
		if err != nil {
			return 0, false
		}
		return <-heard, true
	}
	b := m.Client.Batch()
	call := b.Do("publish", m.fleetChannel(), sign+m.process)
	if b.Exec(ctx) != nil {
		return 0, false
	}
	value, _ := call.Value()
	n, _ := value.(int64)
	return n, true
}

// toProbe returns the server of a cluster that is to be probed: the same again and
// again, because each counts those who listen to itself, until it does not answer.
func (m *Member) toProbe() *tracker {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.trackers[m.probing.asked]; t != nil && t.up {
		return t
	}
	for _, t := range m.trackers {
		if t.up {
			m.probing.asked, m.probing.known = t.addr, 0
			return t
		}
	}
	return nil
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
		p.known = 0
		m.checkAll()
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
		due := waiting && !p.next.IsZero() && !now.Before(p.next)
		switch {
		case !waiting:
			p.next = time.Time{}
		case p.next.IsZero():
			p.others = make(map[string]time.Time)
			m.scheduleProbe(now)
		}
		next := p.next
		for _, v := range m.servers {
			// The probe that is due may call for the same.
			if at := v.checkDue(now, waiting, !due); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		m.mu.Unlock()

		switch {
		case due:
			m.probeNow()
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
func (m *Member) probeNow() {
	ctx, cancel := context.WithTimeout(m.life, m.Client.Longest())
	defer cancel()
	m.mu.Lock()
	m.probing.last = time.Now()
	m.scheduleProbe(m.probing.last)
	m.mu.Unlock()

	n, before, t := m.publishProbe(ctx)
	m.mu.Lock()
	m.probing.known = n
	if before == 0 || n < before {
		m.checkAll()
	}
	m.mu.Unlock()
	if n < before {
		m.tell(ctx, t, missing)
	}
}

// publishProbe publishes one probe, and returns how many listened to it and to the one
// before. A server of a cluster that does not answer soon is left for another one.
func (m *Member) publishProbe(ctx context.Context) (n, before int64, t *tracker) {
	if m.Client.Cluster() {
		t = m.toProbe()
	}
	m.mu.Lock()
	before = m.probing.known
	m.mu.Unlock()
	if t == nil {
		n, _ = m.tell(ctx, nil, probed)
		return n, before, nil
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	n, ok := m.tell(soon, t, probed)
	cancel()
	if !ok {
		m.mu.Lock()
		for addr, other := range m.trackers {
			if other != t && other.up {
				m.probing.asked = addr
			}
		}
		m.mu.Unlock()
		before = 0 // whoever is missing is not known
	}
	return n, before, t
}
