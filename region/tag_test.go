package region_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

func TestTags(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, by := open(t, cfg), open(t, cfg)
		ctx := t.Context()
		c := counting()
		users := region.WithTags("users")
		must(t, r, "ann", c, "v1", users, region.WithTags("user:1"))
		must(t, r, "bob", c, "v2", users, region.WithTags("user:2"))
		must(t, r, "posts", c, "v3", region.WithTags("posts"))
		must(t, r, "plain", c, "v4")
		must(t, by, "ann", c, "v1", users, region.WithTags("user:1"))
		must(t, by, "ann", c, "v1", region.WithTags("user:1"))
		must(t, by, "ann", c, "v1") // the tags are in the value

		if err := by.InvalidateTags(ctx, "user:1", "nobody has this"); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"ann": "", "bob": "v2", "posts": "v3", "plain": "v4"} {
			holds(t, r, key, want)
		}
		must(t, r, "ann", c, "v5", users, region.WithTags("user:1"))

		if err := r.InvalidateTags(ctx, "users"); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"ann": "", "bob": "", "posts": "v3", "plain": "v4"} {
			holds(t, by, key, want)
		}
		if err := r.Invalidate(ctx, region.Hard); err != nil {
			t.Fatal(err)
		}
		holds(t, by, "posts", "")
	})
}

func TestSoftTags(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, by := open(t, cfg), open(t, cfg)
		ctx := t.Context()
		stale := func(key, want string) {
			t.Helper()
			got, ok, err := region.Get[string](ctx, r, key, region.AllowStale())
			if err != nil || ok != (want != "") || got != want {
				t.Errorf("Get(%q) with AllowStale = %q, %v, %v; want %q", key, got, ok, err, want)
			}
		}
		c := counting()
		both := region.WithTags("a", "b")
		must(t, r, "k", c, "v1", both)
		if err := region.SoftTags(ctx, by, "a"); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "k", "")
		stale("k", "v1")
		must(t, r, "k", c, "v2", both)
		holds(t, r, "k", "v2")

		// Soft after hard revives nothing, whichever tag it was, and hard after soft kills.
		for _, order := range [][]func() error{
			{func() error { return r.InvalidateTags(ctx, "a") }, func() error { return region.SoftTags(ctx, r, "a") }},
			{func() error { return r.InvalidateTags(ctx, "a") }, func() error { return region.SoftTags(ctx, r, "b") }},
			{func() error { return region.SoftTags(ctx, r, "a") }, func() error { return r.InvalidateTags(ctx, "b") }},
			{func() error { return r.InvalidateTags(ctx, "a") }, func() error { return r.Invalidate(ctx, region.Soft) }},
			{func() error { return r.Invalidate(ctx, region.Soft) }, func() error { return r.InvalidateTags(ctx, "a") }},
			{func() error { return r.Invalidate(ctx, region.Hard) }, func() error { return region.SoftTags(ctx, r, "a") }},
		} {
			if _, err := region.GetOrCreate(ctx, r, "k", c.create, both); err != nil {
				t.Fatal(err)
			}
			for _, invalidate := range order {
				if err := invalidate(); err != nil {
					t.Fatal(err)
				}
			}
			stale("k", "")
		}
	})
}

func TestWhereTagsComeFrom(t *testing.T) {
	type user struct{ ID, Team int }
	load := func(ctx context.Context, id int) (user, error) {
		u := user{id, id % 2}
		region.FromContext(ctx).AddTags(fmt.Sprint("team:", u.Team))
		return u, nil
	}
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		r := open(t, cfg)
		one := decorate.CacheOnArguments(r, load, region.Namespace("one"), region.WithTags("users"),
			region.WithTagsFunc(func(id int) []string { return []string{fmt.Sprint("user:", id)} }))
		many := decorate.CacheMultiOnArguments(r, func(ctx context.Context, ids []int) (map[int]user, error) {
			users := map[int]user{}
			for _, id := range ids {
				users[id] = user{ID: id}
			}
			region.FromContext(ctx).AddTags("loaded together")
			return users, nil
		}, region.Namespace("many"), region.WithTags("users"),
			region.WithTagsFunc(func(id int) []string { return []string{fmt.Sprint("user:", id)} }))
		has := func(id int, want, wantMany bool) {
			t.Helper()
			if _, ok, err := one.Get(ctx, id); ok != want || err != nil {
				t.Errorf("Get(%d) says %v, %v; want %v", id, ok, err, want)
			}
			if got, err := many.Get(ctx, []int{id}); (len(got) == 1) != wantMany || err != nil {
				t.Errorf("Get of many (%d) returns %v, %v; want it: %v", id, got, err, wantMany)
			}
		}
		fill := func() {
			t.Helper()
			for _, id := range []int{1, 2} {
				if _, err := one.Call(ctx, id); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := many.Call(ctx, []int{1, 2}); len(got) != 2 || err != nil {
				t.Fatal(got, err)
			}
			has(1, true, true)
			has(2, true, true)
		}
		for tag, still := range map[string][4]bool{ // one(1), many(1), one(2), many(2)
			"users":           {},
			"user:1":          {false, false, true, true},
			"team:0":          {true, true, false, true},
			"loaded together": {true, false, true, false},
			"something else":  {true, true, true, true},
		} {
			fill()
			if err := r.InvalidateTags(ctx, tag); err != nil {
				t.Fatal(err)
			}
			has(1, still[0], still[1])
			has(2, still[2], still[3])
		}

		// What is set has the wrapper's tags.
		if err := errors.Join(one.Set(ctx, 7, user{ID: 7}), many.Set(ctx, map[int]user{7: {}, 8: {}})); err != nil {
			t.Fatal(err)
		}
		has(7, true, true)
		if err := r.InvalidateTags(ctx, "user:7"); err != nil {
			t.Fatal(err)
		}
		has(7, false, false)
		has(8, false, true)
	})
}

