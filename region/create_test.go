package region_test

import (
	"context"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/null"
	"github.com/dogpile-go/dogpile/region"
)

func TestAFreshValueIsReturnedWithoutItsCreator(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		time.Sleep(time.Minute)
		must(t, r, "k", c, "v1")
		c.want(t, 1)
	})
}

func TestAHerdOnAColdKeyIsOneCreation(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		calls := herd(t, 200, r, "k", c)
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
		if s := r.Stats(); s.Misses != 200 || s.Waits != 199 || s.Creations != 1 {
			t.Errorf("stats %+v; want 200 misses, 199 waits, 1 creation", s)
		}
	})
}

func TestTheNullBackendStillCoalesces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, c := open(t, region.Config{Backend: null.New(), Expiration: time.Minute}), blocking()
		calls := herd(t, 200, r, "k", c)
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
		must(t, r, "k", c, "v2") // nothing was stored
	})
}

// Two regions of one name over one backend stand for two processes.
func TestAFleetIsOneCreation(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		c := blocking()
		var calls []<-chan answer
		var fleet []*region.Region
		for range 8 {
			fleet = append(fleet, open(t, cfg))
		}
		for _, r := range fleet {
			calls = append(calls, herd(t, 50, r, "k", c)...)
		}
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
	})
}

func TestWhoeverGetsTheLeaseLooksAgain(t *testing.T) {
	for name, age := range map[string]time.Duration{"cold": 0, "stale": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				first, c := open(t, cfg), counting()
				if age > 0 {
					must(t, first, "k", c, "v1")
					time.Sleep(age)
					c.calls.Store(0)
				}
				// The second process has seen that it must create, and is on its
				// way to the lease while the first creates and publishes.
				p := &probe{before: func(op string) {
					if op == "acquire" {
						must(t, first, "k", c, "v1")
					}
				}}
				cfg.Wrap = append(cfg.Wrap, probing(p))
				second := open(t, cfg)
				must(t, second, "k", c, "v1")
				c.want(t, 1)
			})
		})
	}
}

func TestNilAndZeroAreValues(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		calls := 0
		for range 2 {
			p, err := region.GetOrCreate(t.Context(), r, "pointer", func(context.Context) (*int, error) { calls++; return nil, nil })
			if p != nil || err != nil {
				t.Errorf("got %v, %v; want nil, nil", p, err)
			}
			e, err := region.GetOrCreate(t.Context(), r, "interface", func(context.Context) (any, error) { calls++; return nil, nil })
			if e != nil || err != nil {
				t.Errorf("got %v, %v; want nil, nil", e, err)
			}
			n, err := region.GetOrCreate(t.Context(), r, "zero", func(context.Context) (int, error) { calls++; return 0, nil })
			if n != 0 || err != nil {
				t.Errorf("got %v, %v; want 0, nil", n, err)
			}
		}
		if calls != 3 {
			t.Errorf("the creators ran %d times, want 3", calls)
		}
		if p, ok, err := region.Get[*int](t.Context(), r, "pointer"); p != nil || !ok || err != nil {
			t.Errorf("Get = %v, %v, %v; want nil, true", p, ok, err)
		}
	})
}
