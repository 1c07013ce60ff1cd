package decorate_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// reported checks a report's numbers.
func reported(t *testing.T, r decorate.WarmReport, err error, seen, present, created, notFound, failed int64) {
	t.Helper()
	if r.Seen != seen || r.Present != present || r.Created != created || r.NotFound != notFound || r.Failed != failed {
		t.Errorf("reported %v (not found: %d); want %d seen, %d present, %d created, %d not found, %d failed", r, r.NotFound, seen, present, created, notFound, failed)
	}
	if (err != nil) != (failed > 0) {
		t.Errorf("error %v with %d failed", err, failed)
	}
	if !r.Done {
		t.Error("the report is not Done")
	}
}

func TestWarmCreatesWhatIsMissing(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		var mu sync.Mutex
		var asked []int64
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, id)
			return fmt.Sprint("row ", id), nil
		}, region.Namespace("rows"))
		for _, id := range []int64{2, 5} {
			if err := f.Set(ctx, id, fmt.Sprint("row ", id)); err != nil {
				t.Fatal(err)
			}
		}
		report, err := decorate.Warm(ctx, f, upTo(7), decorate.WarmOptions{})
		reported(t, report, err, 7, 2, 5, 0, 0)
		slices.Sort(asked)
		if !slices.Equal(asked, []int64{0, 1, 3, 4, 6}) {
			t.Errorf("the function was asked for %v, want what is missing", asked)
		}
		for id := range int64(7) {
			if v, ok, err := f.Get(ctx, id); !ok || v != fmt.Sprint("row ", id) {
				t.Errorf("Get(%d) = %q, %v, %v after the warming", id, v, ok, err)
			}
		}
		report, err = decorate.Warm(ctx, f, upTo(7), decorate.WarmOptions{})
		reported(t, report, err, 7, 7, 0, 0, 0)
	})
}

func TestWarmKeepsTags(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		ctx, r, db := t.Context(), openRegion(t, "test", cfg), &database{}
		f := decorate.CacheOnArguments(r, db.load, region.WithTagsFunc(func(id int64) []string { return []string{fmt.Sprint("row:", id)} }))
		report, err := decorate.Warm(ctx, f, upTo(3), decorate.WarmOptions{})
		reported(t, report, err, 3, 0, 3, 0, 0)
		if err := r.InvalidateTags(ctx, "row:1"); err != nil {
			t.Fatal(err)
		}
		report, err = decorate.Warm(ctx, f, upTo(3), decorate.WarmOptions{})
		reported(t, report, err, 3, 2, 1, 0, 0)
	})
}

func TestWarmEveryKindOfFunction(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		f0 := decorate.CacheOnArguments0(r, func(context.Context) (int, error) { return 1, nil }, region.Namespace("f0"))
		f1 := decorate.CacheOnArguments(r, func(context.Context, string) (int, error) { return 1, nil }, region.Namespace("f1"))
		f2 := decorate.CacheOnArguments2(r, func(context.Context, int, string) (int, error) { return 1, nil }, region.Namespace("f2"))
		f3 := decorate.CacheOnArguments3(r, func(context.Context, int, string, bool) (int, error) { return 1, nil }, region.Namespace("f3"))
		f4 := decorate.CacheOnArguments4(r, func(context.Context, int, string, bool, int8) (int, error) { return 1, nil }, region.Namespace("f4"))
		multi := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []string) (map[string]int, error) {
			return map[string]int{ids[0]: 1}, nil
		}, region.Namespace("multi"))
		for range 2 {
			for kind, warm := range map[string]func(decorate.WarmOptions) (decorate.WarmReport, error){
				"0": func(o decorate.WarmOptions) (decorate.WarmReport, error) {
					return decorate.Warm(ctx, f0, slices.Values([]region.Args0{{}}), o)
				},
				"1": func(o decorate.WarmOptions) (decorate.WarmReport, error) {
					return decorate.Warm(ctx, f1, slices.Values([]string{"a"}), o)
				},
				"2": func(o decorate.WarmOptions) (decorate.WarmReport, error) {
					return decorate.Warm(ctx, f2, slices.Values([]region.Args2[int, string]{{A: 1, B: "b"}}), o)
				},
				"3": func(o decorate.WarmOptions) (decorate.WarmReport, error) {
					return decorate.Warm(ctx, f3, slices.Values([]region.Args3[int, string, bool]{{A: 1, B: "b", C: true}}), o)
				},
				"4": func(o decorate.WarmOptions) (decorate.WarmReport, error) {
					return decorate.Warm(ctx, f4, slices.Values([]region.Args4[int, string, bool, int8]{{A: 1, B: "b", C: true, D: 4}}), o)
				},
				"multi": func(o decorate.WarmOptions) (decorate.WarmReport, error) {
					return decorate.Warm(ctx, multi, slices.Values([]string{"a"}), o)
				},
			} {
				if report, err := warm(decorate.WarmOptions{}); err != nil || report.Seen != 1 || report.Present+report.Created != 1 {
					t.Errorf("%s: %v, %v", kind, report, err)
				}
			}
		}
		_, ok0, _ := f0.Get(ctx)
		_, ok1, _ := f1.Get(ctx, "a")
		_, ok2, _ := f2.Get(ctx, 1, "b")
		_, ok3, _ := f3.Get(ctx, 1, "b", true)
		_, ok4, _ := f4.Get(ctx, 1, "b", true, 4)
		found, _ := multi.Get(ctx, []string{"a"})
		if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || len(found) != 1 {
			t.Errorf("stored: %v %v %v %v %v %v; want all", ok0, ok1, ok2, ok3, ok4, found)
		}
		if creations := r.Stats().Creations; creations != 6 {
			t.Errorf("%d creations in two rounds, want 6", creations)
		}
	})
}