func TestInvalidateAll(t *testing.T) {
	load := func(_ context.Context, id int) (int, error) { return id, nil }
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		r, elsewhere := open(t, cfg), open(t, cfg)
		f := decorate.CacheOnArguments(r, load, region.Namespace("f"))
		same := decorate.CacheOnArguments(elsewhere, load, region.Namespace("f"))
		other := decorate.CacheOnArguments(r, load, region.Namespace("g"))
		many := decorate.CacheMultiOnArguments(r, func(context.Context, []int) (map[int]int, error) { return map[int]int{1: 1}, nil }, region.Namespace("many"))
		keyed := decorate.CacheOnArguments(r, load, region.WithKey(func(id int) string { return fmt.Sprint(id) }))
		for range 2 {
			for _, call := range []func(context.Context, int) (int, error){f.Call, other.Call, keyed.Call} {
				if v, err := call(ctx, 1); v != 1 || err != nil {
					t.Fatal(v, err)
				}
			}
			if _, err := many.Call(ctx, []int{1}); err != nil {
				t.Fatal(err)
			}
		}
		has := func(f, g, multi bool) {
			t.Helper()
			if _, ok, err := same.Get(ctx, 1); ok != f || err != nil {
				t.Errorf("f has its value: %v, %v; want %v", ok, err, f)
			}
			if _, ok, err := other.Get(ctx, 1); ok != g || err != nil {
				t.Errorf("g has its value: %v, %v; want %v", ok, err, g)
			}
			if got, err := many.Get(ctx, []int{1}); (len(got) == 1) != multi || err != nil {
				t.Errorf("many has its value: %v, %v; want %v", got, err, multi)
			}
		}
		has(true, true, true)
		if err := same.InvalidateAll(ctx); err != nil {
			t.Fatal(err)
		}
		has(false, true, true)
		if err := many.InvalidateAll(ctx); err != nil {
			t.Fatal(err)
		}
		has(false, true, false)
		if err := keyed.InvalidateAll(ctx); !errors.Is(err, region.ErrConfig) || !strings.Contains(err.Error(), "WithTags") {
			t.Errorf("InvalidateAll with WithKey = %v, want an ErrConfig that names WithTags", err)
		}
		var unusable *region.Region
		if err := decorate.CacheOnArguments(unusable, load).InvalidateAll(ctx); !errors.Is(err, region.ErrNotConfigured) {
			t.Errorf("InvalidateAll without a region = %v, want ErrNotConfigured", err)
		}
	})
}

// What was stored without a tag that a call asks for may have been invalidated by it.
func TestAValueWithoutTheTagIsNotUsed(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		ctx := t.Context()
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		must(t, r, "k", c, "v2", region.WithTags("a"))
		must(t, r, "k", c, "v2")
		must(t, r, "k", c, "v3", region.WithTags("b", "a"))
		must(t, r, "k", c, "v3", region.WithTags("a"))
		if err := region.Set(ctx, r, "k", "set", region.WithTags("a")); err != nil {
			t.Fatal(err)
		}
		must(t, r, "k", c, "set", region.WithTags("a"))
		if _, ok, err := region.Get[string](ctx, r, "k", region.WithTags("b")); ok || err != nil {
			t.Errorf("Get with a tag that the value lacks says %v, %v", ok, err)
		}
		if got, err := region.GetMulti[string](ctx, r, []string{"k", "x"}, region.WithTags("b")); len(got) > 0 || err != nil {
			t.Errorf("GetMulti with a tag that the value lacks returns %v, %v", got, err)
		}
		if got, err := region.GetMulti[string](ctx, r, []string{"k", "x"}, region.WithTags("a")); len(got) != 1 || err != nil {
			t.Errorf("GetMulti with the tag returns %v, %v", got, err)
		}
	})
}

// Whoever joins a creation with other tags gets what it brings only if it had come
// before the creator began.
func TestCallersWithOtherTagsDoNotShare(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, old, fresh := open(t, cfg), blocking(), counting()
		old.value = func(int64) (string, error) { return "old row", nil }
		fresh.value = func(int64) (string, error) { return "new row", nil }
		before := herd(t, 1, r, "k", old, region.WithTags("a"))
		// by another region, so that nothing in this process knows of it
		if err := open(t, cfg).InvalidateTags(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		after := herd(t, 3, r, "k", fresh, region.WithTags("b"))
		old.release()
		allGot(t, before, "old row")
		allGot(t, after, "new row")
		fresh.want(t, 1)
	})
}

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

