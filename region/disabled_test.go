package region_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/region"
)

// A disabled region runs its creator for every call, and once for calls that come
// together; what it writes and invalidates counts for the others.
func TestDisabled(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		others := open(t, cfg)
		off := cfg
		off.Disabled = true
		r := open(t, off)
		for _, key := range []string{"k", "set", "deleted", "expired", "tagged", "multi"} {
			if err := region.Set(ctx, others, key, "stored", region.WithTags("t "+key)); err != nil {
				t.Fatal(err)
			}
		}
		c := counting()
		for _, want := range []string{"v1", "v2", "v3"} {
			must(t, r, "k", c, want)
		}
		holds(t, r, "k", "")
		mustMulti(t, r, []string{"multi", "k"}, &loader{}, values("multi", "k"))
		mustMulti(t, r, []string{"multi", "k"}, &loader{}, values("multi", "k"))
		holds(t, others, "k", "stored") // what it creates is not stored

		slow := blocking()
		calls := herd(t, 20, r, "k", slow)
		slow.release()
		allGot(t, calls, "v1")
		slow.want(t, 1)

		if err := errors.Join(
			region.Set(ctx, r, "set", "new"), r.Delete(ctx, "deleted"), r.Expire(ctx, "expired"), r.InvalidateTags(ctx, "t tagged"),
		); err != nil {
			t.Error(err)
		}
		for _, key := range []string{"set", "deleted", "expired", "tagged"} {
			holds(t, others, key, "")
		}
		holds(t, others, "k", "stored")
		if err := r.Invalidate(ctx, region.Hard); err != nil {
			t.Error(err)
		}
		holds(t, others, "k", "")
	})
}

// What this process invalidates while it creates is not shared with those who come later.
func TestDisabledInvalidations(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.Disabled = true
		r := open(t, cfg)
		for what, invalidate := range map[string]func() error{
			"Delete":     func() error { return r.Delete(t.Context(), "k") },
			"Invalidate": func() error { return r.Invalidate(t.Context(), region.Hard) },
		} {
			c := blocking()
			calls := herd(t, 1, r, "k", c)
			if err := invalidate(); err != nil {
				t.Fatal(what, err)
			}
			late := background(t.Context(), r, "k", c)
			synctest.Wait()
			c.release()
			allGot(t, calls, "v1")
			allGot(t, []<-chan answer{late}, "v2")
		}
	})
}

func TestDisabledByTheEnvironment(t *testing.T) {
	for value, want := range map[string]int64{"1": 2, "true": 2, "0": 1, "": 1} {
		t.Setenv(region.EnvDisable, value)
		inBubble(t, func(t *testing.T) {
			r, c := open(t, kinds["values"]()), counting()
			must(t, r, "k", c, "v1")
			must(t, r, "k", c, "v"+string(rune('0'+want)))
			c.want(t, want)
		})
	}
	t.Setenv(region.EnvDisable, "certainly")
	cfg := kinds["values"]()
	defer cfg.Backend.Close()
	if _, err := region.New("r", cfg); !errors.Is(err, region.ErrConfig) || !strings.Contains(err.Error(), region.EnvDisable) {
		t.Errorf("New = %v, want an error about %s", err, region.EnvDisable)
	}
}

// A disabled region closes its backend as any other does, and tells of its failures.
func TestDisabledNeedsItsBackend(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		down := errors.New("down")
		cfg := kinds["bytes"]()
		real := cfg.Backend
		var back atomic.Bool
		p := &probe{Backend: real, fail: func(string) error {
			if back.Load() {
				return nil
			}
			return down
		}}
		cfg.Backend, cfg.Disabled = p, true
		r, err := region.New("r", cfg)
		if err != nil {
			t.Fatal(err)
		}
		must(t, r, "k", counting(), "v1")
		for what, err := range map[string]error{
			"Set": region.Set(t.Context(), r, "k", "v"), "Delete": r.Delete(t.Context(), "k"), "InvalidateTags": r.InvalidateTags(t.Context(), "t"),
		} {
			if !errors.Is(err, down) {
				t.Errorf("%s = %v, want the backend's failure", what, err)
			}
		}
		back.Store(true)
		time.Sleep(time.Minute) // what is owed is paid
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := real.Get(t.Context(), backend.Key{}, nil); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("the backend is open when its last region is closed: %v", err)
		}
	})
}
