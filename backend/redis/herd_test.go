package redis_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// herdParams are what the processes of a herd are told.
type herdParams struct {
	URL     string
	Callers int
	Takes   time.Duration // how long the creator works
	Keys    []string      // one round for each
}

// herdReport is what one process tells of one round.
type herdReport struct {
	Values  map[string]int // by value, how many callers got it
	Errors  map[string]int
	First   time.Time // when its first caller returned
	Last    time.Time
	Refused int64 // created values that were not stored
}

// herd is the role of one process: at each "go" its callers all want one key.
func herd(w *fleettest.Worker) error {
	var params herdParams
	if err := w.Params(&params); err != nil {
		return err
	}
	b, err := backend.Open(params.URL)
	if err != nil {
		return err
	}
	refused := new(unstored)
	r, err := region.New("herd", region.Config{Backend: b, Expiration: time.Hour, Observer: refused})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, _, err := region.Get[string](ctx, r, "warm up"); err != nil {
		return err
	}
	if _, _, err := b.Acquire(ctx, nil, []backend.Guard{{Region: "herd"}}); err != nil {
		return err
	}
	for i, key := range params.Keys {
		if i == 0 {
			w.Ready()
		}
		w.Await("go")
		report := herdReport{Values: map[string]int{}, Errors: map[string]int{}}
		var mu sync.Mutex
		var callers sync.WaitGroup
		for range params.Callers {
			callers.Go(func() {
				value, err := region.GetOrCreate(ctx, r, key, func(ctx context.Context) (string, error) {
					w.Event("creating", key)
					time.Sleep(params.Takes)
					w.Event("created", key)
					return fmt.Sprint("made by ", os.Getpid()), nil
				})
				now := time.Now()
				mu.Lock()
				defer mu.Unlock()
				if report.First.IsZero() {
					report.First = now
				}
				report.Last = now
				if err != nil {
					report.Errors[err.Error()]++
				} else {
					report.Values[value]++
				}
			})
		}
		callers.Wait()
		report.Refused = refused.n.Load()
		w.Report(report)
	}
	return r.Close()
}

// unstored counts values that were created and not stored.
type unstored struct{ n atomic.Int64 }

func (u *unstored) ObserveUnstored(region.UnstoredEvent) { u.n.Add(1) }

// urlOf returns the URL of a server with a prefix of its own.
func urlOf(server, options string) string {
	return server + "?prefix=" + space() + options
}

// rounds is how often a herd is let loose: often where there is time.
func rounds(short, long int) int {
	if fleettest.Long() {
		return long
	}
	return short
}

// allGet checks that every caller of a round got a value, the same one, and returns
// when the last of them had it.
func allGet(t *testing.T, workers []*fleettest.Process, callers int) (value string, last time.Time) {
	t.Helper()
	for _, p := range workers {
		var report herdReport
		p.Report(&report)
		if len(report.Errors) > 0 {
			t.Errorf("worker %d: %v", p.Index, report.Errors)
		}
		for v, n := range report.Values {
			if n != callers || value != "" && v != value {
				t.Errorf("worker %d: %d callers got %q, want all %d to get %q", p.Index, n, v, callers, value)
			}
			value = v
		}
		if report.Last.After(last) {
			last = report.Last
		}
	}
	return value, last
}

// A whole fleet on a cold key is one creation, and costs few commands, however many
// callers there are.
func TestColdHerd(t *testing.T) {
	server := redistest.Start(t)
	const processes, callers = 8, 500
	keys := make([]string, rounds(3, 100))
	for i := range keys {
		keys[i] = fmt.Sprint("cold ", i)
	}
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: urlOf(server.URL(), ""), Callers: callers, Takes: 300 * time.Millisecond, Keys: keys,
	})
	fleet.AwaitReady()
	for i := range keys {
		before := server.Commands(t)
		fleet.Send("go")
		_, last := allGet(t, fleet.Workers, callers)
		created := fleet.Events("created")
		if len(created) != i+1 || len(fleet.Events("creating")) != i+1 {
			t.Fatalf("round %d: %d creations in all, want %d", i, len(created), i+1)
		}
		late := last.Sub(created[i].At)
		commands := server.Commands(t) - before
		t.Logf("round %d: last caller after %v, %d commands", i, late, commands)
		// With the race detector everything takes several times as long.
		if late > 500*time.Millisecond {
			t.Errorf("round %d: the last caller had the value %v after it was made, want at once", i, late)
		}
		if commands > 15*processes {
			t.Errorf("round %d: %d commands for %d processes of %d callers", i, commands, processes, callers)
		}
	}
	fleet.Wait()
}

