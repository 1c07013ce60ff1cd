package region_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

// loader is the creator of batches: it returns "v:" + key for each and remembers
// what it was asked for.
type loader struct {
	mu    sync.Mutex
	calls [][]string
	gate  chan struct{}
	load  func(missing []string) (map[string]string, error)
}

func (l *loader) create(ctx context.Context, missing []string) (map[string]string, error) {
	l.mu.Lock()
	l.calls = append(l.calls, slices.Sorted(slices.Values(missing)))
	l.mu.Unlock()
	if l.gate != nil {
		select {
		case <-l.gate:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if l.load != nil {
		return l.load(missing)
	}
	return values(missing...), nil
}

func values(keys ...string) map[string]string {
	m := make(map[string]string)
	for _, key := range keys {
		m[key] = "v:" + key
	}
	return m
}

func (l *loader) want(t *testing.T, calls ...[]string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if fmt.Sprint(l.calls) != fmt.Sprint(calls) {
		t.Errorf("the creator was asked for %v, want %v", l.calls, calls)
	}
}

func mustMulti(t *testing.T, r *region.Region, keys []string, l *loader, want map[string]string, opts ...region.CallOption) {
	t.Helper()
	got, err := region.GetOrCreateMulti(t.Context(), r, keys, l.create, opts...)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("GetOrCreateMulti(%q) = %v, %v; want %v", keys, got, err, want)
	}
}

func TestABatchIsOneReadAndOneCreatorForWhatIsMissing(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		reads := 0
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "get" {
				reads++
			}
		}}))
		r, l := open(t, cfg), &loader{}
		mustMulti(t, r, []string{"a", "b"}, l, values("a", "b"))
		mustMulti(t, r, []string{"c", "a", "c", "b", "a"}, l, values("a", "b", "c"))
		mustMulti(t, r, nil, l, values())
		l.want(t, []string{"a", "b"}, []string{"c"})
		if reads != 2 {
			t.Errorf("%d reads, want 2", reads)
		}
	})
}

func TestABatchSharesTheFlightsOfSingleKeysAndOtherBatches(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, other := open(t, cfg), open(t, cfg)
		single, first, second := blocking(), &loader{gate: make(chan struct{})}, &loader{}
		one := herd(t, 1, r, "a", single)

		results := make(chan map[string]string, 3)
		batch := func(r *region.Region, l *loader, keys ...string) {
			go func() {
				m, err := region.GetOrCreateMulti(t.Context(), r, keys, l.create)
				if err != nil {
					t.Error(err)
				}
				results <- m
			}()
			synctest.Wait()
		}
		batch(r, first, "a", "b", "c")
		batch(r, second, "b", "d", "a")
		batch(other, second, "e", "c", "d", "a") // as from another process
		first.want(t, []string{"b", "c"})
		second.want(t, []string{"d"}, []string{"e"})

		single.release()
		close(first.gate)
		allGot(t, one, "v1")
		for range 3 {
			m := <-results
			for key, value := range m {
				if want := "v:" + key; value != want && !(key == "a" && value == "v1") {
					t.Errorf("%q has %q", key, value)
				}
			}
		}
		single.want(t, 1)
		first.want(t, []string{"b", "c"})
		second.want(t, []string{"d"}, []string{"e"})
	})
}

func TestASingleCallSharesTheFlightOfABatch(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, l, c := open(t, cfg), &loader{gate: make(chan struct{})}, counting()
		done := make(chan error, 1)
		go func() {
			_, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, l.create)
			done <- err
		}()
		synctest.Wait()
		calls := herd(t, 10, r, "b", c)
		close(l.gate)
		allGot(t, calls, "v:b")
		c.want(t, 0)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestOverlappingBatchesInOppositeOrderDoNotDeadlock(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.MaxWait = time.Minute
		var wg sync.WaitGroup
		l := &loader{}
		keys := strings.Split("abcdefghij", "")
		for i := range 8 {
			r := open(t, cfg)
			for j := range 8 {
				mine := slices.Clone(keys[(i+j)%5:])
				if (i+j)%2 == 0 {
					slices.Reverse(mine)
				}
				wg.Go(func() {
					got, err := region.GetOrCreateMulti(t.Context(), r, mine, l.create)
					if err != nil || !maps.Equal(got, values(mine...)) {
						t.Errorf("got %v, %v", got, err)
					}
				})
			}
		}
		wg.Wait()
		created := map[string]int{}
		for _, call := range l.calls {
			for _, key := range call {
				created[key]++
			}
		}
		for key, n := range created {
			if n != 1 {
				t.Errorf("%q was created %d times", key, n)
			}
		}
	})
}

func TestACreatorThatReturnsOtherKeysIsAnError(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = time.Minute
		r := open(t, cfg)
		l := &loader{load: func([]string) (map[string]string, error) { return values("a", "x"), nil }}
		got, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b", "c"}, l.create)
		var wrong *region.BatchError
		if !errors.As(err, &wrong) || !errors.Is(err, region.ErrWrongKeys) {
			t.Fatalf("got %v, want a BatchError", err)
		}
		if !slices.Equal(wrong.Missing, []string{"b", "c"}) || !slices.Equal(wrong.Unexpected, []string{"x"}) {
			t.Errorf("missing %q, unexpected %q; want b and c, x", wrong.Missing, wrong.Unexpected)
		}
		if !strings.Contains(err.Error(), "AllowMissing") {
			t.Errorf("%q does not say what to do", err)
		}
		if !maps.Equal(got, values("a")) {
			t.Errorf("got %v beside the error, want what there is", got)
		}
		holds(t, r, "a", "v:a")
		holds(t, r, "x", "")
		must(t, r, "b", counting(), "v1") // that it was left out was a mistake, not an answer
	})
}

