package region_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

// A tag that was invalidated while the creator was at work, and that it adds late: the
// value is not stored, and the next one is, because its tags are known by then.
func TestTagsThatAreAddedLate(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		rec := new(recorder)
		by := open(t, cfg)
		cfg.Observer = rec
		r := open(t, cfg)
		invalidate := "owner:1"
		var calls int
		create := func(ctx context.Context) (string, error) {
			calls++
			if err := by.InvalidateTags(ctx, invalidate); err != nil {
				t.Error(err)
			}
			region.FromContext(ctx).AddTags("owner:1")
			return fmt.Sprint("v", calls), nil
		}
		ask := func(want string) {
			t.Helper()
			if v, err := region.GetOrCreate(ctx, r, "k", create); v != want || err != nil {
				t.Errorf("%q, %v; want %q", v, err, want)
			}
		}
		ask("v1")
		if len(rec.unstored) != 1 || !errors.Is(rec.unstored[0].Err, region.ErrTagsUnproved) {
			t.Errorf("the observer was told %v, want ErrTagsUnproved", rec.unstored)
		}
		holds(t, by, "k", "")
		ask("v2") // known by now, and invalidated again: stored, dead
		holds(t, by, "k", "")
		invalidate = "owner:2" // another one: it must not matter any more
		ask("v3")
		holds(t, by, "k", "v3")
		if n := len(rec.unstored); n != 1 {
			t.Errorf("%d values were not stored, want 1", n)
		}
		if err := by.InvalidateTags(ctx, "owner:1"); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "")
	})
}

// A value that is created anew while the old one is stale knows the old one's tags.
func TestTagsOfTheOldValueAreKnown(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		rec := new(recorder)
		by := open(t, cfg)
		cfg.Observer = rec
		r := open(t, cfg)
		create := func(ctx context.Context) (string, error) {
			if old, stale := region.FromContext(ctx).Stale(); stale {
				if err := by.InvalidateTags(ctx, "something else"); err != nil {
					t.Error(err)
				}
				return "new after " + old.(string), nil
			}
			return "old", nil
		}
		tagged := func(ctx context.Context) (string, error) {
			v, err := create(ctx)
			region.FromContext(ctx).AddTags("owner:1")
			return v, err
		}
		for _, want := range []string{"old", "new after old"} {
			if v, err := region.GetOrCreate(ctx, r, "k", tagged); v != want || err != nil {
				t.Errorf("%q, %v; want %q", v, err, want)
			}
			holds(t, by, "k", want)
			if want == "old" {
				time.Sleep(cfg.Expiration + time.Second)
			}
		}
		if len(rec.unstored) > 0 {
			t.Errorf("not stored: %v", rec.unstored)
		}
	})
}