// A function that loads many is asked for full batches, however few of a round trip's
// keys are missing.
func TestWarmInBatches(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		var asked [][]int64
		f := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int64) (map[int64]string, error) {
			asked = append(asked, slices.Sorted(slices.Values(ids)))
			rows := map[int64]string{}
			for _, id := range ids {
				if id != 9 {
					rows[id] = fmt.Sprint("row ", id)
				}
			}
			return rows, nil
		}, region.Namespace("rows"), region.AllowMissing())
		if err := f.Set(ctx, map[int64]string{0: "", 1: "", 4: "", 5: ""}); err != nil {
			t.Fatal(err)
		}
		report, err := decorate.Warm(ctx, f, upTo(11), decorate.WarmOptions{BatchSize: 4, Concurrency: 1})
		reported(t, report, err, 11, 4, 6, 1, 0)
		if want := "[[2 3 6 7] [8 9 10]]"; fmt.Sprint(asked) != want {
			t.Errorf("the function was asked for %v, want %v", asked, want)
		}
	})
}

func TestWarmTakesWhatIsStaleForMissing(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		for _, cfg.Refresh = range []region.Refresh{region.Foreground, region.Background} {
			ctx := t.Context()
			cfg.StaleFor, cfg.KeepBackendOpen = time.Hour, true
			r, err := region.New("test", cfg)
			if err != nil {
				t.Fatal(err)
			}
			queries := atomic.Int64{}
			load := func(_ context.Context, id int64) (int64, error) {
				time.Sleep(time.Second)
				return queries.Add(1), nil
			}
			f := decorate.CacheOnArguments(r, load, region.Namespace(fmt.Sprint("one", cfg.Refresh)))
			g := decorate.CacheMultiOnArguments(r, func(ctx context.Context, ids []int64) (map[int64]int64, error) {
				v, err := load(ctx, 0)
				return map[int64]int64{ids[0]: v}, err
			}, region.Namespace(fmt.Sprint("many", cfg.Refresh)))
			_, _ = f.Call(ctx, 0)
			_, _ = g.Call(ctx, []int64{0})
			time.Sleep(2 * time.Minute)
			report, err := decorate.Warm(ctx, f, upTo(1), decorate.WarmOptions{})
			reported(t, report, err, 1, 0, 1, 0, 0)
			report, err = decorate.Warm(ctx, g, upTo(1), decorate.WarmOptions{})
			reported(t, report, err, 1, 0, 1, 0, 0)
			v, ok, err := f.Get(ctx, 0)
			got(t, v, err, 3)
			values, err := g.Get(ctx, []int64{0})
			got(t, values[0], err, 4)
			if !ok {
				t.Error("what was stale is not fresh after the warming")
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		_ = cfg.Backend.Close()
	})
}

