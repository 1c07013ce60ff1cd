package region

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

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

	onlyKeys bool // the whole region cannot be invalidated
}

const (
	// mostOwed and largestOwed bound what is remembered. Beyond them the whole region
	// is invalid, which takes no room.
	mostOwed    = 10_000
	largestOwed = 4 << 20
)

// add adds an order.
func (d *debts) add(o order) {
	d.mu.Lock()
	defer d.mu.Unlock()
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
	if !d.onlyKeys && (len(d.guards)+len(d.keys) > mostOwed || d.size > largestOwed) {
		d.region = stale
		for _, m := range []map[string]verdict{d.guards, d.keys} {
			for _, v := range m {
				d.region = min(d.region, v)
			}
		}
		d.guards, d.keys, d.size = nil, nil, 0
	}
	if d.region == dead {
		d.guards, d.keys, d.size = nil, nil, 0
	}
}

// room reports whether an order can be added within the bounds. Without onlyKeys each can.
func (d *debts) room(o order) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.onlyKeys {
		return true
	}
	count, size := len(d.keys), d.size
	for _, key := range unique(o.keys) {
		if _, known := d.keys[key]; !known {
			count, size = count+1, size+len(key)
		}
	}
	return count <= mostOwed && size <= largestOwed
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

// orders returns what is owed.
func (d *debts) orders() (all []order) {
	if d == nil {
		return nil
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
	return all
}

// debtor keeps the debts of a configuration, and pays them.
type debtor struct {
	owed atomic.Pointer[debts] // nil: none

	borrowing sync.Mutex // guards what follows, and changes of owed
	borrowed  int        // counts calls of owe
	paying    bool       // a goroutine pays
	bankrupt  bool       // the configuration is closed
	heir      *state     // the configuration that takes this one's place, on the same backend
	reminder  chan struct{}
	stop      chan struct{}
	done      chan struct{}
}

// newDebts returns debts without anything in them.
func (st *state) newDebts() *debts { return &debts{region: fresh, onlyKeys: st.Interop != nil} }

// oweIfRoom is owe for an order that has just failed. It returns false if that is one too
// many to be remembered.
func (st *state) oweIfRoom(o order) bool {
	st.borrowing.Lock()
	defer st.borrowing.Unlock()
	d := st.owed.Load()
	if d == nil {
		d = st.newDebts()
	}
	if !d.room(o) {
		return false
	}
	st.borrow(o)
	return true
}

// owe remembers orders that have failed, and has them tried again.
func (st *state) owe(orders ...order) {
	if len(orders) == 0 {
		return
	}
	st.borrowing.Lock()
	defer st.borrowing.Unlock()
	st.borrow(orders...)
}

// borrow is owe. borrowing is held.
func (st *state) borrow(orders ...order) {
	if st.heir != nil {
		// Its callers do not ask this configuration. It has them tried again, too.
		st.heir.owe(orders...)
	}
	d := st.owed.Load()
	if d == nil {
		d = st.newDebts()
	}
	for _, o := range orders {
		d.add(o)
	}
	st.borrowed++
	st.owed.Store(d)
	if st.paying || st.bankrupt {
		return
	}
	st.paying = true
	st.reminder, st.stop, st.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go st.pay()
}

// bequeath has the configuration that takes this one's place owe what this one owes, and
// will owe.
func (st *state) bequeath(heir *state) {
	st.borrowing.Lock()
	defer st.borrowing.Unlock()
	heir.owe(st.owed.Load().orders()...)
	st.heir = heir
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
