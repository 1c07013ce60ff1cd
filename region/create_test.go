package region_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
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

func TestAStaleValueIsServedWhileOneCallerCreates(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, other := open(t, cfg), open(t, cfg)
		must(t, r, "k", counting(), "v1")
		time.Sleep(2 * time.Minute)

		c := blocking()
		winner := herd(t, 1, r, "k", c)
		for _, r := range []*region.Region{r, other} {
			allGot(t, herd(t, 50, r, "k", c), "v1") // at once: nothing is released yet
		}
		c.want(t, 1)
		c.release()
		allGot(t, winner, "v1") // the creator's first value, which is the new one
		if s := r.Stats(); s.StaleHits != 50 {
			t.Errorf("%d stale hits, want 50", s.StaleHits)
		}
		if s := other.Stats(); s.StaleHits != 50 {
			t.Errorf("%d stale hits in the other process, want 50", s.StaleHits)
		}
	})
}

func TestTheWinnerWaitsInTheForeground(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		time.Sleep(2 * time.Minute)
		must(t, r, "k", c, "v2")
	})
}

func TestNobodyWaitsForARefreshInTheBackground(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.Refresh = region.Background
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		time.Sleep(2 * time.Minute)

		c := blocking()
		c.value = func(int64) (string, error) { return "new", nil }
		ctx, cancel := context.WithCancel(t.Context())
		if got, err := region.GetOrCreate(ctx, r, "k", c.create); got != "v1" || err != nil {
			t.Fatalf("got %q, %v; want the stale value at once", got, err)
		}
		cancel() // the creation does not hang on its caller
		synctest.Wait()
		must(t, r, "k", c, "v1")
		c.release()
		synctest.Wait()
		must(t, r, "k", c, "new")
		c.want(t, 1)
	})
}

func TestADeadValueIsNotServed(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.StaleFor = time.Minute
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		time.Sleep(2*time.Minute + time.Second)
		c := blocking()
		c.value = func(int64) (string, error) { return "new", nil }
		calls := herd(t, 20, r, "k", c)
		c.release()
		allGot(t, calls, "new")
		c.want(t, 1)
	})
}

func TestStaleForDefaultsToExpirationAndCanBeNone(t *testing.T) {
	for name, test := range map[string]struct {
		staleFor  time.Duration
		age       time.Duration
		wantStale bool
	}{
		"default, within":       {0, 2 * time.Minute, true},
		"default, beyond":       {0, 2*time.Minute + 1, false},
		"none":                  {region.NoStale, time.Minute + 1, false},
		"for ever":              {region.Forever, 10 * time.Hour, true},
		"none, but still fresh": {region.NoStale, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				cfg.StaleFor = test.staleFor
				r := open(t, cfg)
				must(t, r, "k", counting(), "v1")
				time.Sleep(test.age)
				_, fresh, _ := region.Get[string](t.Context(), r, "k")
				_, found, err := region.Get[string](t.Context(), r, "k", region.AllowStale())
				if err != nil || found && !fresh != test.wantStale {
					t.Errorf("fresh=%v, found=%v, %v; want stale=%v", fresh, found, err, test.wantStale)
				}
			})
		})
	}
}

func TestTheCallersContextDoesNotEndTheCreator(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		ctx, cancel := context.WithCancel(t.Context())
		leader := background(ctx, r, "k", c)
		synctest.Wait()
		follower := background(t.Context(), r, "k", c)
		synctest.Wait()
		cancel()
		if a := <-leader; !errors.Is(a.err, context.Canceled) {
			t.Errorf("the leader got %q, %v; want its own cancellation", a.value, a.err)
		}
		c.release()
		if a := <-follower; a.value != "v1" || a.err != nil {
			t.Errorf("the follower got %q, %v; want v1", a.value, a.err)
		}
		c.want(t, 1)
		holds(t, r, "k", "v1")
	})
}

func TestTheLastWaiterToLeaveEndsTheCreator(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		ended := make(chan error, 1)
		create := func(ctx context.Context) (string, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return "", ctx.Err()
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("too slow for me"))
		defer cancel()
		_, err := region.GetOrCreate(ctx, r, "k", create)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "too slow for me") {
			t.Errorf("got %v; want the deadline and its cause", err)
		}
		if cause := <-ended; !errors.Is(cause, region.ErrAbandoned) {
			t.Errorf("the creator's context ended because of %v, want ErrAbandoned", cause)
		}
		must(t, r, "k", c, "v1") // the lease is free
	})
}

type traceKey struct{}