// Those who call while a stale value is being warmed get it at once, as ever.
func TestWarmKeepsNobodyFromAStaleValue(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, _ *tap) {
		ctx := t.Context()
		cfg.StaleFor = time.Hour
		r := openRegion(t, "test", cfg)
		queries := atomic.Int64{}
		creating := make(chan struct{}, 2)
		f := decorate.CacheOnArguments(r, func(context.Context, int64) (int64, error) {
			creating <- struct{}{}
			time.Sleep(10 * time.Second)
			return queries.Add(1), nil
		}, region.Namespace("f"))
		_, _ = f.Call(ctx, 0)
		<-creating
		time.Sleep(2 * time.Minute)
		done := make(chan decorate.WarmReport, 1)
		go func() {
			report, _ := decorate.Warm(ctx, f, upTo(1), decorate.WarmOptions{})
			done <- report
		}()
		<-creating
		began := time.Now()
		v, err := f.Call(ctx, 0)
		got(t, v, err, 1)
		if took := time.Since(began); took > 0 {
			t.Errorf("the stale value took %v", took)
		}
		if report := <-done; report.Created != 1 {
			t.Errorf("%v; want 1 created", report)
		}
	})
}

// What is there costs one round trip for many, and is no hit.
func TestWarmLooksUpInBatches(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r, db := t.Context(), openRegion(t, "test", cfg), &database{}
		f := decorate.CacheOnArguments(r, db.load)
		report, err := decorate.Warm(ctx, f, upTo(1000), decorate.WarmOptions{})
		reported(t, report, err, 1000, 0, 1000, 0, 0)
		for _, o := range []struct {
			size  int
			trips int64
		}{{0, 4}, {100, 10}, {5000, 1}} {
			reads, stats := p.reads.Load(), r.Stats()
			report, err = decorate.Warm(ctx, f, upTo(1000), decorate.WarmOptions{BatchSize: o.size})
			reported(t, report, err, 1000, 1000, 0, 0, 0)
			if trips := p.reads.Load() - reads; trips != o.trips {
				t.Errorf("BatchSize %d: %d round trips for 1000 values, want %d", o.size, trips, o.trips)
			}
			if now := r.Stats(); now.Hits != stats.Hits || now.Misses != stats.Misses {
				t.Errorf("looking up counts: %v, was %v", now, stats)
			}
		}
	})
}

func TestWarmWithBoundedConcurrency(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		for _, o := range []struct{ set, want int64 }{{0, 4}, {1, 1}, {7, 7}} {
			var mu sync.Mutex
			var now, most int64
			r, err := region.New(fmt.Sprint("test", o.set), cfg)
			if err != nil {
				t.Fatal(err)
			}
			f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				return id, nil
			}, region.Namespace("f"))
			began := time.Now()
			report, err := decorate.Warm(t.Context(), f, upTo(28), decorate.WarmOptions{Concurrency: int(o.set)})
			reported(t, report, err, 28, 0, 28, 0, 0)
			if took := time.Since(began); most != o.want || took != time.Duration(28/o.want)*time.Second {
				t.Errorf("Concurrency %d: %d creators at work at the same time, %v in all; want %d", o.set, most, took, o.want)
			}
			defer r.Close()
		}
	})
}

func TestWarmAtARate(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		began := time.Now()
		var at []time.Duration
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
			at = append(at, time.Since(began))
			return id, nil
		}, region.Namespace("one"))
		_ = f.Set(ctx, 1, 1)
		_ = f.Set(ctx, 2, 2)
		report, err := decorate.Warm(ctx, f, upTo(6), decorate.WarmOptions{Rate: 0.5, Concurrency: 1})
		reported(t, report, err, 6, 2, 4, 0, 0)
		if want := "[0s 2s 4s 6s]"; fmt.Sprint(at) != want {
			t.Errorf("created at %v, want %v", at, want)
		}

		began, at = time.Now(), nil
		sizes := []int{}
		g := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int64) (map[int64]int64, error) {
			at, sizes = append(at, time.Since(began)), append(sizes, len(ids))
			values := map[int64]int64{}
			for _, id := range ids {
				values[id] = id
			}
			return values, nil
		}, region.Namespace("many"))
		report, err = decorate.Warm(ctx, g, upTo(25), decorate.WarmOptions{Rate: 10, Concurrency: 1})
		reported(t, report, err, 25, 0, 25, 0, 0)
		if want := "[0s 1s 2s] [10 10 5]"; fmt.Sprint(at, sizes) != want {
			t.Errorf("created at and by %v %v, want %v", at, sizes, want)
		}
	})
}

