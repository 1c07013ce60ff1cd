package region_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

func TestTheCreatorSpeaksOfItsValue(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r := open(t, cfg)
		calls := 0
		ask := func(say func(*region.Creation)) string {
			v, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
				calls++
				say(region.FromContext(ctx))
				return fmt.Sprint("v", calls), nil
			})
			if err != nil {
				t.Error(err)
			}
			return v
		}
		ask(func(c *region.Creation) {
			if v, ok := c.Stale(); ok {
				t.Errorf("there is a stale value %v at first", v)
			}
			c.SetExpiration(10 * time.Minute)
		})
		time.Sleep(9 * time.Minute)
		if v := ask(nil); v != "v1" {
			t.Errorf("got %q: the value's own expiration does not count", v)
		}
		time.Sleep(2 * time.Minute)
		if v := ask(func(c *region.Creation) {
			if v, ok := c.Stale(); !ok || v != "v1" {
				t.Errorf("the stale value is %v, %v; want v1", v, ok)
			}
			c.DoNotCache()
		}); v != "v2" {
			t.Errorf("got %q, want v2", v)
		}
		if v, ok, _ := region.Get[string](t.Context(), r, "k", region.AllowStale()); !ok || v != "v1" {
			t.Errorf("%q is stored, want v1 as before", v)
		}
		_, err := region.GetOrCreate(t.Context(), r, "bad", func(ctx context.Context) (string, error) {
			region.FromContext(ctx).SetExpiration(-5)
			return "", nil
		})
		if !errors.Is(err, region.ErrConfig) {
			t.Errorf("a negative SetExpiration: %v, want ErrConfig", err)
		}

		outside := region.FromContext(t.Context())
		outside.SetExpiration(1)
		outside.DoNotCache()
		if _, ok := outside.Stale(); ok || outside != nil {
			t.Error("there is a creation outside of creators")
		}
	})
}

func TestCacheIf(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), counting()
		long := region.CacheIf(func(v string) bool { return v != "v1" })
		must(t, r, "k", c, "v1", long)
		must(t, r, "k", c, "v2", long)
		must(t, r, "k", c, "v2", long)
		if _, err := region.GetOrCreate(t.Context(), r, "k2", c.create, region.CacheIf(func(int) bool { return true })); !errors.Is(err, region.ErrConfig) {
			t.Errorf("CacheIf of another type: %v", err)
		}
		var p *region.PanicError
		if _, err := region.GetOrCreate(t.Context(), r, "k3", c.create, region.CacheIf(func(string) bool { panic("no") })); !errors.As(err, &p) {
			t.Errorf("CacheIf that panics: %v", err)
		}
	})
}

func TestAHerdOnAValueThatIsNotKept(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		calls := herd(t, 200, r, "k", c, region.CacheIf(func(string) bool { return false }))
		c.release()
		allGot(t, calls, "v1")
		c.want(t, 1)
	})
}
