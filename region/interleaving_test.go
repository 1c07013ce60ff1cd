package region_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/region"
)

// cases are the ways to invalidate, with readers whose values are affected.
type interleavingCase struct {
	read       func(ctx context.Context, r *region.Region, load func(context.Context) (int, error)) (int, error)
	invalidate func(ctx context.Context, r *region.Region, version int) error
	large      bool // too many orders for each day
}

// deployed stores what another release keeps under the readers' keys: values of another
// type, so that those of the readers are variants.
func deployed(ctx context.Context, r *region.Region) error {
	wrapped, err := function(r).Key("k")
	if err != nil {
		return err
	}
	return region.SetMulti(ctx, r, map[string]string{"k": "another release's", wrapped: "another release's"})
}

func loadsKey(ctx context.Context, _ string) (int, error) {
	return ctx.Value(loader0{}).(func(context.Context) (int, error))(ctx)
}

type loader0 struct{}

var interleavingCases = map[string]interleavingCase{
	"Delete": {
		read:       readPlainly(),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return r.Delete(ctx, "k") },
	},
	"Set": {
		read: readPlainly(),
		invalidate: func(ctx context.Context, r *region.Region, version int) error {
			return region.Set(ctx, r, "k", version)
		},
	},
	"Expire": {
		read:       readPlainly(),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return r.Expire(ctx, "k") },
	},
	"Invalidate hard": {
		read:       readPlainly(),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return r.Invalidate(ctx, region.Hard) },
	},
	"Invalidate soft": {
		read:       readPlainly(),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return r.Invalidate(ctx, region.Soft) },
	},
	"a tag of the call": {
		read:       readPlainly(region.WithTags("t")),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return r.InvalidateTags(ctx, "t") },
	},
	"a tag among others": {
		read:       readPlainly(region.WithTags("a", "t")),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return r.InvalidateTags(ctx, "t", "z") },
		large:      true,
	},
	"a tag of the call, soft": {
		read:       readPlainly(region.WithTags("t")),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return region.SoftTags(ctx, r, "t") },
	},
	"a tag of the creator": {
		read:       readAdding("t"),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return r.InvalidateTags(ctx, "t") },
	},
	"a tag of the creator, soft": {
		read:       readAdding("t"),
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return region.SoftTags(ctx, r, "t") },
	},
	"a function": {
		read:       readFunction,
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return function(r).InvalidateAll(ctx) },
	},
	"a value of a function": {
		read:       readFunction,
		invalidate: func(ctx context.Context, r *region.Region, _ int) error { return function(r).Invalidate(ctx, "k") },
	},
}

func readPlainly(opts ...region.CallOption) func(context.Context, *region.Region, func(context.Context) (int, error)) (int, error) {
	return func(ctx context.Context, r *region.Region, load func(context.Context) (int, error)) (int, error) {
		return region.GetOrCreate(ctx, r, "k", load, opts...)
	}
}

func readAdding(tags ...string) func(context.Context, *region.Region, func(context.Context) (int, error)) (int, error) {
	return func(ctx context.Context, r *region.Region, load func(context.Context) (int, error)) (int, error) {
		return region.GetOrCreate(ctx, r, "k", func(ctx context.Context) (int, error) {
			v, err := load(ctx)
			region.FromContext(ctx).AddTags(tags...)
			return v, err
		})
	}
}

var functions sync.Map // *region.Region → *decorate.Func[string, int]

func function(r *region.Region) *decorate.Func[string, int] {
	f, ok := functions.Load(r)
	if !ok {
		f, _ = functions.LoadOrStore(r, decorate.CacheOnArguments(r, loadsKey))
	}
	return f.(*decorate.Func[string, int])
}

func readFunction(ctx context.Context, r *region.Region, load func(context.Context) (int, error)) (int, error) {
	return function(r).Call(context.WithValue(ctx, loader0{}, load), "k")
}

// tried is what came of one order.
type tried struct {
	stale []string // what went wrong
	next  []int
	more  bool
}