// A pause is not made up for by a burst.
func TestWarmAtARateAfterAPause(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		r := openRegion(t, "test", cfg)
		var at []time.Duration
		began := time.Now()
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
			at = append(at, time.Since(began))
			return id, nil
		}, region.Namespace("f"))
		report, err := decorate.Warm(t.Context(), f, func(yield func(int64) bool) {
			for i := range int64(4) {
				if i == 1 {
					time.Sleep(10 * time.Second)
				}
				if !yield(i) {
					return
				}
			}
		}, decorate.WarmOptions{Rate: 1, BatchSize: 1, Concurrency: 1})
		reported(t, report, err, 4, 0, 4, 0, 0)
		if want := "[0s 10s 11s 12s]"; fmt.Sprint(at) != want {
			t.Errorf("created at %v, want %v", at, want)
		}
	})
}

// Creations that have to wait for slow ones keep the rate when those end together.
func TestWarmAtARateBehindSlowCreations(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		r := openRegion(t, "test", cfg)
		var mu sync.Mutex
		var at []time.Duration
		began, slow := time.Now(), time.After(20*time.Second)
		answer := make(chan struct{})
		go func() { <-slow; close(answer) }()
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
			mu.Lock()
			at = append(at, time.Since(began))
			mu.Unlock()
			<-answer
			return id, nil
		}, region.Namespace("f"))
		report, err := decorate.Warm(t.Context(), f, upTo(7), decorate.WarmOptions{Rate: 1, Concurrency: 4})
		reported(t, report, err, 7, 0, 7, 0, 0)
		if want := "[0s 1s 2s 3s 20s 21s 22s]"; fmt.Sprint(at) != want {
			t.Errorf("created at %v, want %v", at, want)
		}
	})
}

func TestWarmTellsOfProgress(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
			time.Sleep(700 * time.Millisecond)
			return id, nil
		}, region.Namespace("f"))
		var inside atomic.Int64
		var told []decorate.WarmReport
		progress := func(r decorate.WarmReport) {
			if inside.Add(1) != 1 {
				t.Error("Progress is called twice at the same time")
			}
			defer inside.Add(-1)
			told = append(told, r)
		}
		report, err := decorate.Warm(ctx, f, upTo(6), decorate.WarmOptions{Concurrency: 1, Progress: progress, ProgressEvery: 2 * time.Second})
		reported(t, report, err, 6, 0, 6, 0, 0)
		if len(told) != 3 || told[0].Created != 2 || told[1].Created != 5 || told[2] != report ||
			told[0].Done || told[1].Done || told[0].Elapsed != 2*time.Second || report.Elapsed != 4200*time.Millisecond {
			t.Errorf("told %v, want 2 created after 2s, 5 after 4s, and at the end %v", told, report)
		}
		if s := report.String(); s != "6 seen: 0 present, 6 created, 0 failed, in 4.2s" {
			t.Errorf("the report is %q", s)
		}

		// While it waits for the rate, and by default every second.
		told = nil
		_, _ = decorate.Warm(ctx, f, func(yield func(int64) bool) { _ = yield(10) && yield(11) }, decorate.WarmOptions{Rate: 0.1, Progress: progress})
		if len(told) != 11 {
			t.Errorf("told %d times in 10.7s, want 11", len(told))
		}

		// When nothing has to be created.
		told = nil
		report, err = decorate.Warm(ctx, f, func(yield func(int64) bool) {
			for i := range int64(20) {
				time.Sleep(300 * time.Millisecond)
				if !yield(i % 6) {
					return
				}
			}
		}, decorate.WarmOptions{Progress: progress})
		reported(t, report, err, 20, 20, 0, 0, 0)
		if len(told) < 5 || len(told) > 7 {
			t.Errorf("told %d times in 6s of looking up, want about 6", len(told))
		}

		// And when nothing was done.
		told = nil
		report, err = decorate.Warm(ctx, f, upTo(0), decorate.WarmOptions{Progress: progress})
		reported(t, report, err, 0, 0, 0, 0, 0)
		if len(told) != 1 || !told[0].Done {
			t.Errorf("told %v of nothing, want the last report", told)
		}
	})
}

