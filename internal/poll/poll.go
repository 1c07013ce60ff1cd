// Package poll waits for keys to become free where nothing tells of it: by looking
// again and again, one look for all who wait in a process.
package poll

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// How long after a look at a key the next one follows: first at the beginning, twice
// as long after each further look, and longest in the end. Keys that are due within
// slack of each other share a look.
const (
	first   = 5 * time.Millisecond
	longest = 50 * time.Millisecond
	slack   = time.Millisecond
)

// Look tells of each of keys whether it is free. No key stands in keys twice. A key
// that is free is so whatever the error says; the error is about the others, and about
// each of them alone if it is a [KeyErrors]. A Look keeps to its ctx.
type Look func(ctx context.Context, keys []string) (free []bool, err error)

// KeyErrors is the error of a [Look] that failed for some keys only: the errors stand
// in the order of the keys, nil for a key about which the answer is known.
type KeyErrors []error

// Error returns the text of the first error.
func (e KeyErrors) Error() string {
	for _, err := range e {
		if err != nil {
			return err.Error()
		}
	}
	return "poll: no key failed"
}

// Unwrap returns the errors of the keys.
func (e KeyErrors) Unwrap() []error {
	var errs []error
	for _, err := range e {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Poller waits for keys to become free by looking at them again and again: one look
// for all callers of a process who wait for a key. It is safe for concurrent use.
// While nobody waits it has no goroutine and keeps nothing of any key.
type Poller struct {
	look   Look
	closed error
	looks  sync.WaitGroup // the looks that run

	mu      sync.Mutex
	done    bool
	keys    map[string]*watched
	agenda  agenda // those of keys that no look is under way for
	waiting int
	timer   *time.Timer // nil as long as none was needed
	next    time.Time   // when timer fires; zero if it does not

	// What the looks run under. It ends when the last waiter leaves, since nobody
	// wants to know any more.
	ctx    context.Context
	cancel context.CancelFunc
}

// watched is a key for which somebody waits.
type watched struct {
	key     string
	place   int // in the agenda; -1 while it is not there
	waiters map[*waiter]struct{}
	began   time.Time     // when the last look at it began; zero before the first
	due     time.Time     // when the next look shall begin
	every   time.Duration // from the next look to the one after it
	looking bool
	joined  bool // somebody came while looking: the answer is too old for them
	failed  bool // the last look could not tell
}

// agenda has the keys that are to be looked at, the one that is due next first, so that
// who comes or looks need not go through all keys.
type agenda []*watched

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].due.Before(a[j].due) }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}
func (a *agenda) Push(x any) {
	k := x.(*watched)
	k.place = len(*a)
	*a = append(*a, k)
}
func (a *agenda) Pop() any {
	last := len(*a) - 1
	k := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	k.place = -1
	return k
}

// plan puts k where it belongs.
func (a *agenda) plan(k *watched) {
	if k.place < 0 {
		heap.Push(a, k)
	} else {
		heap.Fix(a, k.place)
	}
}

// waiter is one call of Wait.
type waiter struct {
	keys []string
	out  chan error // has room for the one answer
}

// New returns a Poller that looks with look, and whose Wait returns closed after Close.
func New(look Look, closed error) *Poller {
	return &Poller{look: look, closed: closed, keys: map[string]*watched{}}
}

// Wait blocks while all keys are held, under the contract of
// [github.com/dogpile-go/dogpile/lock.Locker.Wait]. Each key is looked at once at the
// beginning, again after 5 ms, and then at intervals that grow to 50 ms. A caller who
// comes while others wait for the key has a look of its own within 5 ms of the last.
// When two looks in a row could not tell of a key, Wait returns the error of the second.
func (p *Poller) Wait(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w := &waiter{keys: keys, out: make(chan error, 1)}
	if !p.join(w) {
		return p.closed
	}
	select {
	case err := <-w.out:
		return err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(w)
	return context.Cause(ctx)
}

// Wake tells those who wait for keys that they have become free: their Wait returns
// now, without another look.
func (p *Poller) Wake(keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		p.answer(key, nil)
	}
}

