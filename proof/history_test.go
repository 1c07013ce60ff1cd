package proof

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/file"
	_ "github.com/dogpile-go/dogpile/backend/memcached"
	_ "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/region"
)

// processes is how many take part in a history.
const processes = 3

// plan is a history to be made.
type plan struct {
	Arena      string // the file
	URL        string // of the backend
	Expiration time.Duration
	Skewed     bool // the clocks of the processes are wrong
	Stale      bool // what is stale is served: soft invalidations do nothing that the law could see
	Clients    int  // of each process
	Each       int  // operations of each client
}

// operations is how many there will be.
func (p plan) operations() int { return processes * p.Clients * p.Each }

// room is how many records a history of so many operations needs: some are about several
// keys, and some create.
func room(operations int) int { return 6*operations + 1000 }

// config is that of the regions of a history. Unless what is stale is served, soft
// invalidations have to do what hard ones do.
func (p plan) config(b backend.Backend) region.Config {
	cfg := region.Config{Backend: b, Expiration: p.Expiration, StaleFor: region.NoStale}
	if p.Stale {
		cfg.StaleFor = time.Hour
	}
	return cfg
}

// work lets the clients of one process do their operations.
func (m *member) work(clients, each int) error {
	failures := make([]error, clients)
	var working sync.WaitGroup
	for id := range clients {
		working.Go(func() {
			c := &client{member: m, id: id, ctx: context.Background()}
			if failures[id] = c.run(each); failures[id] != nil {
				m.arena.head.stop.Store(true)
			}
		})
	}
	working.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(append(failures, m.err)...)
}

// play is the role of a process of a history.
func play(w *fleettest.Worker) error {
	var p plan
	if err := w.Params(&p); err != nil {
		return err
	}
	a, err := openArena(p.Arena)
	if err != nil {
		return err
	}
	b, err := backend.Open(p.URL)
	if err != nil {
		return err
	}
	if p.Skewed {
		b = &skewed{b, skews[w.Index]}
	}
	m, err := newMember(usual, a, w.Index, p.config(b))
	if err != nil {
		return err
	}
	if _, _, err := m.fn.Get(context.Background(), m.plain); err != nil {
		return err // it is connected now
	}
	w.Ready()
	w.Await("go")
	err = m.work(p.Clients, p.Each)
	w.Event("done", nil) // and stays until whoever stops processes has done so
	w.Await("end")
	return errors.Join(err, m.region.Close(), a.close())
}

// inProcesses makes the history of three processes. disturb, if there is one, is called
// while they are at work.
func inProcesses(t *testing.T, p plan, disturb func(*fleettest.Fleet, *arena)) []record {
	t.Helper()
	p.Arena = filepath.Join(t.TempDir(), "arena")
	a, err := newArena(p.Arena, room(p.operations()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.close() }()
	fleet := fleettest.Start(t, "member", processes, p)
	fleet.AwaitReady()
	fleet.Send("go")
	if disturb != nil {
		disturb(fleet, a)
	}
	for _, w := range fleet.Workers {
		w.Send("end") // it listens when it has done its work
	}
	fleet.Wait()
	return a.records()
}

// inOneProcess makes the history of three regions of one name over backends that share
// what they store. With more it makes the plan again and again, as long as more says so,
// up to about most operations.
func inOneProcess(t *testing.T, p plan, backends [processes]backend.Backend, most int, more func(all []record) bool) []record {
	t.Helper()
	a, err := newArena(filepath.Join(t.TempDir(), "arena"), room(most+p.operations()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.close() }()
	var members []*member
	for i, b := range backends {
		cfg := p.config(b)
		cfg.KeepBackendOpen = true
		m, err := newMember(usual, a, i, cfg)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	for {
		failures := make([]error, processes)
		var working sync.WaitGroup
		for i, m := range members {
			working.Go(func() { failures[i] = m.work(p.Clients, p.Each) })
		}
		working.Wait()
		if err := errors.Join(failures...); err != nil {
			t.Error(err)
		}
		if more == nil || t.Failed() || !more(a.records()) {
			break
		}
	}
	for _, m := range members {
		if err := m.region.Close(); err != nil {
			t.Error(err)
		}
	}
	return a.records()
}

// proven checks a history, and that it was one of a cache: that hits were a fair share.
func proven(t *testing.T, all []record, leastHits int) {
	t.Helper()
	took := judge(t, usual, all)
	n := count(all)
	t.Log(n.summary(took))
	if n.hits*100 < leastHits*n.reads {
		t.Errorf("%d %% of the reads were hits, want %d %% at least: this proves nothing of a cache", 100*n.hits/max(n.reads, 1), leastHits)
	}
	if n.invalidations*100 < n.operations || n.creations == 0 {
		t.Error(fmt.Sprint("a history with too few invalidations or creations: ", n.summary(took)))
	}
}
