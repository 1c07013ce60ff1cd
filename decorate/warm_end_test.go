package decorate_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// endless yields numbers for ever.
func endless(yield func(int64) bool) {
	for i := int64(0); yield(i); i++ {
	}
}

// slowly is a function that takes a second for a value.
func slowly(r *region.Region, name string, running *atomic.Int64) *decorate.Func[int64, int64] {
	return decorate.CacheOnArguments(r, func(ctx context.Context, id int64) (int64, error) {
		running.Add(1)
		defer running.Add(-1)
		select {
		case <-time.After(time.Second):
			return id, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}, region.Namespace(name))
}

// usable checks that it is nobody's turn any more.
func usable(t *testing.T, f *decorate.Func[int64, int64]) {
	t.Helper()
	report, err := decorate.Warm(t.Context(), f, upTo(3), decorate.WarmOptions{})
	if err != nil || report.Elsewhere || report.Present+report.Created != 3 {
		t.Errorf("the next warming: %v, %v", report, err)
	}
}

func TestWarmEndsWithItsContext(t *testing.T) {
	why := errors.New("the deploy was taken back")
	for name, end := range map[string]func(context.Context) (context.Context, error){
		"deadline": func(ctx context.Context) (context.Context, error) {
			ctx, cancel := context.WithTimeout(ctx, 5500*time.Millisecond)
			context.AfterFunc(ctx, cancel)
			return ctx, context.DeadlineExceeded
		},
		"cause": func(ctx context.Context) (context.Context, error) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(5500*time.Millisecond, func() { cancel(why) })
			return ctx, why
		},
	} {
		for kind, opts := range map[string]decorate.WarmOptions{
			"creating":             {},
			"waiting for the rate": {Rate: 0.5, Concurrency: 10},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
					r, running := openRegion(t, "test", cfg), atomic.Int64{}
					f := slowly(r, "f", &running)
					ctx, want := end(t.Context())
					began := time.Now()
					report, err := decorate.Warm(ctx, f, endless, opts)
					if took := time.Since(began); took != 5500*time.Millisecond {
						t.Errorf("it ended after %v, want 5.5s", took)
					}
					var warm *decorate.WarmError
					if !errors.As(err, &warm) || !errors.Is(warm.Cause, want) || !errors.Is(err, ctx.Err()) {
						t.Fatalf("%v; want a WarmError because of %v", err, want)
					}
					created := int64(20)
					if opts.Rate > 0 {
						created = 3
					}
					if report.Created != created || report.Failed != 0 || len(warm.Failures) != 0 || warm.Report != report || !report.Done {
						t.Errorf("%v, %v; want %d created, and none failed for what was cut off", report, warm, created)
					}
					synctest.Wait()
					if n := running.Load(); n != 0 {
						t.Errorf("%d creators still run", n)
					}
					usable(t, f)
				})
			})
		}
	}
}

// The context ends while the last creations are under way.
func TestWarmEndsWithItsContextAtTheEnd(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		r, running := openRegion(t, "test", cfg), atomic.Int64{}
		f := slowly(r, "f", &running)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		report, err := decorate.Warm(ctx, f, upTo(3), decorate.WarmOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || report.Created != 0 || report.Seen != 3 || report.Failed != 0 {
			t.Errorf("%v, %v; want the deadline's error, and nothing created", report, err)
		}
		usable(t, f)
		report, err = decorate.Warm(ctx, f, upTo(3), decorate.WarmOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || report.Seen != 0 {
			t.Errorf("with a context that has ended: %v, %v", report, err)
		}
	})
}

