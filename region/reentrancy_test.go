package region_test

import (
	"context"
	"errors"
	"testing"

	"github.com/dogpile-go/dogpile/region"
)

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

func TestAFreshValueDoesNotHideReentrancy(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		f := region.Bind1(r, load1)
		key, err := f.Key(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Call(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		var byKey, bound, batch error
		_, err = region.GetOrCreate(t.Context(), r, key, func(ctx context.Context) (string, error) {
			_, byKey = region.GetOrCreate(ctx, r, key, counting().create)
			_, bound = f.Call(ctx, 1)
			_, batch = region.GetOrCreateMulti(ctx, r, []string{"other", key}, (&loader{}).create)
			return "refreshed", nil
		}, region.WithExpiration(0))
		if err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{"GetOrCreate": byKey, "a bound function": bound, "a batch": batch} {
			if !errors.Is(err, region.ErrReentrant) {
				t.Errorf("%s got %v, want ErrReentrant", what, err)
			}
		}
	})
}