func TestTheCreatorSeesTheCallersValues(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		ctx := context.WithValue(t.Context(), traceKey{}, "trace-1")
		got, err := region.GetOrCreate(ctx, r, "k", func(ctx context.Context) (string, error) {
			return ctx.Value(traceKey{}).(string), nil
		})
		if got != "trace-1" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestAPanicReachesEveryWaiter(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		broken := errors.New("broken")
		c.value = func(int64) (string, error) { panic(broken) }
		calls := herd(t, 10, r, "k", c)
		c.release()
		for _, call := range calls {
			a := <-call
			var p *region.PanicError
			if !errors.As(a.err, &p) || p.Value != broken || !errors.Is(a.err, broken) {
				t.Fatalf("got %v; want a PanicError of %v", a.err, broken)
			}
			if !strings.Contains(string(p.Stack), "create_test.go") {
				t.Errorf("the stack does not show where it panicked:\n%s", p.Stack)
			}
		}
		c.want(t, 1)
		must(t, r, "k", counting(), "v1")
	})
}

func TestGoexitReachesEveryWaiter(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		c.value = func(int64) (string, error) { runtime.Goexit(); return "", nil }
		calls := herd(t, 10, r, "k", c)
		c.release()
		for _, call := range calls {
			if a := <-call; !errors.Is(a.err, region.ErrCreatorExited) {
				t.Fatalf("got %v; want ErrCreatorExited", a.err)
			}
		}
		c.want(t, 1)
		must(t, r, "k", counting(), "v1")
	})
}

func TestAnErrorReachesEveryWaiterAndIsNotStored(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		failure := errors.New("the database is down")
		c.value = func(int64) (string, error) { return "", failure }
		calls := herd(t, 10, r, "k", c)
		c.release()
		for _, call := range calls {
			if a := <-call; !errors.Is(a.err, failure) {
				t.Fatalf("got %v; want the creator's error", a.err)
			}
		}
		c.want(t, 1)
		must(t, r, "k", counting(), "v1")
		if s := r.Stats(); s.FailedCreations != 1 || s.Creations != 1 {
			t.Errorf("stats %+v; want one failed and one good creation", s)
		}
	})
}

func TestACreatorThatHangsIsGivenUp(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.CreateTimeout = time.Second
		r := open(t, cfg)
		hang := make(chan struct{}) // it ignores its context
		began := time.Now()
		_, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
			<-hang
			return "late", nil
		})
		if !errors.Is(err, region.ErrCreateTimeout) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v; want ErrCreateTimeout after 1s", err, time.Since(began))
		}
		must(t, r, "k", counting(), "v1")
		close(hang)
		synctest.Wait()
		holds(t, r, "k", "v1") // what comes late is not stored
	})
}

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

func TestReentrancy(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, twin, other := open(t, cfg), open(t, cfg), openAs(t, "other", cfg)
		ask := func(ctx context.Context, r *region.Region, key string) error {
			_, err := region.GetOrCreate(ctx, r, key, func(context.Context) (string, error) { return "inner", nil })
			return err
		}
		var own, deep, ofTwin, batch, otherKey, otherRegion error
		_, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
			own = ask(ctx, r, "k")
			ofTwin = ask(ctx, twin, "k") // another process's region, which would wait for this one
			otherKey = ask(ctx, r, "k2")
			otherRegion = ask(ctx, other, "k")
			_, err := region.GetOrCreate(ctx, r, "k3", func(ctx context.Context) (string, error) {
				deep = ask(ctx, r, "k")
				return "", nil
			})
			if err != nil {
				t.Error(err)
			}
			_, batch = region.GetOrCreateMulti(ctx, r, []string{"a", "k"}, func(context.Context, []string) (map[string]string, error) {
				return nil, nil
			})
			return "v", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{"its own key": own, "its own key, deeper": deep, "a batch with its key": batch, "its key in a twin": ofTwin} {
			if !errors.Is(err, region.ErrReentrant) {
				t.Errorf("a creator that asks for %s got %v, want ErrReentrant", what, err)
			}
		}
		for what, err := range map[string]error{"another key": otherKey, "another region": otherRegion} {
			if err != nil {
				t.Errorf("a creator that asks for %s got %v", what, err)
			}
		}
	})
}

func TestACreatorsContextMayBeUsedAfterIt(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		var kept context.Context
		if _, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
			kept = context.WithoutCancel(ctx)
			return "v", nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := r.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := region.GetOrCreate(kept, r, "k", counting().create); err != nil {
			t.Errorf("a creation that is over still counts: %v", err)
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