// A panic of the iterator or of Progress goes to the caller, after everything has ended.
func TestWarmPassesPanicsOn(t *testing.T) {
	for name, warm := range map[string]func(context.Context, *decorate.Func[int64, int64]){
		"iterator": func(ctx context.Context, f *decorate.Func[int64, int64]) {
			_, _ = decorate.Warm(ctx, f, func(yield func(int64) bool) {
				for i := range int64(3) {
					yield(i)
				}
				time.Sleep(150 * time.Millisecond)
				yield(3)
				time.Sleep(150 * time.Millisecond)
				panic("whoops")
			}, decorate.WarmOptions{})
		},
		"progress": func(ctx context.Context, f *decorate.Func[int64, int64]) {
			_, _ = decorate.Warm(ctx, f, endless, decorate.WarmOptions{ProgressEvery: 500 * time.Millisecond, Progress: func(decorate.WarmReport) { panic("whoops") }})
		},
		"progress at the end": func(ctx context.Context, f *decorate.Func[int64, int64]) {
			_, _ = decorate.Warm(ctx, f, upTo(4), decorate.WarmOptions{ProgressEvery: 500 * time.Millisecond, Progress: func(decorate.WarmReport) { panic("whoops") }})
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
				r, running := openRegion(t, "test", cfg), atomic.Int64{}
				f := slowly(r, "f", &running)
				began := time.Now()
				func() {
					defer func() {
						if v := recover(); v != "whoops" {
							t.Errorf("recovered %v, want the panic", v)
						}
					}()
					warm(t.Context(), f)
				}()
				if took := time.Since(began); took >= time.Second {
					t.Errorf("it took %v, want that creations are cut off", took)
				}
				synctest.Wait()
				if n := running.Load(); n != 0 {
					t.Errorf("%d creators still run", n)
				}
				usable(t, f)
			})
		})
	}
}

// When Warm panics nothing of it is left, however long that takes.
func TestWarmLeavesNothingBehind(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		r := openRegion(t, "test", cfg)
		var asked, busy atomic.Int64
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) { return id, nil },
			region.Namespace("f"), region.WithTagsFunc(func(int64) []string {
				if asked.Add(1) == 2 { // the first time it looks, the second time it creates
					busy.Add(1)
					defer busy.Add(-1)
					time.Sleep(time.Minute)
				}
				return nil
			}))
		defer func() {
			if v := recover(); v != "whoops" || asked.Load() != 2 || busy.Load() != 0 {
				t.Errorf("recovered %v, asked %d times, %d goroutines still at it; want the panic and none", v, asked.Load(), busy.Load())
			}
		}()
		_, _ = decorate.Warm(t.Context(), f, upTo(1), decorate.WarmOptions{Progress: func(decorate.WarmReport) { panic("whoops") }})
	})
}

func TestWarmWithAnIteratorThatExits(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		r, running := openRegion(t, "test", cfg), atomic.Int64{}
		f := slowly(r, "f", &running)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = decorate.Warm(t.Context(), f, func(func(int64) bool) { runtime.Goexit() }, decorate.WarmOptions{})
		}()
		<-done
		usable(t, f)
	})
}

func TestWarmWithABackendThatFails(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r, running := t.Context(), openRegion(t, "test", cfg), atomic.Int64{}
		f := slowly(r, "f", &running)
		creations := func() int64 { return r.Stats().Creations }

		// From the beginning: nothing is created that could not be kept.
		p.failing.Store(true)
		began := time.Now()
		report, err := decorate.Warm(ctx, f, upTo(100), decorate.WarmOptions{})
		var warm *decorate.WarmError
		if !errors.As(err, &warm) || !errors.Is(warm.Cause, errDown) || report.Seen != 0 || creations() != 0 {
			t.Errorf("%v, %v, %d creations; want the backend's error and nothing created", report, err, creations())
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, want 3s of trying again", took)
		}

		// For a moment.
		time.AfterFunc(2*time.Second, func() { p.failing.Store(false) })
		report, err = decorate.Warm(ctx, f, upTo(10), decorate.WarmOptions{})
		reported(t, report, err, 10, 0, 10, 0, 0)
		before := creations()
		report, err = decorate.Warm(ctx, f, func(yield func(int64) bool) {
			p.failing.Store(true)
			time.AfterFunc(2*time.Second, func() { p.failing.Store(false) })
			for i := range int64(10) {
				yield(i)
			}
		}, decorate.WarmOptions{})
		reported(t, report, err, 10, 10, 0, 0, 0)
		if creations() != before {
			t.Errorf("%d creations while nothing could be looked up, want none", creations()-before)
		}

		// In the middle, for good.
		report, err = decorate.Warm(ctx, f, func(yield func(int64) bool) {
			for i := int64(0); yield(i); i++ {
				if i == 100 {
					p.failing.Store(true)
				}
			}
		}, decorate.WarmOptions{BatchSize: 10})
		if !errors.As(err, &warm) || !errors.Is(warm.Cause, errDown) || report.Created != 90 || report.Present != 10 {
			t.Errorf("%v, %v; want the backend's error after 100", report, err)
		}

		// The context counts meanwhile.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := decorate.Warm(ctx, f, upTo(1), decorate.WarmOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v; want the deadline's error", err)
		}
		p.failing.Store(false)
		usable(t, f)
	})
}

