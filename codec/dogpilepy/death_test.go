package dogpilepy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/region"
)

// holder creates a value until it is killed.
func holder(w *fleettest.Worker) error {
	var url string
	if err := w.Params(&url); err != nil {
		return err
	}
	r, err := goRegion(url)
	if err != nil {
		return err
	}
	w.Ready()
	_, err = region.GetOrCreate(context.Background(), r, "key", func(ctx context.Context) (string, error) {
		w.Event("creating", nil)
		<-ctx.Done()
		return "", context.Cause(ctx)
	})
	return err
}

// A program in Python dies while it creates a value: with lock_timeout, others wait no
// longer than that.
func TestPythonDies(t *testing.T) {
	onBoth(t, func(t *testing.T, s *shop) {
		t.Parallel()
		w := pythontest.Start(t)
		r, _ := s.open(t)
		dying := w.Region(s.pythonWith(map[string]any{"lock_timeout": 2}))
		call := dying.StartGetOrCreate("key", pythontest.Creator{Value: "late", Hold: true})
		call.AwaitCreating(t)
		began := time.Now()
		w.Kill()
		if err := call.Wait(); !errors.Is(err, pythontest.ErrEnded) {
			t.Fatalf("the call of a process that was killed returned %v", err)
		}
		v, err := region.GetOrCreate(t.Context(), r, "key", func(context.Context) (string, error) { return "new", nil })
		if v != "new" || err != nil {
			t.Fatalf("Go got %q, %v; want a value of its own", v, err)
		}
		t.Logf("Go waited for %v", time.Since(began).Round(time.Millisecond))
	})
}

// Without lock_timeout its lock never ends. Calls in Go do, and say what to do; with
// StealAfter the lock is taken away.
func TestPythonDiesWithALockThatNeverEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *shop) {
		w := pythontest.Start(t)
		never := map[string]any{"lock_timeout": nil}
		if s.kind == "memcached" {
			never["lock_timeout"] = 0
		}
		call := w.Region(s.pythonWith(never)).StartGetOrCreate("key", pythontest.Creator{Hold: true})
		call.AwaitCreating(t)
		w.Kill()

		patient, _ := s.open(t, func(cfg *region.Config) { cfg.MaxWait = 300 * time.Millisecond })
		ran := false
		_, err := region.GetOrCreate(t.Context(), patient, "key", func(context.Context) (string, error) {
			ran = true
			return "", nil
		})
		if !errors.Is(err, region.ErrMaxWait) || !strings.Contains(err.Error(), "_lock") || ran {
			t.Errorf("the call returned %v, its creator ran: %v; want an ErrMaxWait that tells of the lock", err, ran)
		}

		stealing, _ := s.open(t, func(cfg *region.Config) {
			cfg.Interop = dogpilepy.New(dogpilepy.Config{StealAfter: 300 * time.Millisecond})
		})
		v, err := region.GetOrCreate(t.Context(), stealing, "key", func(context.Context) (string, error) { return "new", nil })
		if v != "new" || err != nil {
			t.Errorf("with StealAfter Go got %q, %v; want a value of its own", v, err)
		}
		other := pythontest.Start(t).Region(s.python)
		if v, err := other.GetOrCreate("key", pythontest.Creator{Value: "another"}); v.JSON != `"new"` || err != nil {
			t.Errorf("then Python got %v, %v; want Go's value", v, err)
		}
		if locked, err := other.KeyIsLocked("key"); locked || err != nil {
			t.Errorf("then the key is locked: %v, %v", locked, err)
		}
	})
}

// A program in Go dies while it creates a value: another one in Go takes over, and if there
// is none, one in Python does when the lease has ended.
func TestGoDies(t *testing.T) {
	onBoth(t, func(t *testing.T, s *shop) {
		t.Parallel()
		const ttl = "?lease_ttl=3s"
		python := pythontest.Start(t).Region(s.python)
		t.Run("with colleagues", func(t *testing.T) {
			fleet := fleettest.Start(t, "holder", 1, s.url+ttl)
			fleet.AwaitEvents("creating", 1)
			r, _ := s.open(t)
			waits := python.StartGetOrCreate("key", pythontest.Creator{Value: "Python"})
			began := make(chan struct{})
			got := make(chan string, 1)
			go func() {
				close(began)
				v, _ := region.GetOrCreate(context.Background(), r, "key", func(context.Context) (string, error) { return "Go", nil })
				got <- v
			}()
			<-began
			killed := time.Now()
			fleet.Workers[0].Kill()
			inGo := <-got
			t.Logf("Go got %q after %v", inGo, time.Since(killed).Round(time.Millisecond))
			inPython, err := waits.Value()
			if err != nil || inPython.JSON != `"`+inGo+`"` {
				t.Errorf("Go got %q, Python %v, %v; want the same", inGo, inPython, err)
			}
		})
		t.Run("alone", func(t *testing.T) {
			if err := python.Delete("key"); err != nil {
				t.Fatal(err)
			}
			fleet := fleettest.Start(t, "holder", 1, s.url+ttl)
			fleet.AwaitEvents("creating", 1)
			waits := python.StartGetOrCreate("key", pythontest.Creator{Value: "Python"})
			fleet.Workers[0].Kill()
			if v, err := waits.Value(); v.JSON != `"Python"` || err != nil {
				t.Errorf("Python got %v, %v; want a value of its own", v, err)
			}
		})
	})
}
