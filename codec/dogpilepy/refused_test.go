package dogpilepy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/region"
)

// What the format has no place for is refused, and leaves nothing behind that would be
// tried again.
func TestWhatIsNotShared(t *testing.T) {
	onBoth(t, func(t *testing.T, s *shop) {
		r, saw := s.open(t)
		ctx := t.Context()
		load := func(context.Context) (int, error) { return 1, nil }
		create := func(c func(*region.Creation)) error {
			v, err := region.GetOrCreate(ctx, r, "k", func(ctx context.Context) (int, error) {
				c(region.FromContext(ctx))
				return 1, nil
			})
			if v != 1 || err != nil {
				return fmt.Errorf("the call returned %v, %w", v, err)
			}
			if _, ok, err := region.Get[int](ctx, r, "k"); ok || err != nil {
				return fmt.Errorf("the value was stored (%w)", err)
			}
			if len(saw.unstored) != 1 {
				return fmt.Errorf("the region told of values not stored: %v; want one", saw.unstored)
			}
			err, saw.unstored = saw.unstored[0], nil
			return err
		}
		one := decorate.CacheOnArguments0(r, load, region.Namespace("one"))
		_, tagged := decorate.CacheOnArguments(r, func(context.Context, int) (int, error) { return 1, nil },
			region.Namespace("tagged"), region.WithTagsFunc(func(int) []string { return []string{"t"} })).Call(ctx, 1)
		_, withTags := region.GetOrCreate(ctx, r, "k", load, region.WithTags("t"))
		_, multi := region.GetOrCreateMulti(ctx, r, []string{"k"}, func(context.Context, []string) (map[string]int, error) { return nil, nil }, region.WithTags("t"))
		_, _, get := region.Get[int](ctx, r, "k", region.WithTags("t"))
		for name, err := range map[string]error{
			"Invalidate":                 r.Invalidate(ctx, region.Hard),
			"Invalidate soft":            r.Invalidate(ctx, region.Soft),
			"InvalidateTags":             r.InvalidateTags(ctx, "t"),
			"SoftTags":                   region.SoftTags(ctx, r, "t"),
			"InvalidateAll":              one.InvalidateAll(ctx),
			"WithTags":                   withTags,
			"WithTags of many":           multi,
			"WithTags of a read":         get,
			"WithTagsFunc":               tagged,
			"WithTags of a write":        region.Set(ctx, r, "k", 1, region.WithTags("t")),
			"WithExpiration of a write":  region.Set(ctx, r, "k", 1, region.WithExpiration(time.Minute)),
			"SetExpiration in a creator": create(func(c *region.Creation) { c.SetExpiration(time.Second) }),
			"AddTags in a creator":       create(func(c *region.Creation) { c.AddTags("t") }),
		} {
			if !errors.Is(err, region.ErrInterop) || !strings.Contains(err.Error(), "dogpile.cache") {
				t.Errorf("%s: %v; want an ErrInterop that names dogpile.cache", name, err)
			}
		}
		if n := r.Stats().Owed; n != 0 {
			t.Errorf("%d invalidations are owed; what can never be is not to be tried again", n)
		}
		// A wrapped function works all the same, though it cannot be invalidated as a whole.
		if v, err := one.Call(ctx); v != 1 || err != nil {
			t.Errorf("a wrapped function returned %v, %v", v, err)
		}
		if v, ok, err := one.Get(ctx); v != 1 || !ok || err != nil {
			t.Errorf("its value is %v, %v, %v", v, ok, err)
		}
		saw.nothing(t)
	})
}

// A call may still be stricter than the region.
func TestExpirationOfACall(t *testing.T) {
	s := redisShop(t)
	r, saw := s.open(t)
	s.put(t, "k", fmt.Sprintf(`{"ct": %d, "v": 2}|1`, time.Now().Add(-time.Minute).Unix()))
	load := func(context.Context) (int, error) { return 2, nil }
	if v, err := region.GetOrCreate(t.Context(), r, "k", load); v != 1 || err != nil {
		t.Errorf("the region's own expiration: %v, %v; want 1", v, err)
	}
	if v, err := region.GetOrCreate(t.Context(), r, "k", load, region.WithExpiration(time.Second)); v != 2 || err != nil {
		t.Errorf("an expiration of a second: %v, %v; want 2", v, err)
	}
	saw.nothing(t)
}

// Expire makes a value look as old as it may not be, for both languages.
func TestExpireIsShared(t *testing.T) {
	onBoth(t, func(t *testing.T, s *shop) {
		r, saw := s.open(t)
		python := pythontest.Start(t).Region(s.python)
		if err := errors.Join(python.Set("k", "old"), r.Expire(t.Context(), "k", "none")); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := region.Get[string](t.Context(), r, "k"); ok || err != nil {
			t.Errorf("a stale value is read: %q, %v", v, err)
		}
		if v, ok, err := region.Get[string](t.Context(), r, "k", region.AllowStale()); v != "old" || !ok || err != nil {
			t.Errorf("there is %q, %v, %v; want the old value, stale", v, ok, err)
		}
		if v, err := python.Get("k"); !v.Missing || err != nil {
			t.Errorf("Python takes it for fresh: %v, %v", v, err)
		}
		if v, err := python.GetOrCreate("k", pythontest.Creator{Value: "new"}); v.JSON != `"new"` || err != nil {
			t.Errorf("Python got %v, %v; want a new value", v, err)
		}
		saw.nothing(t)

		forever, _ := s.open(t, func(cfg *region.Config) { cfg.Expiration = region.Forever })
		if err := forever.Expire(t.Context(), "k"); !errors.Is(err, region.ErrInterop) {
			t.Errorf("Expire of what never expires returned %v; want ErrInterop", err)
		}
	})
}

// A proxy that moves keys would move them away from Python.
func TestPrefixIsRefused(t *testing.T) {
	s := redisShop(t)
	r, saw := s.open(t, func(cfg *region.Config) {
		cfg.Wrap = []func(backend.Backend) backend.Backend{proxy.Prefix("staging")}
	})
	if err := region.Set(t.Context(), r, "k", 1); !errors.Is(err, region.ErrInterop) {
		t.Errorf("Set returned %v; want ErrInterop", err)
	}
	v, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (int, error) { return 1, nil })
	if v != 1 || err != nil || !slices.ContainsFunc(saw.failed, func(err error) bool { return errors.Is(err, region.ErrInterop) }) {
		t.Errorf("the call returned %v, %v, and told of %v; want the creator's value, and ErrInterop told", v, err, saw.failed)
	}
	if n := s.redis.Do(t, "DBSIZE"); fmt.Sprint(n) != "0" {
		t.Errorf("there are %v keys; want none", n)
	}
}

// Warming takes turns under keys of its own, which Python never asks for.
func TestWarmingIsNotShared(t *testing.T) {
	s := redisShop(t)
	r, saw := s.open(t)
	f := decorate.CacheOnArguments(r, func(_ context.Context, id int) (int, error) { return id, nil }, region.Namespace("f"))
	report, err := decorate.Warm(t.Context(), f, slices.Values([]int{1, 2}), decorate.WarmOptions{})
	if report.Created != 2 || err != nil {
		t.Errorf("warming created %d values, %v; want 2", report.Created, err)
	}
	for _, key := range s.redis.Do(t, "KEYS", "*").([]any) {
		if key := fmt.Sprint(key); !strings.HasPrefix(key, "dogpile:") && !strings.HasPrefix(key, "f(") {
			t.Errorf("there is a key %q; want those of the values, and of the backend's own layout", key)
		}
	}
	saw.nothing(t)
}