// What comes slowly is created while it comes.
func TestWarmDoesNotWaitForASlowIterator(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		created := map[int64]time.Duration{}
		began := time.Now()
		f := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int64) (map[int64]int64, error) {
			values := map[int64]int64{}
			for _, id := range ids {
				created[id], values[id] = time.Since(began), id
			}
			return values, nil
		}, region.Namespace("f"))
		report, err := decorate.Warm(ctx, f, func(yield func(int64) bool) {
			for i := range int64(10) {
				time.Sleep(time.Minute)
				if !yield(i) {
					return
				}
			}
		}, decorate.WarmOptions{Concurrency: 1})
		reported(t, report, err, 10, 0, 10, 0, 0)
		for id, at := range created {
			if late := at - time.Duration(id+1)*time.Minute; late > time.Minute {
				t.Errorf("%d was created %v after it came, want one more argument at most", id, late)
			}
		}
	})
}

func TestWarmCreatesDuplicatesOnce(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r, db := t.Context(), openRegion(t, "test", cfg), &database{}
		f := decorate.CacheOnArguments(r, func(ctx context.Context, id int64) (string, error) {
			time.Sleep(time.Second)
			return db.load(ctx, id)
		}, region.Namespace("f"))
		g := decorate.CacheMultiOnArguments(r, func(ctx context.Context, ids []int64) (map[int64]string, error) {
			values := map[int64]string{}
			for _, id := range ids {
				values[id], _ = f.Original(ctx, id)
			}
			return values, nil
		}, region.Namespace("g"))
		for _, warmable := range []decorate.Warmable[int64]{f, g} {
			db.queries.Store(0)
			report, err := decorate.Warm(ctx, warmable, func(yield func(int64) bool) {
				for i := range int64(100) {
					if !yield(i % 5) {
						return
					}
				}
			}, decorate.WarmOptions{BatchSize: 7, Concurrency: 3})
			reported(t, report, err, 100, 95, 5, 0, 0)
			if n := db.queries.Load(); n != 5 {
				t.Errorf("%d queries for 5 different arguments", n)
			}
		}
	})
}

// What waits for others to be created with is known when it comes again.
func TestWarmCreatesDuplicatesOnceInBatches(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		var asked []int64
		f := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int64) (map[int64]int64, error) {
			asked = append(asked, ids...)
			values := map[int64]int64{}
			for _, id := range ids {
				values[id] = id
			}
			return values, nil
		}, region.Namespace("f"))
		for id := range int64(2) {
			_ = f.Set(ctx, map[int64]int64{id: id})
		}
		report, err := decorate.Warm(ctx, f, slices.Values([]int64{0, 1, 2, 3, 2, 4, 5, 3, 6}), decorate.WarmOptions{BatchSize: 4, Concurrency: 1})
		reported(t, report, err, 9, 4, 5, 0, 0)
		if want := "[2 3 4 5 6]"; fmt.Sprint(asked) != want {
			t.Errorf("asked for %v, want %v", asked, want)
		}
	})
}

func TestWarmGoesOnAfterFailures(t *testing.T) {
	boom := errors.New("boom")
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		cfg.NotFoundFor = time.Minute
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
			switch id {
			case 1:
				return 0, boom
			case 2:
				panic("whoops")
			case 3:
				return 0, fmt.Errorf("row 3: %w", region.ErrNotFound)
			}
			return id, nil
		}, region.Namespace("f"))
		for _, gone := range []int64{1, 0} {
			report, err := decorate.Warm(ctx, f, upTo(6), decorate.WarmOptions{Concurrency: 1})
			reported(t, report, err, 6, 4-4*gone, 3*gone, gone, 2)
			if gone == 0 && report.Present != 4 {
				t.Errorf("%d present, want also what is remembered as not found", report.Present)
			}
			var warm *decorate.WarmError
			var panicked *region.PanicError
			if !errors.As(err, &warm) || !errors.Is(err, boom) || !errors.As(err, &panicked) || panicked.Value != "whoops" {
				t.Fatalf("%v; want a WarmError with both failures", err)
			}
			if warm.Cause != nil || warm.Report != report || len(warm.Failures) != 2 {
				t.Errorf("%+v; want no Cause, the report and two failures", warm)
			}
			if fail := warm.Failures[0]; fail.Arg != int64(1) || fail.Key != "f(int64(1))" || !errors.Is(fail.Err, boom) {
				t.Errorf("the first failure is %+v", fail)
			}
			if text := err.Error(); !strings.Contains(text, "2 failed") || !strings.Contains(text, `key "f(int64(1))": boom`) {
				t.Errorf("the error is %q", text)
			}
		}
	})
}

