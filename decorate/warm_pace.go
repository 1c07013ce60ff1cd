package decorate

import "time"

// pace spreads creations over time: it is when the next one may begin.
type pace struct {
	rate float64 // per second; 0: no limit
	next time.Time
}

// most returns how many may begin together.
func (p *pace) most(n int) int {
	if p.rate > 0 && p.rate < float64(n) {
		return max(1, int(p.rate))
	}
	return n
}

// reserve takes the time of n creations and returns how long it is until they may begin.
func (p *pace) reserve(n int) time.Duration {
	if p.rate == 0 {
		return 0
	}
	const longest = 100 * 365 * 24 * time.Hour // far enough, and no overflow
	now := time.Now()
	if p.next.Before(now) {
		p.next = now // what was not used is not saved up
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(min(float64(n)/p.rate*float64(time.Second), float64(longest))))
	return wait
}
