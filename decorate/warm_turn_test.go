package decorate_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// process is what stands for a process of the fleet: a region of its own, over the
// backend of all.
type process struct {
	*decorate.Func[int64, int64]
	running atomic.Int64
	looked  atomic.Bool // its iterator was used
	ended   chan struct{}
	report  decorate.WarmReport
	err     error

	mu   sync.Mutex
	told []decorate.WarmReport
}

// heard is what Progress has been told so far.
func (p *process) heard() []decorate.WarmReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

func startProcess(t *testing.T, cfg region.Config) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.Func = slowly(openRegion(t, "test", cfg), "f", &p.running)
	return p
}

// warm begins to warm n values.
func (p *process) warm(ctx context.Context, n int64, opts decorate.WarmOptions) *process {
	opts.Progress = func(r decorate.WarmReport) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told = append(p.told, r)
	}
	opts.ProgressEvery = time.Hour
	go func() {
		defer close(p.ended)
		p.report, p.err = decorate.Warm(ctx, p.Func, func(yield func(int64) bool) {
			p.looked.Store(true)
			upTo(n)(yield)
		}, opts)
	}()
	synctest.Wait()
	return p
}

func TestWarmOneProcessDoesIt(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		ctx := t.Context()
		first := startProcess(t, cfg).warm(ctx, 40, decorate.WarmOptions{})
		second := startProcess(t, cfg).warm(ctx, 40, decorate.WarmOptions{})
		waiter := startProcess(t, cfg).warm(ctx, 40, decorate.WarmOptions{Wait: true})
		other := startProcess(t, cfg).warm(ctx, 40, decorate.WarmOptions{Name: "others"})
		select {
		case <-second.ended:
		default:
			t.Fatal("the second one does not return at once")
		}
		if r := second.report; second.err != nil || !r.Elsewhere || !r.Done || r.Seen != 0 || second.looked.Load() || len(second.heard()) != 1 {
			t.Errorf("the second one: %v, %v; want Elsewhere, no error, and that it was told once", second.report, second.err)
		}
		if told := waiter.heard(); len(told) != 1 || !told[0].Elsewhere || told[0].Done {
			t.Errorf("one that waits was told %v; want Elsewhere", told)
		}
		<-first.ended
		if r := first.report; first.err != nil || r.Elsewhere || r.Created+r.Present != 40 {
			t.Errorf("the first one: %v, %v", r, first.err)
		}
		at := time.Now()
		<-waiter.ended
		if r := waiter.report; waiter.err != nil || !r.Elsewhere || !r.Done || waiter.looked.Load() || time.Since(at) > time.Second {
			t.Errorf("the one that waited: %v, %v after %v; want Elsewhere at once, without going through the list", r, waiter.err, time.Since(at))
		}
		<-other.ended
		if other.report.Elsewhere || other.report.Seen != 40 {
			t.Errorf("the one with another list: %v", other.report)
		}

		// One that comes later, also after yesterday's, looks for itself.
		late := startProcess(t, cfg).warm(ctx, 40, decorate.WarmOptions{Wait: true})
		<-late.ended
		reported(t, late.report, late.err, 40, 40, 0, 0, 0)
	})
}

func TestWarmOfTwoFunctionsAtTheSameTime(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		r, running := openRegion(t, "test", cfg), atomic.Int64{}
		f, g := slowly(r, "f", &running), slowly(r, "g", &running)
		done := make(chan decorate.WarmReport, 2)
		for _, fn := range []*decorate.Func[int64, int64]{f, g} {
			go func() {
				report, _ := decorate.Warm(t.Context(), fn, upTo(3), decorate.WarmOptions{})
				done <- report
			}()
		}
		for range 2 {
			if report := <-done; report.Created != 3 {
				t.Errorf("%v; want 3 created", report)
			}
		}
	})
}

// Of two that wait, one goes on where the first has stopped, and the other hears when it
// is done.
func TestWarmIsTakenOver(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		ctx, cancel := context.WithCancel(t.Context())
		first := startProcess(t, cfg).warm(ctx, 40, decorate.WarmOptions{})
		a := startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{Wait: true})
		b := startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{Wait: true})
		time.Sleep(5500 * time.Millisecond)
		cancel()
		<-first.ended
		if !errors.Is(first.err, context.Canceled) || first.report.Created != 20 {
			t.Errorf("the first one: %v, %v; want that it was cancelled after 20", first.report, first.err)
		}
		<-a.ended
		<-b.ended
		if a.report.Elsewhere {
			a, b = b, a
		}
		reported(t, a.report, a.err, 40, 20, 20, 0, 0)
		if a.report.Elsewhere || !b.report.Elsewhere || b.err != nil || b.looked.Load() {
			t.Errorf("the two that waited: %v and %v, %v; want that one of them goes on", a.report, b.report, b.err)
		}
	})
}

