package memcached_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
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
	Values map[string]int // by value, how many callers got it
	Errors map[string]int
	Last   time.Time // when its last caller returned
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
	r, err := region.New("herd", region.Config{Backend: b, Expiration: time.Hour})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, _, err := region.Get[string](ctx, r, "warm up"); err != nil {
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
				if report.Last = now; err != nil {
					report.Errors[err.Error()]++
				} else {
					report.Values[value]++
				}
			})
		}
		callers.Wait()
		w.Report(report)
	}
	return r.Close()
}

// urlOf returns a URL of servers with a prefix of its own.
func urlOf(servers []*memcachedtest.Server, options string) string {
	return "memcached://" + strings.Join(memcachedtest.Addrs(servers), ",") + "?prefix=" + space() + options
}

// rounds is how often something is tried: often where there is time.
func rounds(short, long int) int {
	if fleettest.Long() {
		return long
	}
	return short
}

// allGet checks that every caller of a round got a value, the same one, and returns
// when the last of them had it.
func allGet(t *testing.T, workers []*fleettest.Process, callers int) (last time.Time) {
	t.Helper()
	value := ""
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
	return last
}

// A whole fleet on a cold key is one creation, and costs as many requests as there are
// processes that wait, however many callers there are.
func TestColdHerd(t *testing.T) {
	servers := memcachedtest.StartSeveral(t, 1)
	const processes, callers, takes = 8, 500, 300 * time.Millisecond
	keys := make([]string, rounds(3, 100))
	for i := range keys {
		keys[i] = fmt.Sprint("cold ", i)
	}
	fleet := fleettest.Start(t, "herd", processes, herdParams{URL: urlOf(servers, ""), Callers: callers, Takes: takes, Keys: keys})
	fleet.AwaitReady()
	for i := range keys {
		before := servers[0].Requests(t)
		fleet.Send("go")
		last := allGet(t, fleet.Workers, callers)
		created := fleet.Events("created")
		if len(created) != i+1 || len(fleet.Events("creating")) != i+1 {
			t.Fatalf("round %d: %d creations in all, want %d", i, len(created), i+1)
		}
		late, requests := last.Sub(created[i].At), servers[0].Requests(t)-before
		t.Logf("round %d: last caller after %v, %d requests", i, late, requests)
		// With the race detector everything takes several times as long.
		if late > time.Second {
			t.Errorf("round %d: the last caller had the value %v after it was made, want 60 ms", i, late)
		}
		// About 10 looks in 300 ms, and a dozen requests before and after.
		if requests > 40*processes {
			t.Errorf("round %d: %d requests for %d processes of %d callers", i, requests, processes, callers)
		}
	}
	fleet.Wait()
}

// The holder is killed in the middle of its creation (R2): somebody else creates when
// its lease is over.
func TestFaultHolderIsKilled(t *testing.T) {
	servers := memcachedtest.StartSeveral(t, 3)
	const processes, callers, lease = 4, 50, 2 * time.Second
	for round := range rounds(1, 20) {
		fleet := fleettest.Start(t, "herd", processes, herdParams{
			URL: urlOf(servers, "&lease_ttl="+lease.String()), Callers: callers, Takes: 500 * time.Millisecond, Keys: []string{"k"},
		})
		fleet.AwaitReady()
		fleet.Send("go")
		holder := fleet.AwaitEvents("creating", 1)[0].Worker
		killed := time.Now()
		fleet.Workers[holder].Kill()
		took := fleet.AwaitEvents("creating", 2)[1].At.Sub(killed)
		t.Logf("round %d: the next creator began %v after the kill", round, took)
		if took > lease+time.Second+500*time.Millisecond {
			t.Errorf("the next creator began %v after the kill, want %v at most", took, lease+time.Second)
		}
		survivors := append(append([]*fleettest.Process{}, fleet.Workers[:holder]...), fleet.Workers[holder+1:]...)
		allGet(t, survivors, callers)
		if n := len(fleet.Events("creating")); n != 2 {
			t.Errorf("%d creations, want 2: one died with its process", n)
		}
		fleet.Wait()
	}
}

// A creator may take many times as long as its lease.
func TestSlowCreatorIsOne(t *testing.T) {
	servers := memcachedtest.Shared(t, 3)
	const processes, callers, lease = 3, 20, 2 * time.Second
	fleet := fleettest.Start(t, "herd", processes, herdParams{
		URL: urlOf(servers, "&lease_ttl="+lease.String()), Callers: callers, Takes: 5 * time.Second, Keys: []string{"k"},
	})
	fleet.AwaitReady()
	fleet.Send("go")
	allGet(t, fleet.Workers, callers)
	if n := len(fleet.Events("creating")); n != 1 {
		t.Errorf("%d creations, want 1", n)
	}
	fleet.Wait()
}