// Close wakes every waiter with the error that was given to New. When it returns, no
// look runs any more. A second Close does nothing.
func (p *Poller) Close() {
	p.mu.Lock()
	p.done = true
	for key := range p.keys {
		p.answer(key, p.closed)
	}
	p.mu.Unlock()
	p.looks.Wait()
}

// join makes w wait. It reports false after Close.
func (p *Poller) join(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return false
	}
	if p.waiting++; p.waiting == 1 {
		p.ctx, p.cancel = context.WithCancel(context.Background())
	}
	now := time.Now()
	for _, key := range w.keys {
		k := p.keys[key]
		switch {
		case k == nil:
			k = &watched{key: key, place: -1, waiters: map[*waiter]struct{}{}, due: now, every: first}
			p.keys[key] = k
			p.agenda.plan(k)
		case k.looking:
			k.joined = true
		default:
			k.hasten()
			p.agenda.plan(k)
		}
		k.waiters[w] = struct{}{}
	}
	p.start(now)
	return true
}

// hasten brings the next look forward, for somebody who has not had one.
func (k *watched) hasten() {
	if soon := k.began.Add(first); soon.Before(k.due) {
		k.due = soon
	}
}

// answer lets everybody go who waits for key. Whoever calls it holds mu.
func (p *Poller) answer(key string, err error) {
	k := p.keys[key]
	if k == nil {
		return
	}
	for w := range k.waiters {
		w.out <- err
		p.leave(w)
	}
}

// leave forgets w, and whatever only w waited for. It does nothing the second time.
// Whoever calls it holds mu.
func (p *Poller) leave(w *waiter) {
	if w.keys == nil {
		return
	}
	for _, key := range w.keys {
		if k := p.keys[key]; k != nil {
			delete(k.waiters, w)
			if len(k.waiters) == 0 {
				delete(p.keys, key)
				if k.place >= 0 {
					heap.Remove(&p.agenda, k.place)
				}
			}
		}
	}
	w.keys = nil
	if p.waiting--; p.waiting == 0 {
		p.cancel()
		if p.timer != nil {
			p.timer.Stop()
		}
		p.next = time.Time{}
	}
}

// start begins a look at the keys that are due and sets the timer for the others.
// Whoever calls it holds mu.
func (p *Poller) start(now time.Time) {
	var due []string
	var watches []*watched
	var next time.Time
	for len(p.agenda) > 0 && !p.agenda[0].due.After(now.Add(slack)) {
		k := heap.Pop(&p.agenda).(*watched)
		k.looking, k.began = true, now
		due, watches = append(due, k.key), append(watches, k)
	}
	if len(p.agenda) > 0 {
		next = p.agenda[0].due
	}
	if len(due) > 0 {
		ctx := p.ctx
		p.looks.Go(func() { p.lookAt(ctx, due, watches) })
	}
	if next.Equal(p.next) {
		return
	}
	p.next = next
	switch {
	case next.IsZero():
		p.timer.Stop()
	case p.timer == nil:
		p.timer = time.AfterFunc(next.Sub(now), p.tick)
	default:
		p.timer.Reset(next.Sub(now))
	}
}

func (p *Poller) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting > 0 {
		p.next = time.Time{}
		p.start(time.Now())
	}
}

// lookAt asks about keys once. watches are what the keys stood for when it began: a
// key that was left and joined again meanwhile is none of its business.
func (p *Poller) lookAt(ctx context.Context, keys []string, watches []*watched) {
	free, err := p.look(ctx, keys)
	perKey, _ := err.(KeyErrors)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, key := range keys {
		k := watches[i]
		k.looking = false
		if p.keys[key] != k {
			continue
		}
		failure := err
		if perKey != nil && i < len(perKey) {
			failure = perKey[i]
		}
		switch {
		case i < len(free) && free[i]:
			p.answer(key, nil)
		case failure != nil && k.failed:
			p.answer(key, failure)
		default:
			k.failed = failure != nil
			k.due = k.began.Add(k.every)
			k.every = min(2*k.every, longest)
			if k.joined {
				k.joined = false
				k.hasten()
			}
			p.agenda.plan(k)
		}
	}
	if p.waiting > 0 {
		p.start(time.Now())
	}
}
