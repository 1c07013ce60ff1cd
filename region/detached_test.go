package region_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/region"
)

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

func TestAValueIsStoredThoughItsLastCallerLeavesMeanwhile(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx, cancel := context.WithCancel(t.Context())
		cfg.Wrap = append(cfg.Wrap, contextual, probing(&probe{before: func(op string) {
			if op == "set" {
				cancel()
				time.Sleep(time.Second) // until the caller has gone
			}
		}}))
		r := open(t, cfg)
		if a := <-background(ctx, r, "k", counting()); !errors.Is(a.err, context.Canceled) {
			t.Errorf("the caller got %q, %v", a.value, a.err)
		}
		time.Sleep(2 * time.Second)
		holds(t, r, "k", "v1")
		must(t, r, "k", counting(), "v1") // and the lease is free
	})
}

// contextual puts a backend under a proxy that heeds the contexts it is given.
func contextual(b backend.Backend) backend.Backend { return heedful{b} }

type heedful struct{ backend.Backend }

func (h heedful) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	stamps, err := h.Backend.Set(ctx, items, guards)
	if ctx.Err() != nil {
		for _, item := range items { // as if it had not been sent
			h.Backend.Delete(context.Background(), []backend.Key{item.Key})
		}
		return nil, ctx.Err()
	}
	return stamps, err
}
