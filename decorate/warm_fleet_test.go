package decorate_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{"warmer": warmer})
	goleak.VerifyTestMain(redistest.WithShared(m))
}

// warmerParams are what the processes of a fleet are told.
type warmerParams struct {
	URL         string
	N           int64
	Gate        int64 // this one's creator waits for "on"
	Wait        bool
	Concurrency int
}

// openAt opens a region on a server.
func openAt(url string) (*region.Region, error) {
	b, err := backend.Open(url)
	if err != nil {
		return nil, err
	}
	return region.New("test", region.Config{Backend: b, Expiration: time.Hour})
}

// warmer is the role of one process: at "go" it warms.
func warmer(w *fleettest.Worker) error {
	var params warmerParams
	if err := w.Params(&params); err != nil {
		return err
	}
	r, err := openAt(params.URL)
	if err != nil {
		return err
	}
	f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
		w.Event("creating", id)
		if id == params.Gate {
			w.Event("at the gate", nil)
			w.Await("on")
		}
		return id, nil
	}, region.Namespace("f"))
	opts := decorate.WarmOptions{Wait: params.Wait, Concurrency: params.Concurrency, Progress: func(r decorate.WarmReport) {
		if r.Elsewhere && !r.Done {
			w.Event("waiting", nil)
		}
	}}
	w.Ready()
	w.Await("go")
	report, err := decorate.Warm(context.Background(), f, upTo(params.N), opts)
	if err != nil {
		return err
	}
	w.Report(report)
	return r.Close()
}

// creations counts how often each value was created.
func creations(t *testing.T, fleet *fleettest.Fleet) map[int64]int {
	t.Helper()
	count := map[int64]int{}
	for _, e := range fleet.Events("creating") {
		var id int64
		e.Decode(t, &id)
		count[id]++
	}
	return count
}

func serverURL(t *testing.T, s *redistest.Server) string {
	return s.URL() + "?prefix=" + redistest.Prefix(t)
}

func TestWarmInAFleet(t *testing.T) {
	const n = 40
	for name, wait := range map[string]bool{"NoWait": false, "Wait": true} {
		t.Run(name, func(t *testing.T) {
			fleet := fleettest.Start(t, "warmer", 4, warmerParams{
				URL: serverURL(t, redistest.Shared(t)), N: n, Gate: n / 2, Wait: wait,
			})
			fleet.AwaitReady()
			fleet.Send("go")
			holder := fleet.Workers[fleet.AwaitEvents("at the gate", 1)[0].Worker]
			reports := make([]decorate.WarmReport, len(fleet.Workers))
			if wait {
				fleet.AwaitEvents("waiting", 3)
				holder.Send("on")
			}
			for i, p := range fleet.Workers {
				if p != holder {
					p.Report(&reports[i])
				}
			}
			if !wait {
				holder.Send("on") // the others are not held up by it
			}
			var elsewhere int
			for i, p := range fleet.Workers {
				if p == holder {
					p.Report(&reports[i])
					reported(t, reports[i], nil, n, 0, n, 0, 0)
				} else if r := reports[i]; r.Elsewhere && r.Seen == 0 {
					elsewhere++
				}
			}
			if elsewhere != 3 {
				t.Errorf("%v; want one that does it and three that leave it to that", reports)
			}
			fleet.Wait()
			for id, times := range creations(t, fleet) {
				if times != 1 {
					t.Errorf("%d was created %d times", id, times)
				}
			}
		})
	}
}

// A warmer that is killed is followed by one of those who wait, which does the rest.
func TestWarmInAFleetWhoseWarmerIsKilled(t *testing.T) {
	const n, gate = 40, 20
	fleet := fleettest.Start(t, "warmer", 3, warmerParams{
		URL: serverURL(t, redistest.Shared(t)), N: n, Gate: gate, Wait: true, Concurrency: 1,
	})
	fleet.AwaitReady()
	fleet.Send("go")
	holder := fleet.AwaitEvents("at the gate", 1)[0].Worker
	fleet.AwaitEvents("waiting", 2)
	fleet.Workers[holder].Kill()
	killed := time.Now()
	next := fleet.AwaitEvents("at the gate", 2)[1].Worker
	t.Logf("taken over after %v", time.Since(killed))
	fleet.Workers[next].Send("on")
	for i, p := range fleet.Workers {
		if i == holder {
			continue
		}
		var report decorate.WarmReport
		p.Report(&report)
		switch {
		case i == next:
			reported(t, report, nil, n, gate, n-gate, 0, 0)
		case !report.Elsewhere || report.Seen != 0:
			t.Errorf("the third one: %v; want that it leaves it to the second", report)
		}
	}
	fleet.Wait()
	for id, times := range creations(t, fleet) {
		if want := 1; times != want && id != gate {
			t.Errorf("%d was created %d times", id, times)
		}
	}
	if c := creations(t, fleet); len(c) != n || c[gate] != 2 {
		t.Errorf("created %v; want each once, and twice what the one was at that was killed", c)
	}
}

// Regions of one process on one server count as processes.
func TestWarmSeveralRegionsOnOneServer(t *testing.T) {
	url := serverURL(t, redistest.Shared(t))
	var queries atomic.Int64
	var all sync.WaitGroup
	reports := make([]decorate.WarmReport, 5)
	for i := range reports {
		r, err := openAt(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		f := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int64) (map[int64]int64, error) {
			values := map[int64]int64{}
			for _, id := range ids {
				values[id] = id
			}
			queries.Add(int64(len(ids)))
			return values, nil
		}, region.Namespace("f"))
		all.Go(func() {
			report, err := decorate.Warm(t.Context(), f, upTo(2000), decorate.WarmOptions{Wait: true})
			if err != nil {
				t.Error(err)
			}
			reports[i] = report
			if found, err := f.Get(t.Context(), []int64{0, 1999}); len(found) != 2 {
				t.Errorf("%v, %v when it was done; want all", found, err)
			}
		})
	}
	all.Wait()
	if n := queries.Load(); n != 2000 {
		t.Errorf("%d values were created, want 2000: %v", n, reports)
	}
}

func TestWarmOnAServerThatIsKilled(t *testing.T) {
	server := redistest.Start(t)
	r, err := openAt(serverURL(t, server))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var created atomic.Int64
	f := decorate.CacheOnArguments(r, func(context.Context, int64) (int64, error) {
		if created.Add(1) == 30 {
			server.Kill(t)
		}
		return 1, nil
	}, region.Namespace("f"))
	report, err := decorate.Warm(t.Context(), f, endless, decorate.WarmOptions{BatchSize: 10, Concurrency: 1})
	var warm *decorate.WarmError
	if !errors.As(err, &warm) || warm.Cause == nil || report.Seen > 50 {
		t.Errorf("%v, %v; want that it ends with the batch that cannot be looked up", report, err)
	}
}
