package decorate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// each runs a test in a bubble for a backend of values and one of bytes.
func each(t *testing.T, test func(t *testing.T, r *region.Region)) {
	for name, cfg := range map[string]memory.Config{"values": {}, "bytes": {Copy: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := region.New("test", region.Config{Backend: memory.New(cfg), Expiration: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				test(t, r)
			})
		})
	}
}

// database is what the wrapped functions query.
type database struct{ queries atomic.Int64 }

func (d *database) load(_ context.Context, id int64) (string, error) {
	return fmt.Sprintf("row %d, query %d", id, d.queries.Add(1)), nil
}

func got[V comparable](t *testing.T, value V, err error, want V) {
	t.Helper()
	if err != nil || value != want {
		t.Errorf("got %v, %v; want %v", value, err, want)
	}
}

func TestFunc(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		ctx, db := t.Context(), &database{}
		f := decorate.CacheOnArguments(r, db.load)

		if v, ok, err := f.Get(ctx, 42); ok || err != nil {
			t.Errorf("Get before anything = %q, %v, %v", v, ok, err)
		}
		v, err := f.Call(ctx, 42)
		got(t, v, err, "row 42, query 1")
		v, err = f.Call(ctx, 42)
		got(t, v, err, "row 42, query 1")
		v, ok, err := f.Get(ctx, 42)
		got(t, v, err, "row 42, query 1")
		if !ok {
			t.Error("Get does not find what Call has stored")
		}

		v, err = f.Refresh(ctx, 42)
		got(t, v, err, "row 42, query 2")
		v, err = f.Call(ctx, 42)
		got(t, v, err, "row 42, query 2")

		if err := f.Set(ctx, 42, "set"); err != nil {
			t.Fatal(err)
		}
		v, err = f.Call(ctx, 42)
		got(t, v, err, "set")

		if err := f.Invalidate(ctx, 42); err != nil {
			t.Fatal(err)
		}
		v, err = f.Call(ctx, 42)
		got(t, v, err, "row 42, query 3")

		v, err = f.Original(ctx, 42)
		got(t, v, err, "row 42, query 4")
		v, err = f.Call(ctx, 42)
		got(t, v, err, "row 42, query 3")
		v, err = f.Call(ctx, 43)
		got(t, v, err, "row 43, query 5")

		key, err := f.Key(42)
		got(t, key, err, "github.com/dogpile-go/dogpile/decorate_test.(*database).load(int64(42))")
		v, ok, err = region.Get[string](ctx, r, key)
		got(t, v, err, "row 42, query 3")
		if !ok {
			t.Error("the region does not know the key")
		}
	})
}

// A refresh means what is in the database now: it never takes the value of a
// query that was under way.
func TestRefreshDoesNotJoinAnOlderQuery(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		row := "old"
		gate := make(chan struct{})
		f := decorate.CacheOnArguments0(r, func(context.Context) (string, error) {
			read := row
			<-gate
			return read, nil
		}, region.Namespace("row"))
		first := make(chan string, 1)
		go func() { v, _ := f.Call(t.Context()); first <- v }()
		synctest.Wait()
		row = "new"
		second := make(chan string, 1)
		go func() { v, _ := f.Refresh(t.Context()); second <- v }()
		synctest.Wait()
		close(gate)
		if v := <-first; v != "old" {
			t.Errorf("the call got %q", v)
		}
		if v := <-second; v != "new" {
			t.Errorf("the refresh got %q, want new", v)
		}
		if v, _, _ := f.Get(t.Context()); v != "new" {
			t.Errorf("%q is stored, want new", v)
		}
	})
}

