package region_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

func TestABackendThatFailsIsAMiss(t *testing.T) {
	failure := errors.New("connection refused")
	eachKind(t, func(t *testing.T, cfg region.Config) {
		var down atomic.Bool
		down.Store(true)
		rec := &recorder{}
		cfg.Observer = rec
		cfg.Wrap = append(cfg.Wrap, probing(&probe{fail: func(op string) error {
			if down.Load() {
				return failure
			}
			return nil
		}}))
		r, c := open(t, cfg), blocking()
		calls := herd(t, 50, r, "k", c)
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
		if len(rec.backendErrors) == 0 || r.Stats().Errors == 0 {
			t.Error("nobody was told")
		}

		ctx := t.Context()
		_, ok, get := region.Get[string](ctx, r, "k")
		if ok {
			t.Error("Get says ok")
		}
		_, getm := region.GetMulti[string](ctx, r, []string{"a", "b"})
		for what, err := range map[string]error{
			"Get": get, "GetMulti": getm, "Set": region.Set(ctx, r, "k", "v"), "Delete": r.Delete(ctx, "k"),
			"Invalidate": r.Invalidate(ctx, region.Soft),
		} {
			if !errors.Is(err, failure) {
				t.Errorf("%s = %v, want the failure", what, err)
			}
		}
		mustMulti(t, r, []string{"a", "b"}, &loader{}, values("a", "b"))
		down.Store(false)
		time.Sleep(time.Minute) // the invalidations are made up for
		must(t, r, "k", counting(), "v1")
		holds(t, r, "k", "v1")
	})
}

func TestAValueIsReturnedThoughStoringItFails(t *testing.T) {
	failure := errors.New("out of memory")
	for _, failing := range []string{"set", "acquire", "get", "wait"} {
		t.Run(failing, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				holder, held := open(t, cfg), blocking()
				cfg.Wrap = append(cfg.Wrap, probing(&probe{fail: func(op string) error {
					if op == failing {
						return failure
					}
					return nil
				}}))
				r, c := open(t, cfg), counting()
				c.value = func(int64) (string, error) { time.Sleep(time.Second); return "v", nil }
				if failing == "wait" {
					calls := herd(t, 1, holder, "k", held)
					defer func() { held.release(); allGot(t, calls, "v1") }()
				}
				allGot(t, herd(t, 20, r, "k", c), "v")
				// Those who came after the creator had begun could not be shown that
				// nothing was invalidated meanwhile: they share another one.
				if n := c.calls.Load(); n > 2 {
					t.Errorf("the creator ran %d times for 20 callers, want 2 at most", n)
				}
			})
		})
	}
}

func TestAValueIsReturnedThoughStoringItPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "set" {
				panic("proxy")
			}
		}}))
		r := open(t, cfg)
		v, err := region.GetOrCreate(t.Context(), r, "k", counting().create)
		if err != nil {
			t.Errorf("%q, %.80q", v, err.Error())
		}
	})
}