// While others create, a process sends next to nothing.
func TestWaitingCostsNothing(t *testing.T) {
	server := redistest.Start(t)
	const processes, callers = 8, 100
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: urlOf(server.URL(), ""), Callers: callers, Takes: 4 * time.Second, Keys: []string{"k"},
	})
	fleet.AwaitReady()
	fleet.Send("go")
	fleet.AwaitEvents("creating", 1)
	time.Sleep(time.Second) // they have all come by then, or are counted below
	before := server.Commands(t)
	time.Sleep(2 * time.Second)
	if n := server.Commands(t) - before; n > 3*processes {
		t.Errorf("%d commands in 2 s of waiting, want %d at most: 3 for a process", n, 3*processes)
	} else {
		t.Logf("%d commands in 2 s", n)
	}
	allGet(t, fleet.Workers, callers)
	fleet.Wait()
}

// The holder is killed in the middle of its creation (R1).
func TestHolderIsKilled(t *testing.T) {
	server := redistest.Start(t)
	for _, processes := range []int{2, 8} {
		t.Run(fmt.Sprint(processes), func(t *testing.T) {
			for round := range rounds(2, 50) {
				const callers = 100
				fleet := fleettest.Start(t, "herd", processes, herdParams{
					URL: urlOf(server.URL(), "&lease_ttl=30s"), Callers: callers, Takes: 600 * time.Millisecond, Keys: []string{"k"},
				})
				fleet.AwaitReady()
				fleet.Send("go")
				holder := fleet.AwaitEvents("creating", 1)[0].Worker
				time.Sleep(300 * time.Millisecond) // in the middle
				killed := time.Now()
				fleet.Workers[holder].Kill()
				next := fleet.AwaitEvents("creating", 2)[1]
				took := next.At.Sub(killed)
				t.Logf("round %d: the next creator began %v after the kill", round, took)
				if took > 2*time.Second {
					t.Errorf("the next creator began %v after the kill, want soon", took)
				}
				survivors := append(append([]*fleettest.Process{}, fleet.Workers[:holder]...), fleet.Workers[holder+1:]...)
				allGet(t, survivors, callers)
				if n := len(fleet.Events("creating")); n != 2 {
					t.Errorf("%d creations, want 2: one died with its process", n)
				}
				fleet.Wait()
			}
		})
	}
}

// The holder does not run for twice its lease, and then goes on (R4).
func TestHolderIsStopped(t *testing.T) {
	server := redistest.Start(t)
	const processes, callers = 3, 20
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: urlOf(server.URL(), "&lease_ttl=1s"), Callers: callers, Takes: 500 * time.Millisecond, Keys: []string{"k"},
	})
	fleet.AwaitReady()
	fleet.Send("go")
	holder := fleet.AwaitEvents("creating", 1)[0].Worker
	late := fleet.Workers[holder]
	late.Stop()
	stopped := time.Now()
	next := fleet.AwaitEvents("creating", 2)[1]
	if took := next.At.Sub(stopped); took > 3*time.Second {
		t.Errorf("the next creator began %v after the holder of a lease of a second had stopped", took)
	}
	others := append(append([]*fleettest.Process{}, fleet.Workers[:holder]...), fleet.Workers[holder+1:]...)
	value, _ := allGet(t, others, callers)
	late.Continue()
	var report herdReport
	late.Report(&report)
	own := fmt.Sprint("made by ", late.PID)
	if report.Values[own] == 0 || report.Values[own]+report.Values[value] != callers {
		t.Errorf("the callers of the late holder got %v %v; want those who came before its creator began to get its value", report.Values, report.Errors)
	}
	if report.Refused != 1 {
		t.Errorf("%d publications were refused, want the late one", report.Refused)
	}
	if n := len(fleet.Events("creating")); n != 2 {
		t.Errorf("%d creations, want 2", n)
	}
	fleet.Wait()
}

// A creator may take many times as long as its lease (R5), and renewing it does not
// make those who wait ask again and again (R33).
func TestSlowCreatorIsOne(t *testing.T) {
	server := redistest.Start(t)
	const processes, callers, leaseTTL = 4, 50, 500 * time.Millisecond
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: urlOf(server.URL(), "&lease_ttl="+leaseTTL.String()), Callers: callers, Takes: 5 * leaseTTL, Keys: []string{"k"},
	})
	fleet.AwaitReady()
	before := server.Commands(t)
	fleet.Send("go")
	allGet(t, fleet.Workers, callers)
	if n := len(fleet.Events("creating")); n != 1 {
		t.Errorf("%d creations, want 1", n)
	}
	// A renewal is a script of three commands, and one look by each of the others.
	const renewals = 3 * 5
	n := server.Commands(t) - before
	t.Logf("%d commands", n)
	if n > renewals*(3+processes)+processes*20 {
		t.Errorf("%d commands for %d renewals in %d processes", n, renewals, processes)
	}
	fleet.Wait()
}