// Waiting for another process may take hours, in which Progress is told as well.
func TestWarmTellsOfProgressWhileItWaits(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		first := startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{})
		var waiting int
		waiter := startProcess(t, cfg)
		_, err := decorate.Warm(t.Context(), waiter.Func, upTo(40), decorate.WarmOptions{
			Wait: true, ProgressEvery: 3 * time.Second, Progress: func(r decorate.WarmReport) {
				if r.Elsewhere && !r.Done {
					waiting++
				}
			},
		})
		if waiting != 4 || err != nil { // at 0, 3, 6 and 9 seconds
			t.Errorf("told %d times that it waits, %v; want 4", waiting, err)
		}
		<-first.ended

		// A Progress that panics then leaves nothing behind.
		time.Sleep(time.Hour)
		first = startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{})
		func() {
			defer func() {
				if v := recover(); v != "progress" {
					t.Errorf("Warm panics with %v", v)
				}
			}()
			began := time.Now()
			_, _ = decorate.Warm(t.Context(), waiter.Func, upTo(40), decorate.WarmOptions{Wait: true, Progress: func(decorate.WarmReport) {
				if time.Since(began) > 2*time.Second {
					panic("progress")
				}
			}})
		}()
		<-first.ended
	})
}

// That somebody has finished is not known for ever. Who waits then does not take it for a
// colleague's having finished just now.
func TestWarmIsTakenOverLongAfterTheLastOne(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		cfg.Expiration = 24 * time.Hour
		<-startProcess(t, cfg).warm(t.Context(), 4, decorate.WarmOptions{}).ended
		time.Sleep(30 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		first := startProcess(t, cfg).warm(ctx, 40_000, decorate.WarmOptions{})
		waiter := startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{Wait: true})
		time.Sleep(time.Hour)
		cancel()
		<-first.ended
		<-waiter.ended
		reported(t, waiter.report, waiter.err, 40, 40, 0, 0, 0)
		if waiter.report.Elsewhere {
			t.Errorf("%v; want that it goes on where the first one has stopped", waiter.report)
		}
	})
}

func TestWarmWaitsUntilItsContextEnds(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		cfg.MaxWait = time.Second // which is about values
		first := startProcess(t, cfg).warm(t.Context(), 400, decorate.WarmOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		began := time.Now()
		waiter := startProcess(t, cfg).warm(ctx, 40, decorate.WarmOptions{Wait: true})
		<-waiter.ended
		if took := time.Since(began); !errors.Is(waiter.err, context.DeadlineExceeded) || took != 90*time.Second {
			t.Errorf("%v after %v; want the deadline's error", waiter.err, took)
		}
		<-first.ended
	})
}

// Regions that are closed let nobody wait.
func TestWarmWaitsUntilTheRegionIsClosed(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		first := startProcess(t, cfg).warm(t.Context(), 400, decorate.WarmOptions{})
		r, err := region.New("test", cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := &process{ended: make(chan struct{})}
		p.Func = slowly(r, "f", &p.running)
		p.warm(t.Context(), 4, decorate.WarmOptions{Wait: true})
		synctest.Wait()
		began := time.Now()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("Close took %v though nothing is under way", took)
		}
		<-p.ended
		if !errors.Is(p.err, region.ErrClosed) {
			t.Errorf("%v; want ErrClosed", p.err)
		}
		<-first.ended
	})
}

// A server may lose a turn. Whoever had it goes on if nobody else has taken it.
func TestWarmThatLosesItsTurn(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		lose := func() {
			if err := cfg.Backend.Delete(t.Context(), []backend.Key{p.turn()}); err != nil {
				t.Error(err)
			}
		}
		first := startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{})
		lose()
		time.Sleep(2500 * time.Millisecond)
		if r := startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{}).report; !r.Elsewhere {
			t.Errorf("the turn was not taken again: %v", r)
		}
		<-first.ended
		reported(t, first.report, first.err, 40, 0, 40, 0, 0)

		// Somebody else has it by the time it is noticed.
		for _, wait := range []bool{false, true} {
			time.Sleep(10 * time.Minute) // everything is dead
			stop, cancel := context.WithCancel(t.Context())
			first = startProcess(t, cfg).warm(t.Context(), 40, decorate.WarmOptions{Wait: wait})
			time.Sleep(500 * time.Millisecond)
			lose()
			second := startProcess(t, cfg).warm(stop, 40, decorate.WarmOptions{})
			time.Sleep(4 * time.Second)
			cancel() // and leaves it to those who wait
			<-second.ended
			<-first.ended
			if wait {
				if r := first.report; first.err != nil || r.Elsewhere || r.Seen != 40 || r.Created+r.Present != 40 {
					t.Errorf("with Wait: %v, %v; want that it goes on", r, first.err)
				}
			} else if r := first.report; first.err != nil || !r.Elsewhere || r.Created != 4 {
				t.Errorf("%v, %v; want that it leaves it to the other", r, first.err)
			}
		}
	})
}

// The key of a turn is in no region that anybody can have.
func TestTheKeyOfATurn(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		first := startProcess(t, cfg).warm(t.Context(), 4, decorate.WarmOptions{})
		<-first.ended
		key := p.turn()
		if _, err := region.New(key.Region, cfg); !errors.Is(err, region.ErrConfig) || key.Region == "" {
			t.Errorf("a region called %q: %v; want ErrConfig", key.Region, err)
		}
		if key.Region != "test!warm" || key.Name != `f ""` {
			t.Errorf("the key is %q %q", key.Region, key.Name)
		}
	})
}