// A hit whose tags are known is one call of the backend, one whose tags come from the
// value two; an invalidation is one, whatever there is.
func TestRoundTripsOfTags(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		cfg := config(memory.Config{Copy: true})
		var trips atomic.Int64
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(string) { trips.Add(1) }}))
		r, c := open(t, cfg), counting()
		took := func(what string, want int64, f func() error) {
			t.Helper()
			trips.Store(0)
			if err := f(); err != nil {
				t.Fatal(err)
			}
			if n := trips.Load(); n != want {
				t.Errorf("%s takes %d calls of the backend, want %d", what, n, want)
			}
		}
		ask := func(key string, opts ...region.CallOption) func() error {
			return func() error { _, err := region.GetOrCreate(ctx, r, key, c.create, opts...); return err }
		}
		adding := func(ctx context.Context) (string, error) {
			region.FromContext(ctx).AddTags("x", "y")
			return "v", nil
		}
		tags := region.WithTags("a", "b", "c")
		took("a creation", 3, ask("k", tags))
		took("a hit with the tags", 1, ask("k", tags))
		took("a hit without the tags", 2, ask("k"))
		took("a Get with the tags", 1, func() error { _, _, err := region.Get[string](ctx, r, "k", tags); return err })
		took("a creation that adds tags", 5, func() error { _, err := region.GetOrCreate(ctx, r, "added", adding); return err })
		took("a hit with tags that were added", 2, ask("added"))
		took("a hit that names them", 1, ask("added", region.WithTags("x", "y")))
		took("GetMulti", 2, func() error {
			got, err := region.GetMulti[string](ctx, r, []string{"k", "added", "none"})
			if len(got) != 2 {
				t.Errorf("GetMulti returned %v", got)
			}
			return err
		})
		took("GetMulti with the tags", 1, func() error {
			_, err := region.GetMulti[string](ctx, r, []string{"k", "none"}, tags)
			return err
		})
		took("InvalidateTags", 1, func() error { return r.InvalidateTags(ctx, "a", "b", "x", "nobody's") })
		took("a miss", 1, func() error { _, _, err := region.Get[string](ctx, r, "k", tags); return err })
		took("SoftTags", 1, func() error { return region.SoftTags(ctx, r, "a", "b") })
	})
}

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

// forgetful is a backend that has lost the stamps of tags whenever it is asked.
type forgetful struct{ backend.Backend }

func (f forgetful) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	found, err := f.Backend.Get(ctx, key, guards)
	for i := range guards {
		if guards[i].Tag != "" {
			found.Stamps[i] = backend.Stamps{}
		}
	}
	return found, err
}

func (f forgetful) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	entries, stamps, err := f.Backend.GetMulti(ctx, keys, guards)
	for i := range guards {
		if guards[i].Tag != "" {
			stamps[i] = backend.Stamps{}
		}
	}
	return entries, stamps, err
}

func TestALostStampInvalidates(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		sound := open(t, cfg)
		cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { return forgetful{b} })
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1", region.WithTags("a"))
		holds(t, sound, "k", "v1")
		holds(t, r, "k", "")
		if got, err := region.GetMulti[string](t.Context(), r, []string{"k", "l"}); len(got) > 0 || err != nil {
			t.Errorf("GetMulti returned %v, %v", got, err)
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

func TestHitsWithTagsDoNotAllocate(t *testing.T) {
	r, err := region.New("tagged", config(memory.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	load := func(_ context.Context, id int64) (int64, error) { return id, nil }
	cached := region.Cached(r, load, region.WithTags("users", "table:users"), region.Namespace("cached"))
	f := decorate.CacheOnArguments(r, load, region.WithTags("users"), region.Namespace("f"))
	adding := region.Cached(r, func(ctx context.Context, id int64) (int64, error) {
		region.FromContext(ctx).AddTags("users")
		return id, nil
	}, region.Namespace("adding"))
	ctx := t.Context()
	for name, call := range map[string]func(context.Context, int64) (int64, error){"Cached": cached, "CacheOnArguments": f.Call, "AddTags": adding} {
		n := testing.AllocsPerRun(1000, func() {
			if v, err := call(ctx, 42); v != 42 || err != nil {
				t.Error(v, err)
			}
		})
		if n != 0 && !raceEnabled {
			t.Errorf("%s: a hit allocates %v times", name, n)
		}
	}
	if got := r.Stats(); got.Creations != 3 {
		t.Errorf("%d creations, want 3", got.Creations)
	}
	if err := r.InvalidateTags(ctx, "users"); err != nil {
		t.Fatal(err)
	}
	for _, call := range []func(context.Context, int64) (int64, error){cached, f.Call, adding} {
		if _, err := call(ctx, 42); err != nil {
			t.Error(err)
		}
	}
	if got := r.Stats(); got.Creations != 6 {
		t.Errorf("%d creations after an invalidation, want 6", got.Creations)
	}
}