// try runs one order in a bubble.
func (set setting) try(t *testing.T, choices []int) (out tried) {
	synctest.Test(t, func(t *testing.T) {
		s := &schedule{choices: choices, fine: set.fine}
		shared := memory.New(memory.Config{Copy: set.bytes})
		process := func() *region.Region {
			b := &stepping{Backend: shared, s: s}
			if set.breaks != nil {
				set.breaks(b)
			}
			r, err := region.New("rows", region.Config{Backend: b, KeepBackendOpen: true, Expiration: region.Forever, StaleFor: region.NoStale})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		reading := process()
		writing := reading
		if !set.together {
			writing = process()
		}
		defer func() {
			for _, r := range []*region.Region{reading, writing} {
				functions.Delete(r)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			shared.Close()
		}()
		row := 1 // in the database; nobody takes a step at the same time as another
		load := func(ctx context.Context) (int, error) {
			s.at(ctx, "read the row")
			seen := row
			s.at(ctx, "have read")
			return seen, nil
		}
		quiet := t.Context()
		if set.deploy {
			if err := deployed(quiet, reading); err != nil {
				t.Fatal(err)
			}
		}
		if set.stored {
			if v, err := set.read(quiet, reading, load); v != 1 || err != nil {
				t.Fatal(v, err)
			}
		}
		var invalidated int // when
		var all sync.WaitGroup
		all.Go(func() {
			ctx := as(quiet, "W")
			s.at(ctx, "commit")
			row = 2
			if err := set.invalidate(ctx, writing, 2); err != nil {
				t.Error(err)
			}
			invalidated = s.now()
		})
		for i := range set.readers {
			all.Go(func() {
				ctx := as(quiet, fmt.Sprint("R", i+1))
				s.at(ctx, "begin")
				late, began := invalidated > 0, s.now()
				v, err := set.read(ctx, reading, load)
				switch {
				case err != nil:
					t.Error(err)
				case late && v == 1:
					out.stale = append(out.stale, fmt.Sprintf("reader %d began at step %d and got the old row", i+1, began))
				}
			})
		}
		s.run()
		all.Wait()
		for _, r := range []*region.Region{reading, writing} {
			got, err := set.read(quiet, r, func(context.Context) (int, error) { return 2, nil })
			if err != nil {
				t.Error(err)
			}
			if got != 2 {
				out.stale = append(out.stale, "the old row stays stored")
				break
			}
		}
		if out.stale != nil {
			out.stale = append(out.stale, s.trace...)
		}
		out.next, out.more = s.next()
	})
	return out
}

// all tries every order, and returns how many there are and how many went wrong.
func (set setting) all(t *testing.T) (orders, wrong int, example []string) {
	t.Helper()
	const most = 200_000
	for choices := []int(nil); ; {
		out := set.try(t, choices)
		orders++
		if out.stale != nil {
			wrong++
			example = out.stale
		}
		if !out.more || t.Failed() {
			return orders, wrong, example
		}
		if choices = out.next; orders == most {
			t.Fatalf("there are more than %d orders", most)
		}
	}
}

func TestEveryInterleaving(t *testing.T) {
	began := time.Now()
	sum := 0
	for name, c := range interleavingCases {
		for _, set := range []setting{
			{interleavingCase: c, readers: 1, fine: true},
			{interleavingCase: c, readers: 1, fine: true, together: true, bytes: true},
			{interleavingCase: c, readers: 2, together: true},
			{interleavingCase: c, readers: 2, bytes: true},
			{interleavingCase: c, readers: 1, fine: true, bytes: true, deploy: true},
			{interleavingCase: c, readers: 2, bytes: true, deploy: true},
			{interleavingCase: c, readers: 2, together: true, bytes: true, deploy: true},
		} {
			if set.deploy && set.readers > 1 && name != "Delete" {
				continue // Set and tags have too many
			}
			if (set.readers > 1 && (!set.deploy || set.together) || set.large) && !fleettest.Long() {
				continue
			}
			for _, set.stored = range []bool{false, true} {
				began := time.Now()
				orders, wrong, example := set.all(t)
				if wrong > 0 {
					t.Errorf("%s, %+v: %d of %d orders went wrong, such as\n%s", name, set, wrong, orders, strings.Join(example, "\n"))
				}
				t.Logf("%s, %d readers, in the writer's process: %v, in a deploy: %v, old value stored: %v: %d orders in %v", name, set.readers, set.together, set.deploy, set.stored, orders, time.Since(began))
				sum += orders
			}
		}
	}
	t.Logf("%d orders in %v", sum, time.Since(began))
}
