package region_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

func TestNoCallTakesLongerThanMaxWait(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.MaxWait = time.Second
		r, c := open(t, cfg), blocking()
		began := time.Now()
		_, err := region.GetOrCreate(t.Context(), r, "k", c.create)
		if !errors.Is(err, region.ErrMaxWait) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v; want ErrMaxWait after 1s", err, time.Since(began))
		}
	})
}

func TestACycleOfCreatorsEndsAtMaxWait(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.MaxWait = time.Second
		r := open(t, cfg)
		both := make(chan struct{}, 2)
		ask := func(own, theirs string) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := region.GetOrCreate(t.Context(), r, own, func(ctx context.Context) (string, error) {
					both <- struct{}{}
					for len(both) < 2 {
						time.Sleep(time.Millisecond)
					}
					return region.GetOrCreate(ctx, r, theirs, counting().create)
				})
				done <- err
			}()
			return done
		}
		a, b := ask("a", "b"), ask("b", "a")
		if err := <-a; !errors.Is(err, region.ErrMaxWait) {
			t.Errorf("a got %v, want ErrMaxWait", err)
		}
		if err := <-b; !errors.Is(err, region.ErrMaxWait) {
			t.Errorf("b got %v, want ErrMaxWait", err)
		}
	})
}

func TestWritesEndAtMaxWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.MaxWait = time.Second
		slow := &slowBackend{}
		cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { slow.Backend = b; return slow })
		r := open(t, cfg)
		slow.on.Store(true)
		for what, err := range map[string]error{"Set": region.Set(t.Context(), r, "k", "v"), "Delete": r.Delete(t.Context(), "k")} {
			if !errors.Is(err, region.ErrMaxWait) {
				t.Errorf("%s = %v, want ErrMaxWait", what, err)
			}
		}
		if s := r.Stats(); s.Errors != 0 {
			t.Errorf("%d failures of the backend were counted", s.Errors)
		}
		slow.on.Store(false)
	})
}

// A caller whose context ends while the backend is asked whether anything was
// invalidated gets that end, and no value that was not proved.
func TestTheDeadlineEndsTheQuestionToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		by := open(t, cfg)
		failure := errors.New("blip")
		slow := &slowBackend{}
		cfg.Wrap = append(cfg.Wrap,
			func(b backend.Backend) backend.Backend { slow.Backend = b; return slow },
			probing(&probe{fail: func(op string) error {
				if op == "set" {
					slow.on.Store(true) // from now on Get hangs
					return failure
				}
				return nil
			}}))
		r, old := open(t, cfg), blocking()
		before := herd(t, 1, r, "k", old)
		if err := by.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		after := background(ctx, r, "k", counting())
		synctest.Wait()
		old.release()
		allGot(t, before, "v1")
		if a := <-after; !errors.Is(a.err, context.DeadlineExceeded) {
			t.Errorf("who came after the Delete got %q, %v; want its deadline", a.value, a.err)
		}
		slow.on.Store(false)
	})
}
