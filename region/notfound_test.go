package region_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

func TestNotFoundIsRememberedForItsOwnTime(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = 10 * time.Second
		r := open(t, cfg)
		c := counting()
		noRows := errors.New("no rows")
		c.value = func(int64) (string, error) { return "", fmt.Errorf("%w: %w", region.ErrNotFound, noRows) }
		ask := func() error {
			_, err := region.GetOrCreate(t.Context(), r, "k", c.create)
			return err
		}
		if err := ask(); !errors.Is(err, region.ErrNotFound) || !errors.Is(err, noRows) {
			t.Errorf("got %v; want the creator's error", err)
		}
		time.Sleep(10 * time.Second)
		if err := ask(); !errors.Is(err, region.ErrNotFound) {
			t.Errorf("got %v; want ErrNotFound", err)
		}
		holds(t, r, "k", "")
		c.want(t, 1)
		time.Sleep(2 * time.Second)
		if err := ask(); !errors.Is(err, region.ErrNotFound) {
			t.Errorf("got %v; want ErrNotFound", err)
		}
		c.want(t, 2)
		if err := r.Invalidate(t.Context(), region.Soft); err != nil {
			t.Fatal(err)
		}
		must(t, r, "k", counting(), "v1") // "not found" is never stale, and an insert invalidates it
		if s := r.Stats(); s.FailedCreations != 0 {
			t.Errorf("%d failed creations; not found is an answer", s.FailedCreations)
		}
	})
}

func TestNotFoundIsNotRememberedByDefault(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		c.value = func(int64) (string, error) { return "", region.ErrNotFound }
		for range 2 {
			if _, err := region.GetOrCreate(t.Context(), r, "k", c.create); !errors.Is(err, region.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
		c.want(t, 2)
	})
}

func TestNotFoundIsNeverStale(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = time.Minute
		r, none := open(t, cfg), counting()
		none.value = func(int64) (string, error) { return "", region.ErrNotFound }
		if a := <-background(t.Context(), r, "k", none); !errors.Is(a.err, region.ErrNotFound) {
			t.Fatal(a.err)
		}
		if err := r.Invalidate(t.Context(), region.Soft); err != nil {
			t.Fatal(err)
		}
		c := blocking()
		calls := herd(t, 5, r, "k", c) // all of them wait: there is nothing to serve
		c.release()
		allGot(t, calls, "v1")
	})
}

func TestABatchTellsOfRememberedNotFounds(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		cfg.NotFoundFor = time.Minute
		r := open(t, cfg)
		_, err := region.GetOrCreate(t.Context(), r, "a", func(context.Context) (string, error) { return "", region.ErrNotFound })
		if !errors.Is(err, region.ErrNotFound) {
			t.Fatal(err)
		}
		m, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, func(_ context.Context, ks []string) (map[string]string, error) {
			out := map[string]string{}
			for _, k := range ks {
				out[k] = "v"
			}
			return out, nil
		})
		if err == nil && len(m) != 2 {
			t.Errorf("got %v and no error", m)
		}
	})
}

// ErrNotFound from the creator of a batch may be about anything.
func TestAllowMissingHidesNoFailure(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		calls := 0
		m, err := region.GetOrCreateMulti(t.Context(), r, []string{"a", "b"}, func(context.Context, []string) (map[string]string, error) {
			calls++
			return map[string]string{"a": "v"}, fmt.Errorf("load the tenant of a: %w", region.ErrNotFound)
		}, region.AllowMissing())
		if err == nil {
			t.Errorf("the creator failed, the call returned %v, nil", m)
		}
	})
}