func TestWarmWhileTheRegionIsClosed(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		r, err := region.New("test", cfg)
		if err != nil {
			t.Fatal(err)
		}
		var running atomic.Int64
		f := slowly(r, "f", &running)
		time.AfterFunc(5500*time.Millisecond, func() { _ = r.Close() })
		began := time.Now()
		report, err := decorate.Warm(t.Context(), f, endless, decorate.WarmOptions{})
		if took := time.Since(began); !errors.Is(err, region.ErrClosed) || report.Created < 20 || report.Failed != 0 || took != 6*time.Second {
			t.Errorf("%v, %v after %v; want ErrClosed when what was under way is done, and nothing failed", report, err, took)
		}
		if _, err := decorate.Warm(t.Context(), f, endless, decorate.WarmOptions{}); !errors.Is(err, region.ErrClosed) {
			t.Errorf("%v; want ErrClosed", err)
		}
		synctest.Wait()
	})
}

// A warming goes on in the new configuration.
func TestWarmWhileTheRegionIsReconfigured(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		r, running := openRegion(t, "test", cfg), atomic.Int64{}
		f := slowly(r, "f", &running)
		time.AfterFunc(5500*time.Millisecond, func() {
			if err := r.Reconfigure(region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour}); err != nil {
				t.Error(err)
			}
		})
		report, err := decorate.Warm(t.Context(), f, upTo(40), decorate.WarmOptions{BatchSize: 10})
		reported(t, report, err, 40, 0, 40, 0, 0)
		if _, ok, err := f.Get(t.Context(), 39); !ok {
			t.Errorf("the last one is not in the new backend: %v", err)
		}
	})
}

// What a region that has been disabled would not keep is not created.
func TestWarmWhileTheRegionIsDisabled(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		r, running := openRegion(t, "test", cfg), atomic.Int64{}
		f := slowly(r, "f", &running)
		time.AfterFunc(5500*time.Millisecond, func() {
			cfg.Disabled = true
			if err := r.Reconfigure(cfg); err != nil {
				t.Error(err)
			}
		})
		report, err := decorate.Warm(t.Context(), f, upTo(1000), decorate.WarmOptions{BatchSize: 10})
		var warm *decorate.WarmError
		if !errors.As(err, &warm) || !errors.Is(warm.Cause, region.ErrConfig) || report.Seen > 50 {
			t.Errorf("%v, %v; want that it ends", report, err)
		}
	})
}

// However many arguments there are, they are not kept.
func TestWarmKeepsNoArguments(t *testing.T) {
	r := openRegion(t, "test", region.Config{Backend: memory.New(memory.Config{MaxEntries: 100}), Expiration: time.Hour})
	f := decorate.CacheOnArguments(r, func(context.Context, string) (int, error) { return 1, errors.New("no") }, region.Namespace("f"))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before, most uint64
	_, err := decorate.Warm(t.Context(), f, func(yield func(string) bool) {
		for i := range 4000 {
			switch i {
			case 1000:
				before = heap()
			case 2000, 3000, 3999:
				most = max(most, heap())
			}
			if !yield(fmt.Sprintf("%010000d", i)) { // 10 kB each
				return
			}
		}
	}, decorate.WarmOptions{})
	var warm *decorate.WarmError
	if !errors.As(err, &warm) || warm.Report.Failed != 4000 {
		t.Fatal(err)
	}
	if most > before+10<<20 {
		t.Errorf("the heap has grown from %d to %d bytes over 30 MB of arguments", before, most)
	}
}