func TestEveryArity(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		ctx := t.Context()
		queries := 0
		count := func(args ...any) (string, error) { queries++; return fmt.Sprint(args...), nil }
		f0 := decorate.CacheOnArguments0(r, func(context.Context) (string, error) { return count() }, region.Namespace("f0"))
		f2 := decorate.CacheOnArguments2(r, func(_ context.Context, a int, b string) (string, error) { return count(a, b) }, region.Namespace("f2"))
		f3 := decorate.CacheOnArguments3(r, func(_ context.Context, a int, b string, c bool) (string, error) { return count(a, b, c) }, region.Namespace("f3"))
		f4 := decorate.CacheOnArguments4(r, func(_ context.Context, a int, b string, c bool, d int8) (string, error) { return count(a, b, c, d) }, region.Namespace("f4"))

		type ops struct {
			call, refresh, original func() (string, error)
			get                     func() (string, bool, error)
			set                     func(string) error
			invalidate              func() error
			key                     func() (string, error)
			want, wantKey           string
		}
		for name, o := range map[string]ops{
			"0": {
				func() (string, error) { return f0.Call(ctx) }, func() (string, error) { return f0.Refresh(ctx) },
				func() (string, error) { return f0.Original(ctx) }, func() (string, bool, error) { return f0.Get(ctx) },
				func(v string) error { return f0.Set(ctx, v) }, func() error { return f0.Invalidate(ctx) }, f0.Key,
				"", "f0()",
			},
			"2": {
				func() (string, error) { return f2.Call(ctx, 1, "b") }, func() (string, error) { return f2.Refresh(ctx, 1, "b") },
				func() (string, error) { return f2.Original(ctx, 1, "b") }, func() (string, bool, error) { return f2.Get(ctx, 1, "b") },
				func(v string) error { return f2.Set(ctx, 1, "b", v) }, func() error { return f2.Invalidate(ctx, 1, "b") },
				func() (string, error) { return f2.Key(1, "b") },
				"1b", `f2(1,"b")`,
			},
			"3": {
				func() (string, error) { return f3.Call(ctx, 1, "b", true) }, func() (string, error) { return f3.Refresh(ctx, 1, "b", true) },
				func() (string, error) { return f3.Original(ctx, 1, "b", true) }, func() (string, bool, error) { return f3.Get(ctx, 1, "b", true) },
				func(v string) error { return f3.Set(ctx, 1, "b", true, v) }, func() error { return f3.Invalidate(ctx, 1, "b", true) },
				func() (string, error) { return f3.Key(1, "b", true) },
				"1btrue", `f3(1,"b",true)`,
			},
			"4": {
				func() (string, error) { return f4.Call(ctx, 1, "b", true, 4) }, func() (string, error) { return f4.Refresh(ctx, 1, "b", true, 4) },
				func() (string, error) { return f4.Original(ctx, 1, "b", true, 4) }, func() (string, bool, error) { return f4.Get(ctx, 1, "b", true, 4) },
				func(v string) error { return f4.Set(ctx, 1, "b", true, 4, v) }, func() error { return f4.Invalidate(ctx, 1, "b", true, 4) },
				func() (string, error) { return f4.Key(1, "b", true, 4) },
				"1btrue 4", `f4(1,"b",true,int8(4))`,
			},
		} {
			t.Log(name, "arguments")
			queries = 0
			for range 2 {
				v, err := o.call()
				got(t, v, err, o.want)
			}
			v, err := o.original()
			got(t, v, err, o.want)
			if queries != 2 {
				t.Errorf("%d queries, want 2", queries)
			}
			if err := o.set("set"); err != nil {
				t.Error(err)
			}
			v, ok, err := o.get()
			got(t, v, err, "set")
			if !ok {
				t.Error("Get says no")
			}
			v, err = o.refresh()
			got(t, v, err, o.want)
			if err := o.invalidate(); err != nil {
				t.Error(err)
			}
			if _, ok, _ := o.get(); ok {
				t.Error("Get finds an invalidated value")
			}
			key, err := o.key()
			got(t, key, err, o.wantKey)
		}
	})
}

// Several arguments that belong together can be one struct.
func TestAStructOfArguments(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		type search struct {
			City string
			Min  int
		}
		queries := 0
		f := decorate.CacheOnArguments(r, func(_ context.Context, s search) (string, error) {
			queries++
			return fmt.Sprint(s.City, s.Min), nil
		}, region.Namespace("search"))
		for range 2 {
			v, err := f.Call(t.Context(), search{"Rome", 3})
			got(t, v, err, "Rome3")
		}
		v, err := f.Call(t.Context(), search{"Rome", 4})
		got(t, v, err, "Rome4")
		if queries != 2 {
			t.Errorf("%d queries, want 2", queries)
		}
	})
}

func TestTheWrappersOptionsHoldForItsOtherMethodsToo(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		ctx, db := t.Context(), &database{}
		f := decorate.CacheOnArguments(r, db.load, region.WithExpiration(time.Second),
			region.CacheIf(func(v string) bool { return !strings.Contains(v, "query 2") }))
		v, err := f.Call(ctx, 1)
		got(t, v, err, "row 1, query 1")
		time.Sleep(2 * time.Second)
		if _, ok, _ := f.Get(ctx, 1); ok {
			t.Error("Get judges by the region's expiration, not by the wrapper's")
		}
		v, err = f.Refresh(ctx, 1)
		got(t, v, err, "row 1, query 2")
		v, err = f.Refresh(ctx, 1)
		got(t, v, err, "row 1, query 3")
		v, ok, err := f.Get(ctx, 1)
		got(t, v, err, "row 1, query 3")
		if !ok {
			t.Error("Get says no")
		}
	})
}

