package fleettest

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"
)

// Fleet is the workers of one test. It is safe for concurrent use, except that methods
// that fail the test are to be called from the test's own goroutine.
type Fleet struct {
	// Workers are the processes in the order of [Worker.Index].
	Workers []*Process

	t      testing.TB
	role   string
	mu     sync.Mutex
	news   chan struct{} // closed and replaced when anything below, or of a Process, changes
	events []Event
}

// Event is what a worker told with [Worker.Event].
type Event struct {
	// Worker is the [Worker.Index] of the one that told it.
	Worker int
	// Kind is the kind that it gave.
	Kind string
	// At is when it happened, by the clock of the machine, on which all workers and
	// the test run. It has no monotonic reading.
	At time.Time
	// Data is what it gave as data, as JSON.
	Data json.RawMessage
}

// Decode fills v, a pointer, with the event's data.
func (e Event) Decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(e.Data, v); err != nil {
		t.Fatalf("the data of event %q of worker %d: %v", e.Kind, e.Worker, err)
	}
}

// Start starts n workers that play role, which must be among the [Roles] of the test's
// package. params is handed to each as JSON. The workers end with the test.
func Start(t testing.TB, role string, n int, params any) *Fleet {
	t.Helper()
	text, err := json.Marshal(params)
	if err != nil {
		t.Fatalf("the params of role %s: %v", role, err)
	}
	f := &Fleet{t: t, role: role, news: make(chan struct{})}
	t.Cleanup(f.end)
	for i := range n {
		p, err := start(f, i)
		if err != nil {
			t.Fatalf("worker %d of role %s does not start: %v", i, role, err)
		}
		f.Workers = append(f.Workers, p)
		p.order(order{Index: i, Count: n, Params: text})
	}
	return f
}

// AwaitReady waits until every worker has called [Worker.Ready].
func (f *Fleet) AwaitReady() {
	f.t.Helper()
	for _, p := range f.Workers {
		p.AwaitReady()
	}
}

// Send sends signal to all workers; see [Worker.Await].
func (f *Fleet) Send(signal string) {
	for _, p := range f.Workers {
		p.Send(signal)
	}
}

// Events returns the events of the given kinds, or all if none is given, that the
// workers have told so far, in the order in which they happened. All that a worker told
// before a [Worker.Report] that was received, or before it ended and [Fleet.Wait] or
// [Process.Kill] returned, is among them.
func (f *Fleet) Events(kinds ...string) []Event {
	f.mu.Lock()
	var events []Event
	for _, e := range f.events {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			events = append(events, e)
		}
	}
	f.mu.Unlock()
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	return events
}

// AwaitEvents waits until workers have told n events of a kind and returns those that
// there are then, n or more, like [Fleet.Events].
func (f *Fleet) AwaitEvents(kind string, n int) []Event {
	f.t.Helper()
	var events []Event
	f.await(func() bool {
		events = f.Events(kind)
		return len(events) >= n
	}, func() bool { return !f.running() }, func() {
		f.t.Fatalf("%d events %q of role %s, want %d", len(events), kind, f.role, n)
	})
	return events
}

// Wait waits until all workers have ended, by themselves or by [Process.Kill].
func (f *Fleet) Wait() {
	f.t.Helper()
	for _, p := range f.Workers {
		p.Wait()
	}
}

// await waits until condition holds. It calls fail if that takes too long, or if over
// says that nothing more will come.
func (f *Fleet) await(condition, over func() bool, fail func()) {
	f.t.Helper()
	late := time.NewTimer(Patience)
	defer late.Stop()
	for {
		// In this order: what comes after the look at the condition closes news, and
		// what came before over began to hold is seen by the condition.
		news, end := f.next(), over()
		if condition() {
			return
		}
		if end {
			fail()
			return
		}
		select {
		case <-news:
		case <-late.C:
			fail()
			return
		}
	}
}

func (f *Fleet) next() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.news
}

// tell makes a change and wakes whoever waits for one.
func (f *Fleet) tell(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.news)
	f.news = make(chan struct{})
}

func (f *Fleet) running() bool {
	return slices.ContainsFunc(f.Workers, func(p *Process) bool { return !p.ended() })
}

// end kills what still runs when the test ends.
func (f *Fleet) end() {
	for _, p := range f.Workers {
		p.kill()
	}
	for _, p := range f.Workers {
		p.judge()
	}
}