func TestWarmKeepsFewFailures(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		f := decorate.CacheOnArguments(r, func(_ context.Context, id int64) (int64, error) {
			return 0, errors.New("no")
		}, region.Namespace("f"))
		g := decorate.CacheMultiOnArguments(r, func(context.Context, []int64) (map[int64]int64, error) { return nil, errors.New("no") }, region.Namespace("g"))
		for _, warmable := range []decorate.Warmable[int64]{f, g} {
			for _, o := range []struct{ set, want int }{{0, 10}, {3, 3}, {2000, 1000}} {
				report, err := decorate.Warm(ctx, warmable, upTo(1000), decorate.WarmOptions{MaxErrors: o.set})
				reported(t, report, err, 1000, 0, 0, 0, 1000)
				var warm *decorate.WarmError
				if !errors.As(err, &warm) || len(warm.Failures) != o.want {
					t.Errorf("MaxErrors %d: %d failures are kept, want %d", o.set, len(warm.Failures), o.want)
				}
				if n := len(err.Error()); n > 1000 {
					t.Errorf("the error has %d bytes", n)
				}
			}
		}
	})
}

// What the user's tags do while a value is created fails for itself.
func TestWarmWithTagsThatExit(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		r, db := openRegion(t, "test", cfg), &database{}
		var asked atomic.Int64
		f := decorate.CacheOnArguments(r, db.load, region.WithTagsFunc(func(id int64) []string {
			if id == 1 && asked.Add(1)%2 == 0 {
				runtime.Goexit()
			}
			return nil
		}))
		report, err := decorate.Warm(t.Context(), f, upTo(3), decorate.WarmOptions{})
		reported(t, report, err, 3, 0, 2, 0, 1)
		if !errors.Is(err, region.ErrCreatorExited) {
			t.Errorf("%v; want ErrCreatorExited", err)
		}
	})
}

// What they panic with is told.
func TestWarmWithTagsThatPanic(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r, db := t.Context(), openRegion(t, "test", cfg), &database{}
		var asked atomic.Int64
		tags := region.WithTagsFunc(func(id int64) []string {
			if id == 1 && asked.Add(1)%2 == 0 {
				panic("whoops")
			}
			return nil
		})
		f := decorate.CacheOnArguments(r, db.load, tags)
		g := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int64) (map[int64]int, error) {
			return map[int64]int{ids[0]: 1}, nil
		}, tags, region.Namespace("g"))
		for _, warmable := range []decorate.Warmable[int64]{f, g} {
			report, err := decorate.Warm(ctx, warmable, upTo(3), decorate.WarmOptions{Rate: 1})
			reported(t, report, err, 3, 0, 2, 0, 1)
			var panicked *region.PanicError
			if !errors.As(err, &panicked) {
				t.Errorf("%v; want a PanicError", err)
			}
		}
	})
}

// Arguments that cannot be part of a key fail for themselves.
func TestWarmWithArgumentsThatCannotBeKeys(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r := t.Context(), openRegion(t, "test", cfg)
		f := decorate.CacheOnArguments(r, func(context.Context, any) (int, error) { return 1, nil }, region.Namespace("f"))
		report, err := decorate.Warm(ctx, f, slices.Values([]any{1, func() {}, "a"}), decorate.WarmOptions{})
		reported(t, report, err, 3, 0, 2, 0, 1)
		if !errors.Is(err, region.ErrConfig) {
			t.Errorf("%v; want what is wrong with the key", err)
		}
	})
}

