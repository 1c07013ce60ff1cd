package region

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// debts are invalidations that have not reached the backend. Nothing is ever taken out
// of one: whoever has got hold of it when a read began can ask it when the read has
// ended, even if everything was paid meanwhile. A nil *debts is none.
type debts struct {
	mu     sync.RWMutex // guards what follows
	region verdict      // how the whole region has to be judged
	guards map[string]verdict
	keys   map[string]verdict
	size   int // bytes in guards and keys
	added  int // counts calls of add
}

const (
	// mostOwed and largestOwed bound what is remembered. Beyond them the whole region
	// is invalid, which takes no room.
	mostOwed    = 10_000
	largestOwed = 4 << 20

	// The time from one attempt to pay to the next.
	firstPatience = 100 * time.Millisecond
	mostPatience  = 5 * time.Second
)

// add adds an order.
func (d *debts) add(o order) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.added++
	if d.region == dead {
		return // which is everything
	}
	v := dead
	if o.soft {
		v = stale
	}
	note := func(m *map[string]verdict, names ...string) {
		if *m == nil {
			*m = make(map[string]verdict)
		}
		for _, name := range names {
			if was, known := (*m)[name]; !known {
				(*m)[name] = v
				d.size += len(name)
			} else {
				(*m)[name] = min(was, v)
			}
		}
	}
	switch {
	case o.region:
		d.region = min(d.region, v)
	case o.function != "":
		note(&d.guards, o.function)
	case o.tags != nil:
		note(&d.guards, o.tags...)
	default:
		note(&d.keys, o.keys...)
	}
	if len(d.guards)+len(d.keys) > mostOwed || d.size > largestOwed {
		d.region = dead
	}
	if d.region == dead {
		d.guards, d.keys, d.size = nil, nil, 0
	}
}

// verdict says what a value of key with tags is good for at most.
func (d *debts) verdict(key string, tags []backend.Tagged) verdict {
	d.mu.RLock()
	defer d.mu.RUnlock()
	is := d.region
	if v, owed := d.keys[key]; owed {
		is = min(is, v)
	}
	if len(d.guards) > 0 {
		for i := range tags {
			if v, owed := d.guards[tags[i].Tag]; owed {
				is = min(is, v)
			}
		}
	}
	return is
}

func (d *debts) count() int {
	if d == nil {
		return 0
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := len(d.guards) + len(d.keys)
	if d.region != fresh {
		n++
	}
	return n
}

// orders returns what is owed, and how often add had been called by then.
func (d *debts) orders() (all []order, added int) {
	if d == nil {
		return nil, 0
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.region != fresh {
		all = append(all, order{region: true, soft: d.region == stale})
	}
	for _, v := range []verdict{dead, stale} {
		names := func(m map[string]verdict) []string {
			return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool { return m[name] != v })
		}
		if tags := names(d.guards); len(tags) > 0 {
			all = append(all, order{tags: tags, soft: v == stale})
		}
		if keys := names(d.keys); len(keys) > 0 {
			all = append(all, order{keys: keys, soft: v == stale})
		}
	}
	return all, d.added
}

// debtor keeps the debts of a configuration, and pays them.
type debtor struct {
	owed atomic.Pointer[debts] // nil: none

	borrowing sync.Mutex // guards what follows, and changes of owed
	paying    bool       // a goroutine pays
	bankrupt  bool       // the configuration is closed
	reminder  chan struct{}
	stop      chan struct{}
	done      chan struct{}
}

// owe remembers an order that has failed, and has it tried again.
func (st *state) owe(orders ...order) {
	if len(orders) == 0 {
		return
	}
	st.borrowing.Lock()
	defer st.borrowing.Unlock()
	d := st.owed.Load()
	if d == nil {
		d = &debts{region: fresh}
	}
	for _, o := range orders {
		d.add(o)
	}
	st.owed.Store(d)
	if st.paying || st.bankrupt {
		return
	}
	st.paying = true
	st.reminder, st.stop, st.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go st.pay()
}

// remind has the debts paid soon.
func (st *state) remind() {
	if st.owed.Load() == nil {
		return
	}
	st.borrowing.Lock()
	defer st.borrowing.Unlock()
	select {
	case st.reminder <- struct{}{}:
	default:
	}
}

// pay tries again and again, until nothing is owed.
func (st *state) pay() {
	defer close(st.done)
	patience := firstPatience
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(patience/2 + rand.N(patience)) // a fleet does not come back all at once
		select {
		case <-timer.C:
		case <-st.reminder:
		case <-st.stop:
			return
		}
		patience = min(2*patience, mostPatience)
		if done, _ := st.payOnce(); done {
			return
		}
	}
}

// payOnce tries once. It reports whether nothing is owed any more.
func (st *state) payOnce() (paid bool, err error) {
	d := st.owed.Load()
	if d == nil {
		return true, nil
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer st.ending.After(cancel)()
	ctx, stop := context.WithTimeout(ctx, settleTime)
	defer stop()
	orders, added := d.orders()
	var failed []order
	for _, o := range orders {
		if e := st.carryOutSafely(ctx, o); e != nil {
			failed = append(failed, o)
			err = st.orderFailed(ctx, o, e)
		}
	}
	st.borrowing.Lock()
	defer st.borrowing.Unlock()
	if _, now := d.orders(); now != added {
		return false, err // more has come
	}
	if len(failed) > 0 {
		rest := &debts{region: fresh}
		for _, o := range failed {
			rest.add(o)
		}
		st.owed.Store(rest)
		return false, err
	}
	st.owed.Store(nil)
	st.paying = false
	st.invalidated(InvalidationEvent{Late: true})
	return true, nil
}

// carryOutSafely is carryOut with a panic of the backend as an error.
func (st *state) carryOutSafely(ctx context.Context, o order) (err error) {
	defer recovered(&err)
	return st.carryOut(ctx, o)
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
	if paid, err := st.payOnce(); !paid {
		left, _ := st.owed.Load().orders()
		return left, fmt.Errorf("%d invalidations have not reached the backend: %w", st.owed.Load().count(), errors.Join(ErrPending, err))
	}
	return nil, nil
}