func TestABadWrappingIsReturnedByEveryMethod(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		ctx := t.Context()
		f := decorate.CacheOnArguments(r, func(context.Context, int) (int, error) { return 1, nil })
		_, call := f.Call(ctx, 1)
		_, _, get := f.Get(ctx, 1)
		_, refresh := f.Refresh(ctx, 1)
		_, key := f.Key(1)
		g := decorate.CacheMultiOnArguments(r, func(context.Context, []int) (map[int]int, error) { return nil, nil })
		_, multi := g.Call(ctx, []int{1})
		_, multiGet := g.Get(ctx, []int{1})
		_, multiRefresh := g.Refresh(ctx, []int{1})
		_, multiKey := g.Key(1)
		for what, err := range map[string]error{
			"Call": call, "Get": get, "Refresh": refresh, "Key": key, "Set": f.Set(ctx, 1, 1), "Invalidate": f.Invalidate(ctx, 1),
			"multi Call": multi, "multi Get": multiGet, "multi Refresh": multiRefresh, "multi Key": multiKey,
			"multi Set": g.Set(ctx, map[int]int{1: 1}), "multi Invalidate": g.Invalidate(ctx, 1),
		} {
			if !errors.Is(err, region.ErrConfig) || !strings.Contains(err.Error(), "region.Namespace") {
				t.Errorf("%s = %v; want ErrConfig and what to do", what, err)
			}
		}
	})
}

func TestMultiFunc(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		ctx := t.Context()
		var asked [][]int64
		f := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []int64) (map[int64]string, error) {
			asked = append(asked, ids)
			rows := map[int64]string{}
			for _, id := range ids {
				if id < 100 {
					rows[id] = fmt.Sprint("row ", id)
				}
			}
			return rows, nil
		}, region.Namespace("rows"))
		want := func(m map[int64]string, err error, ids ...int64) {
			t.Helper()
			rows := map[int64]string{}
			for _, id := range ids {
				rows[id] = fmt.Sprint("row ", id)
			}
			if err != nil || !maps.Equal(m, rows) {
				t.Errorf("got %v, %v; want %v", m, err, rows)
			}
		}
		load := func(ids ...[]int64) {
			t.Helper()
			if fmt.Sprint(asked) != fmt.Sprint(ids) {
				t.Errorf("the function was asked for %v, want %v", asked, ids)
			}
			asked = nil
		}

		m, err := f.Call(ctx, []int64{1, 2, 1})
		want(m, err, 1, 2)
		load([]int64{1, 2})
		m, err = f.Call(ctx, []int64{3, 2, 1})
		want(m, err, 1, 2, 3)
		load([]int64{3})
		m, err = f.Get(ctx, []int64{1, 4})
		want(m, err, 1)
		if err := f.Set(ctx, map[int64]string{4: "row 4"}); err != nil {
			t.Fatal(err)
		}
		if err := f.Invalidate(ctx, 1, 2); err != nil {
			t.Fatal(err)
		}
		m, err = f.Get(ctx, []int64{1, 2, 3, 4})
		want(m, err, 3, 4)
		m, err = f.Refresh(ctx, []int64{3, 4})
		want(m, err, 3, 4)
		load([]int64{3, 4})
		m, err = f.Original(ctx, []int64{3})
		want(m, err, 3)
		load([]int64{3})
		m, err = f.Call(ctx, nil)
		want(m, err)
		load()

		m, err = f.Call(ctx, []int64{3, 100, 5})
		var wrong *region.BatchError
		if !errors.As(err, &wrong) || len(wrong.Missing) != 1 {
			t.Errorf("a missing row: %v; want a BatchError", err)
		}
		want(m, nil, 3, 5)
		key, err := f.Key(7)
		got(t, key, err, "rows(int64(7))")
	})
}

func TestMultiFuncWithRowsThatDoNotExist(t *testing.T) {
	each(t, func(t *testing.T, r *region.Region) {
		f := decorate.CacheMultiOnArguments(r, func(_ context.Context, ids []string) (map[string]int, error) {
			rows := map[string]int{}
			for _, id := range slices.DeleteFunc(ids, func(id string) bool { return id == "none" }) {
				rows[id] = len(id)
			}
			return rows, nil
		}, region.Namespace("lengths"), region.AllowMissing())
		m, err := f.Call(t.Context(), []string{"a", "none", "bb"})
		if err != nil || !maps.Equal(m, map[string]int{"a": 1, "bb": 2}) {
			t.Errorf("got %v, %v", m, err)
		}
	})
}