func TestKeysMayBeMissing(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = time.Second
		r := open(t, cfg)
		l := &loader{load: func(missing []string) (map[string]string, error) {
			if slices.Contains(missing, "a") {
				return values("a"), nil
			}
			return nil, nil
		}}
		for range 2 {
			mustMulti(t, r, []string{"a", "b"}, l, values("a"), region.AllowMissing())
		}
		l.want(t, []string{"a", "b"}) // the second call remembers that there is no b
		time.Sleep(1500 * time.Millisecond)
		mustMulti(t, r, []string{"a", "b"}, l, values("a"), region.AllowMissing())
		l.want(t, []string{"a", "b"}, []string{"b"})
	})
}

func TestASingleCallDoesNotTakeAMissingKeyForAnAnswer(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		l := &loader{gate: make(chan struct{}), load: func([]string) (map[string]string, error) { return nil, nil }}
		go region.GetOrCreateMulti(t.Context(), r, []string{"a"}, l.create)
		synctest.Wait()
		calls := herd(t, 3, r, "a", counting())
		close(l.gate)
		allGot(t, calls, "v1")
	})
}

func TestAFailedBatchReturnsWhatThereIs(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		failure := errors.New("down")
		mustMulti(t, r, []string{"a"}, &loader{}, values("a"))
		got, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b", "c"}, func(context.Context, []string) (map[string]string, error) {
			return nil, failure
		})
		if !errors.Is(err, failure) || !maps.Equal(got, values("a")) {
			t.Errorf("got %v, %v; want a and the failure", got, err)
		}
		mustMulti(t, r, []string{"a", "b", "c"}, &loader{}, values("a", "b", "c"))
	})
}

func TestABatchServesStaleValuesWhileTheyAreCreated(t *testing.T) {
	for _, refresh := range []region.Refresh{region.Foreground, region.Background} {
		eachKind(t, func(t *testing.T, cfg region.Config) {
			cfg.Refresh = refresh
			r, other := open(t, cfg), open(t, cfg)
			mustMulti(t, r, []string{"a", "b"}, &loader{}, values("a", "b"))
			time.Sleep(2 * time.Minute)
			l := &loader{gate: make(chan struct{}), load: func(missing []string) (map[string]string, error) {
				m := map[string]string{}
				for _, key := range missing {
					m[key] = "new:" + key
				}
				return m, nil
			}}
			winner := make(chan map[string]string, 1)
			go func() {
				m, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, l.create)
				if err != nil {
					t.Error(err)
				}
				winner <- m
			}()
			synctest.Wait()
			for _, r := range []*region.Region{r, other} {
				mustMulti(t, r, []string{"a", "b"}, l, values("a", "b"))
			}
			l.want(t, []string{"a", "b"})
			close(l.gate)
			want := map[string]string{"a": "new:a", "b": "new:b"}
			if refresh == region.Background {
				want = values("a", "b")
			}
			if got := <-winner; !maps.Equal(got, want) {
				t.Errorf("the winner got %v, want %v", got, want)
			}
			synctest.Wait()
			holds(t, r, "a", "new:a")
		})
	}
}

func TestABatchIsCancelledWhenNobodyWaitsForAnyOfIt(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		create := func(ctx context.Context, missing []string) (map[string]string, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		}
		done := make(chan error, 1)
		go func() {
			_, err := region.GetOrCreateMulti(ctx, r, []string{"a", "b"}, create)
			done <- err
		}()
		synctest.Wait()
		single, leave := context.WithCancel(t.Context())
		one := background(single, r, "b", counting())
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the batch got %v", err)
		}
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("the creator was cancelled (%v) though somebody waits for b", err)
		default:
		}
		leave()
		if a := <-one; !errors.Is(a.err, context.Canceled) {
			t.Errorf("the single caller got %v", a.err)
		}
		if err := <-ended; !errors.Is(err, region.ErrAbandoned) {
			t.Errorf("the creator's cause is %v, want ErrAbandoned", err)
		}
		mustMulti(t, r, []string{"a", "b"}, &loader{}, values("a", "b"))
	})
}

func TestGetMultiAndSetMulti(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		if err := region.SetMulti(t.Context(), r, values("a", "b")); err != nil {
			t.Fatal(err)
		}
		got, err := region.GetMulti[string](t.Context(), r, []string{"a", "x", "b", "a"})
		if err != nil || !maps.Equal(got, values("a", "b")) {
			t.Errorf("got %v, %v", got, err)
		}
		for _, keys := range [][]string{nil, {}} {
			if got, err := region.GetMulti[string](t.Context(), r, keys); err != nil || got == nil || len(got) != 0 {
				t.Errorf("GetMulti of no keys = %v, %v", got, err)
			}
		}
		if err := r.Delete(t.Context(), "a", "b", "x"); err != nil {
			t.Fatal(err)
		}
		if got, _ := region.GetMulti[string](t.Context(), r, []string{"a", "b"}); len(got) != 0 {
			t.Errorf("%v is left", got)
		}
	})
}

func TestTheCreatorOfABatchMayDoWhatItLikesWithItsKeys(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		rec := &recorder{}
		cfg.Observer = rec
		r := open(t, cfg)
		got, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, func(_ context.Context, missing []string) (map[string]string, error) {
			m := values(missing...)
			clear(missing)
			return m, nil
		})
		if err != nil || !maps.Equal(got, values("a", "b")) {
			t.Errorf("got %v, %v", got, err)
		}
		if keys := rec.creations[0].Keys; !slices.Equal(keys, []string{"a", "b"}) {
			t.Errorf("the event says %q", keys)
		}
	})
}
