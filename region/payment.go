package region

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

const (
	// The time from one attempt to pay to the next.
	firstPatience = 100 * time.Millisecond
	mostPatience  = 15 * time.Second

	// leastPatience is the same when something else got through.
	leastPatience = time.Second

	// pieceSize is how many keys are invalidated together, and mostSingles how many one by
	// one in an attempt, after some together have failed.
	pieceSize   = 64
	mostSingles = 4 * pieceSize
)

// payer pays debts. What fails may have taken effect all the same, if only its answer was
// lost, or some of it may have. To do it again and again would invalidate again and
// again, for the whole fleet, so it does each part once if it can.
type payer struct {
	*state
	asOf int       // what borrowed was when before was begun
	last time.Time // of the last attempt

	// before are stamps of guards as they were first seen after the orders had been given,
	// by tag. Where they are others by now somebody has renewed them since.
	before map[string]backend.Stamps
}

// pay tries again and again, until nothing is owed.
func (st *state) pay() {
	defer close(st.done)
	p := payer{state: st}
	for patience := firstPatience; ; patience = min(2*patience, mostPatience) {
		if !p.wait(patience/2 + rand.N(patience)) { // a fleet does not come back all at once
			return
		}
		if done, _ := p.try(); done {
			return
		}
	}
}

// wait waits for a time, or until something got through. It returns false when the
// configuration is closed.
func (p *payer) wait(patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-p.reminder:
			if time.Since(p.last) >= leastPatience {
				return true
			}
		case <-p.stop:
			return false
		}
	}
}

// try tries once. It reports whether nothing is owed any more.
func (p *payer) try() (paid bool, err error) {
	p.borrowing.Lock()
	d, asOf := p.owed.Load(), p.borrowed
	p.borrowing.Unlock()
	if d == nil {
		return true, nil
	}
	if asOf != p.asOf || p.before == nil {
		p.asOf, p.before = asOf, make(map[string]backend.Stamps)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer p.ending.After(cancel)()
	ctx, stop := context.WithTimeout(ctx, settleTime)
	defer stop()
	left := p.newDebts()
	for _, o := range d.orders() {
		rest, failed := p.carryOutRest(ctx, o)
		if failed == nil {
			continue
		}
		err = failed
		left.add(rest)
		if ctx.Err() != nil && p.ending.Err() == nil {
			err = fmt.Errorf("no answer within %v: %w", settleTime, failed) // its own time was up, not a caller's
		}
		op, key := rest.op()
		p.failed(op, key, err)
	}
	p.last = time.Now()

	p.borrowing.Lock()
	if p.borrowed != asOf {
		p.borrowing.Unlock()
		return false, err // more has come, of the same perhaps
	}
	if err != nil {
		p.owed.Store(left)
		p.borrowing.Unlock()
		return false, err
	}
	p.owed.Store(nil)
	p.paying = false
	p.borrowing.Unlock()
	p.invalidated(InvalidationEvent{Late: true})
	return true, nil
}

// carryOutRest carries out what is left of an order, and returns what is left then.
func (p *payer) carryOutRest(ctx context.Context, o order) (rest order, err error) {
	if o.keys != nil {
		return p.carryOutKeys(ctx, o)
	}
	if o = p.notRenewed(ctx, o); !o.region && o.tags == nil {
		return o, nil
	}
	return o, p.carryOutSafely(ctx, o)
}

// notRenewed returns that part of an order of which nobody can tell whether it was carried
// out since it was given. Stamps that have changed since are not those of a creator that
// began before. Of stamps that are not there, or have not been, nothing is concluded: a
// backend may say so for a moment of what it cannot read.
func (p *payer) notRenewed(ctx context.Context, o order) order {
	guards := p.guards
	if !o.region {
		guards = p.tagGuards(append([]string{anyTag}, o.tags...))
	}
	stamps, err := p.readSafely(ctx, guards)
	if err != nil || len(stamps) != len(guards) {
		return o
	}
	open := o
	open.region, open.tags = false, nil
	first := false // anyTag has to be renewed
	for i, guard := range guards {
		was := p.before[guard.Tag]
		if was == (backend.Stamps{}) {
			p.before[guard.Tag] = stamps[i]
		}
		is, then := stamps[i].Hard, was.Hard
		if o.soft {
			is, then = stamps[i].Soft, was.Soft
		}
		if is != then && !is.IsZero() && !then.IsZero() {
			continue
		}
		switch guard.Tag {
		case "":
			open.region = true
		case anyTag:
			first = true
		default:
			open.tags = append(open.tags, guard.Tag)
		}
	}
	if first && open.tags == nil {
		// Those who add tags late could not tell. It is renewed with any of them.
		open.tags = o.tags[:1]
	}
	return open
}

func (p *payer) readSafely(ctx context.Context, guards []backend.Guard) (stamps []backend.Stamps, err error) {
	defer recovered(&err)
	_, stamps, err = p.backend.GetMulti(ctx, nil, guards)
	return stamps, err
}

// carryOutKeys invalidates keys piece by piece, so that one that cannot be reached does not
// keep the others from being done with.
func (p *payer) carryOutKeys(ctx context.Context, o order) (rest order, err error) {
	rest = order{soft: o.soft}
	singles := 0
	for piece := range slices.Chunk(o.keys, pieceSize) {
		failed := ctx.Err()
		if failed == nil {
			failed = p.carryOutSafely(ctx, order{keys: piece, soft: o.soft})
		}
		if failed == nil {
			continue
		}
		err = failed
		for _, key := range piece {
			if singles++; singles > mostSingles || len(piece) == 1 || ctx.Err() != nil {
				rest.keys = append(rest.keys, key)
				continue
			}
			if failed := p.carryOutSafely(ctx, order{keys: []string{key}, soft: o.soft}); failed != nil {
				rest.keys, err = append(rest.keys, key), failed
			}
		}
	}
	if rest.keys == nil {
		return rest, nil
	}
	return rest, err
}

// carryOutSafely is carryOut with a panic of the backend as an error.
func (st *state) carryOutSafely(ctx context.Context, o order) (err error) {
	defer recovered(&err)
	return st.carryOut(ctx, o)
}

// settleInTime is settle, unless the backend ignores that a context has ended: then what
// is owed is left.
func (st *state) settleInTime() (left []order, err error) {
	var rest []order
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		rest, failed = st.settle()
	}()
	if await(done, 3*settleTime) {
		return rest, failed
	}
	return st.owed.Load().orders(), fmt.Errorf("%w: the backend ignores that the context of an invalidation has ended", ErrPending)
}

// settle ends the paying, after one more attempt. It returns what is still owed.
func (st *state) settle() ([]order, error) {
	st.borrowing.Lock()
	st.bankrupt = true
	paying, stop, done := st.paying, st.stop, st.done
	st.borrowing.Unlock()
	if paying {
		close(stop)
		<-done
	}
	last := payer{state: st}
	if paid, err := last.try(); !paid {
		return st.owed.Load().orders(), fmt.Errorf("%d invalidations have not reached the backend: %w", st.owed.Load().count(), errors.Join(ErrPending, err))
	}
	return nil, nil
}
