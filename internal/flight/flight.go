// Package flight coalesces the callers in one process who want the same thing:
// the first leads a flight, the others join it, and all of them get its result.
//
// golang.org/x/sync/singleflight does not serve here: its callers cannot leave
// when their context ends, the first one's cancellation fails everybody, and it
// shares a result with callers who came too late for it. The last point is what
// most of this package is about.
//
// # Who may have a result
//
// A result rests on evidence: a read of the backend that was sent at some moment,
// or a creator that began at some moment. A caller who came after that moment may
// have seen an invalidation return in between, so the result may be too old for
// it. Each caller therefore takes a number with Arrive when it comes, the leader
// calls Cover just before it gathers evidence, and whoever came later is told
// [ErrStartOver] instead of being given the result, unless the leader has proved
// at the end (Finish with everyone) that nothing was invalidated meanwhile. Seal
// stops others from joining before that proof is sought.
package flight

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrStartOver is returned by [Ticket.Wait] when the flight has ended without a
// result that this caller may use. The caller looks again.
var ErrStartOver = errors.New("flight: the result came too early for this caller")

// Group holds the flights of one region. The zero value is ready to use. All
// methods are safe for concurrent use.
type Group[R any] struct {
	clock atomic.Int64 // counts the calls of Cover

	mu      sync.Mutex // guards everything below, and in the flights what they say
	flights map[string]*Flight[R]
	peak    int // the most flights that the map has held since it was made
}

// Arrival is the number that a caller takes when it comes.
type Arrival int64

// Flight is one piece of work under way. Its leader calls Cover, Seal and Finish;
// those who wait for it hold a Ticket.
type Flight[R any] struct {
	// Set when the flight starts and never changed.
	key   string
	group *Group[R]
	done  chan struct{} // closed by Finish

	covered atomic.Int64 // who came before the clock was at this may have the result

	// Guarded by group.mu.
	kind     any           // see Open
	shut     chan struct{} // closed by Shut; made by the first who follows
	waiting  int           // tickets handed out and not given up
	finished bool          // Finish has been called
	dropped  bool          // the last waiter has left, and abandon has been called
	abandon  func()

	// Written by Finish before done is closed, read only after.
	result   R
	err      error
	everyone bool // those who came later may have the result too
}

// Ticket is one caller's place in a flight.
type Ticket[R any] struct {
	flight  *Flight[R]
	arrival Arrival
	shut    <-chan struct{} // of one who follows; nil: one who has looked
}

// Arrive is called by a caller when it comes, before it looks at anything.
func (g *Group[R]) Arrive() Arrival { return Arrival(g.clock.Load()) }

// Join joins the flight of key, or starts one and makes the caller its leader:
// leads is then true, and the caller must see to it that Finish is called.
func (g *Group[R]) Join(key string, came Arrival) (t Ticket[R], leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flights[key]
	if f == nil {
		f = g.start(key)
		leads = true
	}
	f.waiting++
	return Ticket[R]{flight: f, arrival: came}, leads
}

// Lead starts a flight of key, unless there is one: then it returns false. A
// leader who never waits holds on to its ticket and so keeps the flight going
// when nobody else waits for it.
func (g *Group[R]) Lead(key string, came Arrival) (t Ticket[R], leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[key] != nil {
		return Ticket[R]{}, false
	}
	f := g.start(key)
	f.waiting++
	return Ticket[R]{flight: f, arrival: came}, true
}

// Follow joins the flight of key if there is one that was opened to this kind of
// caller, who then need not look for itself.
func (g *Group[R]) Follow(key string, came Arrival, kind any) (t Ticket[R], ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flights[key]
	if f == nil || f.kind == nil || f.kind != kind {
		return Ticket[R]{}, false
	}
	f.waiting++
	if f.shut == nil {
		f.shut = make(chan struct{})
	}
	return Ticket[R]{flight: f, arrival: came, shut: f.shut}, true
}

// Open lets callers of a kind Follow the flight. The leader calls it if it has found
// nothing that any of them could use. A nil kind is none.
func (f *Flight[R]) Open(kind any) {
	f.group.mu.Lock()
	f.kind = kind
	f.group.mu.Unlock()
}