func TestWarmOfADisabledRegion(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		cfg.Disabled = true
		f := decorate.CacheOnArguments(openRegion(t, "test", cfg), func(context.Context, int64) (int, error) {
			t.Error("the function is called")
			return 1, nil
		}, region.Namespace("f"))
		told := 0
		report, err := decorate.Warm(t.Context(), f, upTo(3), decorate.WarmOptions{Progress: func(decorate.WarmReport) { told++ }})
		reported(t, report, err, 0, 0, 0, 0, 0)
		if told != 1 {
			t.Errorf("Progress was told %d times, want once", told)
		}
	})
}

func TestWarmWithBadInput(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg region.Config, p *tap) {
		ctx, r, db := t.Context(), openRegion(t, "test", cfg), &database{}
		f := decorate.CacheOnArguments(r, db.load)
		keyed := decorate.CacheOnArguments(r, db.load, region.WithKey(func(id int64) string { return fmt.Sprint(id) }))
		var none *decorate.Func[int64, string]
		taken := decorate.CacheOnArguments(r, db.load, region.Namespace("taken"))
		if _, err := taken.Call(ctx, 1); err != nil {
			t.Fatal(err)
		}
		never := func(func(int64) bool) { t.Error("the iterator is used") }
		nan := 0.0
		nan /= nan
		for what, warm := range map[string]struct {
			f    decorate.Warmable[int64]
			args iter.Seq[int64]
			opts decorate.WarmOptions
			want string
		}{
			"Concurrency":   {f, never, decorate.WarmOptions{Concurrency: -1}, "Concurrency is -1"},
			"Rate":          {f, never, decorate.WarmOptions{Rate: -1}, "Rate is -1"},
			"Rate NaN":      {f, never, decorate.WarmOptions{Rate: nan}, "Rate is NaN"},
			"BatchSize":     {f, never, decorate.WarmOptions{BatchSize: -1}, "BatchSize is -1"},
			"MaxErrors":     {f, never, decorate.WarmOptions{MaxErrors: -1}, "MaxErrors is -1"},
			"ProgressEvery": {f, never, decorate.WarmOptions{ProgressEvery: -1}, "ProgressEvery is -1"},
			"nil args":      {f, nil, decorate.WarmOptions{}, "args is nil"},
			"nil function":  {nil, never, decorate.WarmOptions{}, "not wrapped"},
			"nil Func":      {none, never, decorate.WarmOptions{}, "not wrapped"},
			"zero Func":     {&decorate.Func[int64, string]{}, never, decorate.WarmOptions{}, "not wrapped"},
			"zero Multi":    {&decorate.MultiFunc[int64, string]{}, never, decorate.WarmOptions{}, "not wrapped"},
			"bad wrapping":  {decorate.CacheOnArguments(r, func(context.Context, int64) (int, error) { return 1, nil }), never, decorate.WarmOptions{}, "region.Namespace"},
			"same name":     {decorate.CacheOnArguments(r, db.load, region.Namespace("taken")), never, decorate.WarmOptions{}, "key space"},
			"no name":       {keyed, never, decorate.WarmOptions{}, "WarmOptions.Name"},
		} {
			report, err := decorate.Warm(ctx, warm.f, warm.args, warm.opts)
			if !errors.Is(err, region.ErrConfig) || !strings.Contains(err.Error(), warm.want) || !report.Done {
				t.Errorf("%s: %v, %v; want ErrConfig and %q", what, report, err, warm.want)
			}
		}
		report, err := decorate.Warm(ctx, keyed, upTo(2), decorate.WarmOptions{Name: "rows"})
		reported(t, report, err, 2, 0, 2, 0, 0)

		other := decorate.CacheOnArguments(region.Declare("never configured"), db.load, region.Namespace("f"))
		if _, err := decorate.Warm(ctx, other, never, decorate.WarmOptions{}); !errors.Is(err, region.ErrConfig) {
			t.Errorf("a region with a bad name: %v", err)
		}
		other = decorate.CacheOnArguments(region.Declare("never-configured"), db.load, region.Namespace("f"))
		if _, err := decorate.Warm(ctx, other, never, decorate.WarmOptions{}); !errors.Is(err, region.ErrNotConfigured) {
			t.Errorf("a region that is not configured: %v", err)
		}
	})
}
