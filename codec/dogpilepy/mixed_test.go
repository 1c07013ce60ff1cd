package dogpilepy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/region"
)

// plan is what a worker in Go has to do.
type plan struct {
	URL     string
	Batches int // one after the other, when the test says so
	Keys    int // in each batch, at the same time
}

func (p *plan) key(batch, i int) string { return fmt.Sprintf("key:%d:%d", batch, i) }

// work is how long creators take.
const work = 30 * time.Millisecond

// goRegion opens the region of a worker.
func goRegion(url string) (*region.Region, error) {
	b, err := backend.Open(url)
	if err != nil {
		return nil, err
	}
	r, err := region.New("shared", region.Config{Backend: b, Expiration: expiration, Interop: dogpilepy.Format})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return r, nil
}

// mixed asks for the keys of each batch, and reports what it got.
func mixed(w *fleettest.Worker) (err error) {
	var p plan
	if err := w.Params(&p); err != nil {
		return err
	}
	r, err := goRegion(p.URL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w.Ready()
	for batch := range p.Batches {
		w.Await(fmt.Sprint("batch ", batch))
		got := make([]string, p.Keys)
		var all sync.WaitGroup
		for i := range p.Keys {
			all.Go(func() {
				key := p.key(batch, i)
				value, err := region.GetOrCreate(context.Background(), r, key, func(context.Context) (string, error) {
					w.Event("creating", key)
					time.Sleep(work)
					return fmt.Sprint("Go ", w.Index), nil
				})
				if err != nil {
					value = "error: " + err.Error()
				}
				got[i] = value
			})
		}
		all.Wait()
		w.Report(got)
	}
	return nil
}

// Four processes in Go and four in Python want a hundred values that nobody has: each of
// them is created once, by whomever, and everybody gets it.
func TestOneCreationInAMixedFleet(t *testing.T) {
	onBoth(t, func(t *testing.T, s *shop) {
		p := plan{URL: s.url, Batches: 10, Keys: 10}
		fleet := fleettest.Start(t, "mixed", 4, p)
		var pythons []*pythontest.Region
		for _, w := range pythontest.StartSeveral(t, 4) {
			pythons = append(pythons, w.Region(s.python))
		}
		fleet.AwaitReady()
		byPython := 0
		for batch := range p.Batches {
			calls := make([][]*pythontest.Call, len(pythons))
			begin := func(some []*pythontest.Region, at int) {
				for n, r := range some {
					for i := range p.Keys {
						c := pythontest.Creator{Value: fmt.Sprint("Python ", at+n), Duration: work}
						calls[at+n] = append(calls[at+n], r.StartGetOrCreate(p.key(batch, i), c))
					}
				}
			}
			// Python first, Go first, or both at once.
			switch batch % 3 {
			case 0:
				begin(pythons, 0)
				fleet.Send(fmt.Sprint("batch ", batch))
			case 1:
				fleet.Send(fmt.Sprint("batch ", batch))
				begin(pythons, 0)
			default:
				begin(pythons[:2], 0)
				fleet.Send(fmt.Sprint("batch ", batch))
				begin(pythons[2:], 2)
			}
			got := make([][]string, 0, 8)
			for _, w := range fleet.Workers {
				var values []string
				w.Report(&values)
				got = append(got, values)
			}
			for n := range pythons {
				values := make([]string, p.Keys)
				for i, c := range calls[n] {
					v, err := c.Value()
					if err != nil {
						t.Fatalf("Python's call for %s: %v", p.key(batch, i), err)
					}
					v.Decode(t, &values[i])
				}
				got = append(got, values)
			}
			for i := range p.Keys {
				creations := 0
				for _, e := range fleet.Events("creating") {
					var key string
					if e.Decode(t, &key); key == p.key(batch, i) {
						creations++
					}
				}
				for _, r := range pythons {
					n := r.Worker().Created(p.key(batch, i))
					creations, byPython = creations+n, byPython+n
				}
				if creations != 1 {
					t.Errorf("%s was created %d times; want once", p.key(batch, i), creations)
				}
				for n := range got {
					if got[n][i] != got[0][i] || strings.HasPrefix(got[n][i], "error") {
						t.Errorf("process %d got %q of %s, process 0 %q", n, got[n][i], p.key(batch, i), got[0][i])
					}
				}
			}
		}
		fleet.Wait()
		t.Logf("%d of 100 values were created by Python", byPython)
		if byPython == 0 || byPython == 100 {
			t.Error("all values were created by one language, so nothing was shown")
		}
	})
}

// A value that has expired is created anew once, and everybody else has the old one
// meanwhile, whichever language won.
func TestSoftExpiryIsShared(t *testing.T) {
	onBoth(t, func(t *testing.T, s *shop) {
		const each = 4
		var pythons []*pythontest.Region
		for _, w := range pythontest.StartSeveral(t, each) {
			pythons = append(pythons, w.Region(s.python))
		}
		var regions []*region.Region
		for range each {
			r, _ := s.open(t)
			regions = append(regions, r)
		}
		for _, first := range []string{"Go", "Python"} {
			key := "stale:" + first
			old := fmt.Sprintf(`{"ct": %d.5, "v": 2}|"old"`, time.Now().Add(-expiration-time.Minute).Unix())
			s.put(t, key, old)
			release := make(chan struct{})
			created := make(chan string, 2*each)
			load := func(context.Context) (string, error) {
				created <- "Go"
				<-release
				return "new", nil
			}
			winner := make(chan string, 1)
			var call *pythontest.Call
			if first == "Go" {
				go func() {
					v, err := region.GetOrCreate(context.Background(), regions[0], key, load)
					winner <- fmt.Sprint(v, err)
				}()
				<-created
			} else {
				call = pythons[0].StartGetOrCreate(key, pythontest.Creator{Value: "new", Hold: true})
				call.AwaitCreating(t)
			}
			for _, r := range regions {
				if v, err := region.GetOrCreate(t.Context(), r, key, load); v != "old" || err != nil {
					t.Errorf("while %s creates, Go gets %q, %v; want the old value", first, v, err)
				}
			}
			for _, r := range pythons {
				v, err := r.GetOrCreate(key, pythontest.Creator{Value: "another"})
				if v.JSON != `"old"` || err != nil {
					t.Errorf("while %s creates, Python gets %v, %v; want the old value", first, v, err)
				}
			}
			close(release)
			if first == "Go" {
				if got := <-winner; got != "new<nil>" {
					t.Errorf("Go's winner got %s", got)
				}
			} else {
				call.Release()
				if v, err := call.Value(); v.JSON != `"new"` || err != nil {
					t.Errorf("Python's winner got %v, %v", v, err)
				}
			}
			for _, r := range regions {
				if v, err := region.GetOrCreate(t.Context(), r, key, load); v != "new" || err != nil {
					t.Errorf("after %s has created, Go gets %q, %v", first, v, err)
				}
			}
			pythonCreated := 0
			for _, r := range pythons {
				if v, err := r.GetOrCreate(key, pythontest.Creator{Value: "another"}); v.JSON != `"new"` || err != nil {
					t.Errorf("after %s has created, Python gets %v, %v", first, v, err)
				}
				pythonCreated += r.Worker().Created(key)
			}
			if n := len(created) + pythonCreated; first == "Go" && n != 0 || first == "Python" && n != 1 {
				t.Errorf("%s was the first, and there were %d more creations in Go and %d in Python", first, len(created), pythonCreated)
			}
		}
	})
}
