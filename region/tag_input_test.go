package region_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

func TestTagsAreAnyBytes(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	tags := []string{"", "a", "A", " a", "a ", "*", "#", "#a", "(f", "f", "%", "a:b", "a}", "{a}", "\x00", "\xff\xfe", "日本", "\r\n", "a\r\nset x 0 0 1\r\ny",
		long, long[1:], long[1:] + "y", long[:96], long[:97], "test", "test:a"}
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		r := open(t, cfg)
		f := decorate.CacheOnArguments(r, func(context.Context, int) (string, error) { return "f", nil }, region.Namespace("f"))
		fill := func() {
			for i, tag := range tags {
				if _, err := region.GetOrCreate(ctx, r, fmt.Sprint(i), counting().create, region.WithTags(tag)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := f.Call(ctx, 1); err != nil {
				t.Fatal(err)
			}
		}
		fill()
		for i, tag := range tags {
			if err := r.InvalidateTags(ctx, tag); err != nil {
				t.Fatal(err)
			}
			for j := range tags {
				_, ok, err := region.Get[string](ctx, r, fmt.Sprint(j))
				if err != nil || ok != (i != j) {
					t.Errorf("after an invalidation of tag %.20q the value with tag %.20q is there: %v, %v", tag, tags[j], ok, err)
				}
			}
			if _, ok, _ := f.Get(ctx, 1); !ok {
				t.Errorf("an invalidation of tag %.20q killed a function's value", tag)
			}
			fill()
		}
		if err := f.InvalidateAll(ctx); err != nil {
			t.Fatal(err)
		}
		for j := range tags {
			if _, ok, err := region.Get[string](ctx, r, fmt.Sprint(j)); !ok || err != nil {
				t.Errorf("InvalidateAll of a function killed the value with tag %.20q: %v", tags[j], err)
			}
		}
	})
}

func TestTagLimits(t *testing.T) {
	many := func(n int) []string {
		tags := make([]string, n)
		for i := range tags {
			tags[i] = fmt.Sprint("tag ", i)
		}
		return tags
	}
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		r, c := open(t, cfg), counting()
		refused := func(what string, err error, words ...string) {
			t.Helper()
			if !errors.Is(err, region.ErrConfig) {
				t.Errorf("%s: %v, want ErrConfig", what, err)
				return
			}
			for _, word := range words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %q does not say %q", what, err, word)
				}
			}
		}
		most := many(region.MaxTags)
		must(t, r, "k", c, "v1", region.WithTags(most...), region.WithTags(most[3:7]...))
		must(t, r, "k", c, "v1", region.WithTags(most...))
		if err := r.InvalidateTags(ctx, most[region.MaxTags-1]); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "")
		must(t, r, "k", c, "v2", region.WithTags(most...))
		if err := r.InvalidateTags(ctx, many(10_000)...); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "")

		refused("one more than MaxTags", region.Set(ctx, r, "k", "v", region.WithTags(many(region.MaxTags+1)...)), "1001")
		full := decorate.CacheOnArguments(r, func(context.Context, int) (string, error) { return "v", nil }, region.Namespace("full"), region.WithTags(most...))
		for range 2 { // the function is a guard besides
			if v, err := full.Call(ctx, 1); v != "v" || err != nil {
				t.Errorf("a function with MaxTags tags: %q, %v", v, err)
			}
		}
		_, err := region.GetOrCreate(ctx, r, "k", c.create, region.WithTags(many(10_000)...))
		refused("WithTags of 10,000", err, "10000 tags", "1000")
		refused("Set", region.Set(ctx, r, "k", "v", region.WithTags(many(10_000)...)), "1000")
		_, _, err = region.Get[string](ctx, r, "k", region.WithTags(many(10_000)...))
		refused("Get", err, "1000")
		for _, known := range []int{0, 999} {
			opts := []region.CallOption{}
			if known > 0 {
				opts = append(opts, region.WithTags(many(known)...))
			}
			_, err = region.GetOrCreate(ctx, r, "added", func(ctx context.Context) (string, error) {
				region.FromContext(ctx).AddTags("one", "two", "three")
				region.FromContext(ctx).AddTags(many(10_000)[1000 : 2000-known]...)
				return "v", nil
			}, opts...)
			refused("AddTags", err, "AddTags", "1000")
		}
		f := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int) (map[int]string, error) { return nil, nil },
			region.Namespace("f"), region.WithTagsFunc(func(int) []string { return many(10_000) }))
		_, err = f.Call(ctx, []int{1})
		refused("WithTagsFunc", err, "1000")
		_, err = f.Get(ctx, []int{1})
		refused("WithTagsFunc", err, "1000")
		refused("WithTagsFunc", f.Set(ctx, map[int]string{1: "x"}), "1000")

		_, err = region.GetOrCreate(ctx, r, "k", c.create, region.WithTags())
		refused("WithTags()", err, "at least one tag")
		refused("InvalidateTags()", r.InvalidateTags(ctx), "at least one tag")
		refused("SoftTags()", region.SoftTags(ctx, r), "at least one tag")
		for _, f := range []any{nil, 7, func(string) []string { return nil }, func(int) string { return "" }, (func(int) []string)(nil)} {
			wrapped := decorate.CacheOnArguments(r, func(context.Context, int) (int, error) { return 0, nil }, region.Namespace("g"), region.WithTagsFunc(f))
			_, err := wrapped.Call(ctx, 1)
			refused(fmt.Sprintf("WithTagsFunc(%T)", f), err, "WithTagsFunc")
		}
		var none *region.Region
		if err := none.InvalidateTags(ctx, "a"); !errors.Is(err, region.ErrNotConfigured) {
			t.Errorf("InvalidateTags of no region: %v", err)
		}
	})
}

// Values of another type or codec, as of another release, come and go; tags stay.
func TestTagsOutliveTheSchema(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := config(memory.Config{Copy: true})
		old, next := open(t, cfg), open(t, cfg)
		type v1 struct{ Name string }
		type v2 struct{ Name, Mail string }
		tags := region.WithTags("users")
		if _, err := region.GetOrCreate(ctx, old, "1", func(context.Context) (v1, error) { return v1{"ann"}, nil }, tags); err != nil {
			t.Fatal(err)
		}
		if _, err := region.GetOrCreate(ctx, next, "2", func(context.Context) (v2, error) { return v2{"bob", ""}, nil }, tags); err != nil {
			t.Fatal(err)
		}
		if err := next.InvalidateTags(ctx, "users"); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := region.Get[v1](ctx, old, "1", tags); ok {
			t.Error("an invalidation by the new release does not reach the values of the old one")
		}
		if _, ok, _ := region.Get[v2](ctx, next, "2", tags); ok {
			t.Error("an invalidation by the new release does not reach its own values")
		}
	})
}
