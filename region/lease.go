package region

import (
	"context"
	"errors"

	"github.com/dogpile-go/dogpile/lock"
)

// acquire makes one attempt at the leases of keys, looks again at what is stored
// under those it got, and captures the stamps of the region and of tags: all before a
// creator begins. On an error no lease is held.
func (p *production) acquire(keys []*pending) (captured *capture, err error) {
	st := p.st
	defer func() {
		if err != nil {
			for _, q := range keys {
				p.release(q)
			}
		}
	}()
	defer recovered(&err)
	asked := keys
	if st.Mutex != nil && !p.mutexDown {
		asked = p.acquireMutex(keys)
	}
	owed := st.owed.Load()
	tags := p.tagsOf(asked)
	guards := st.asked(tags)
	grants, stamps, err := st.backend.Acquire(p.ctx, p.places(asked), guards)
	if err == nil && len(grants) != len(asked) {
		for _, g := range grants {
			if g.Lease != nil {
				_ = p.giveBack(g.Lease) // whosever it is; the error below says enough
			}
		}
		err = errors.New("the backend answered for another number of keys than it was asked for")
	}
	if err != nil {
		return nil, err
	}
	captured = st.captured(tags, stamps)
	for i, q := range asked {
		q.lease = grants[i].Lease
		q.granted = q.lease != nil || q.outer != nil
	}
	var again, own []*pending
	var glances []glance
	for i, q := range asked {
		switch {
		case q.lease != nil:
			own = append(own, q)
			glances = append(glances, glance{region: captured.region, owed: owed})
			st.read(&glances[len(glances)-1].stored, p.place(q), grants[i].Entry)
		case q.granted:
			again = append(again, q)
		}
	}
	if err := st.complete(p.ctx, glances, &current{guards: guards, stamps: stamps}); err != nil {
		return nil, err
	}
	for i := range own {
		captured.addOld(st, &glances[i])
	}
	if err := p.judge(own, glances); err != nil {
		return nil, err
	}
	if len(again) > 0 {
		// Config.Mutex says that these are ours, the backend that they are
		// somebody else's: they were not re-read.
		sights, err := st.lookMulti(p.ctx, &p.call.asks, names(again))
		for i := range sights {
			again[i].seen = sights[i]
		}
		if err != nil {
			return nil, err
		}
	}
	return captured, nil
}

// tagsOf returns the tags that the values of keys are to have, and those that they are
// known to get.
func (p *production) tagsOf(keys []*pending) []string {
	var tags []string
	for _, q := range keys {
		q.tags = p.call.wants(q.key)
		tags = append(tags, q.tags...)
		tags = append(tags, p.st.tagsOf.recall(q.key)...)
	}
	return unique(tags)
}

// acquireMutex makes one attempt at Config.Mutex for each key and returns the keys
// it was granted. A mutex that fails is left out from then on: the backend's own
// leases decide.
func (p *production) acquireMutex(keys []*pending) (granted []*pending) {
	for i, k := range p.places(keys) {
		q := keys[i]
		lease, err := p.st.Mutex.TryAcquire(p.ctx, k.String())
		switch {
		case err == nil:
			q.outer = lease
			granted = append(granted, q)
		case errors.Is(err, lock.ErrHeld):
		case p.ctx.Err() != nil:
			return granted
		default:
			p.mutexDown = true
			p.st.failed("mutex", q.key, err)
			for _, q := range keys {
				p.release(q)
			}
			return keys
		}
	}
	return granted
}

// release gives back what is held of q. A lease that cannot be given back expires.
func (p *production) release(q *pending) {
	for _, lease := range []lock.Lease{q.lease, q.outer} {
		if lease == nil {
			continue
		}
		if err := p.giveBack(lease); err != nil {
			p.st.failed("release", q.key, err)
		}
	}
	q.lease, q.outer, q.granted = nil, nil, false
}

func (p *production) giveBack(lease lock.Lease) (err error) {
	defer recovered(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), settleTime)
	defer cancel()
	return lease.Release(ctx)
}
