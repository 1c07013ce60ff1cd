package file_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/fleettest"
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
	Last    time.Time // when its last caller returned
	Refused int64     // created values that were not stored
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

// rounds is how often something is tried: often where there is time.
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

// All processes on a cold key are one creation.
func TestFaultlessHerd(t *testing.T) {
	const processes, callers = 8, 500
	keys := make([]string, rounds(4, 100))
	for i := range keys {
		keys[i] = fmt.Sprint("cold ", i)
	}
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: "file://" + t.TempDir(), Callers: callers, Takes: 300 * time.Millisecond, Keys: keys,
	})
	fleet.AwaitReady()
	var worst time.Duration
	for i := range keys {
		fleet.Send("go")
		_, last := allGet(t, fleet.Workers, callers)
		created := fleet.Events("created")
		if len(created) != i+1 || len(fleet.Events("creating")) != i+1 {
			t.Fatalf("round %d: %d creations in all, want %d", i, len(created), i+1)
		}
		late := last.Sub(created[i].At)
		worst = max(worst, late)
		if late > time.Second {
			t.Errorf("round %d: the last caller had the value %v after it was made, want soon", i, late)
		}
	}
	t.Logf("%d rounds, the last caller had the value %v after it was made at the latest", len(keys), worst)
	fleet.Wait()
}

// The holder is killed in the middle of its creation (R3): the kernel frees its leases,
// and whoever waits has to look.
func TestFaultHolderIsKilled(t *testing.T) {
	const processes, callers = 4, 50
	for round := range rounds(2, 50) {
		fleet := fleettest.Start(t, "herd", processes, herdParams{
			URL: "file://" + t.TempDir() + "?lease_ttl=1h", Callers: callers, Takes: 400 * time.Millisecond, Keys: []string{"k"},
		})
		fleet.AwaitReady()
		fleet.Send("go")
		holder := fleet.AwaitEvents("creating", 1)[0].Worker
		time.Sleep(200 * time.Millisecond) // the others are waiting by then
		fleet.Workers[holder].Kill()
		killed := time.Now()
		next := fleet.AwaitEvents("creating", 2)[1]
		took := next.At.Sub(killed)
		t.Logf("round %d: the next creator began %v after the kill", round, took)
		if took > 2*time.Second {
			t.Errorf("the next creator began %v after the kill, want at once", took)
		}
		survivors := append(append([]*fleettest.Process{}, fleet.Workers[:holder]...), fleet.Workers[holder+1:]...)
		allGet(t, survivors, callers)
		if n := len(fleet.Events("creating")); n != 2 {
			t.Errorf("%d creations, want 2: one died with its process", n)
		}
		fleet.Wait()
	}
}

// The holder does not run for longer than its lease, and then goes on (R4).
func TestFaultHolderIsStopped(t *testing.T) {
	t.Parallel() // it waits for the most part
	const processes, callers = 3, 20
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: "file://" + t.TempDir() + "?lease_ttl=1s", Callers: callers, Takes: 500 * time.Millisecond, Keys: []string{"k"},
	})
	fleet.AwaitReady()
	fleet.Send("go")
	holder := fleet.AwaitEvents("creating", 1)[0].Worker
	late := fleet.Workers[holder]
	time.Sleep(100 * time.Millisecond) // so that it is not stopped while it has a folder locked
	late.Stop()
	fleet.AwaitEvents("creating", 2)
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

// A creator may take many times as long as LeaseTTL: its process runs.
func TestSlowCreatorIsOne(t *testing.T) {
	t.Parallel() // it waits for the most part
	const processes, callers = 4, 20
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: "file://" + t.TempDir() + "?lease_ttl=400ms", Callers: callers, Takes: 2 * time.Second, Keys: []string{"k"},
	})
	fleet.AwaitReady()
	fleet.Send("go")
	allGet(t, fleet.Workers, callers)
	if n := len(fleet.Events("creating")); n != 1 {
		t.Errorf("%d creations, want 1", n)
	}
	fleet.Wait()
}