// Shut takes Open back: there may be something by now that others can use. Those who
// follow start over, and look for themselves.
func (f *Flight[R]) Shut() {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	f.close()
}

// Shut is Shut of the flights of keys.
func (g *Group[R]) Shut(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		if f := g.flights[key]; f != nil {
			f.close()
		}
	}
}

func (f *Flight[R]) close() {
	f.kind = nil
	if f.shut != nil {
		close(f.shut)
		f.shut = nil
	}
}

func (g *Group[R]) start(key string) *Flight[R] {
	f := &Flight[R]{key: key, group: g, done: make(chan struct{})}
	if g.flights == nil {
		g.flights = make(map[string]*Flight[R])
	}
	g.flights[key] = f
	g.peak = max(g.peak, len(g.flights))
	return f
}

// Void makes the flights of keys unjoinable, so that whoever comes next starts
// anew. Those who have joined keep waiting: they came before the caller of Void
// has returned.
func (g *Group[R]) Void(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		if f := g.flights[key]; f != nil {
			f.leaveGroup()
		}
	}
}

// VoidAll is Void for every flight.
func (g *Group[R]) VoidAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flights, g.peak = nil, 0
}

// Len returns the number of flights that can be joined.
func (g *Group[R]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.flights)
}

// Flight returns the flight that the ticket is for.
func (t Ticket[R]) Flight() *Flight[R] { return t.flight }

// Wait waits for the flight's result, or until ctx ends: then the caller leaves
// the flight and gets the cause of ctx. early tells whether the caller had come
// before the evidence of the result was sought. Wait is called once.
func (t Ticket[R]) Wait(ctx context.Context) (result R, early bool, err error) {
	f := t.flight
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-t.shut:
			f.leave()
			return result, false, ErrStartOver
		case <-ctx.Done():
			f.leave()
			return result, false, context.Cause(ctx)
		}
	}
	early = int64(t.arrival) < f.covered.Load()
	if f.err == nil && !early && !f.everyone {
		return result, false, ErrStartOver
	}
	return f.result, early, f.err
}

// leave takes one waiter out. The last one abandons the work.
func (f *Flight[R]) leave() {
	f.group.mu.Lock()
	f.waiting--
	last := f.waiting == 0 && !f.finished && !f.dropped
	if last {
		f.dropped = true
		f.leaveGroup()
	}
	f.group.mu.Unlock()
	if last && f.abandon != nil {
		f.abandon()
	}
}

// OnAbandon sets what is called when the last waiter has left before Finish;
// nobody can join by then. The leader calls it before it waits itself.
func (f *Flight[R]) OnAbandon(abandon func()) {
	f.group.mu.Lock()
	f.abandon = abandon
	f.group.mu.Unlock()
}

// Cover tells that evidence is about to be gathered: everyone who has come so far
// may have what comes of it.
func (f *Flight[R]) Cover() { f.covered.Store(f.group.clock.Add(1)) }

// Seal lets nobody join any more. It is called before the leader proves that
// nothing was invalidated.
func (f *Flight[R]) Seal() {
	f.group.mu.Lock()
	f.leaveGroup()
	f.group.mu.Unlock()
}

// Finish ends the flight and wakes everyone. A result goes to those who came
// before the last Cover and, when everyone is true, to all who have joined; the
// rest start over. An err goes to all. Only the first Finish counts; it reports whether
// somebody was still there to hear it.
func (f *Flight[R]) Finish(result R, everyone bool, err error) (heard bool) {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	if f.finished {
		return false
	}
	f.finished = true
	f.leaveGroup()
	f.result, f.err, f.everyone = result, err, everyone
	close(f.done)
	return !f.dropped
}

// leaveGroup takes f out of the map, if it is the one that stands there: after a
// Void another flight may have its key. The map is dropped when it is empty after
// it had been large, because Go's maps do not shrink.
func (f *Flight[R]) leaveGroup() {
	g := f.group
	if g.flights[f.key] != f {
		return
	}
	delete(g.flights, f.key)
	if len(g.flights) == 0 && g.peak > 1024 {
		g.flights, g.peak = nil, 0
	}
}
