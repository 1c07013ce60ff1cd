package region_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

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
