package region_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	_ "github.com/dogpile-go/dogpile/codec/compress"
	"github.com/dogpile-go/dogpile/codec/json"
	"github.com/dogpile-go/dogpile/region"
)

// What became of one type in some releases.
type (
	rowV1    struct{ N int64 }
	rowAdded struct {
		N    int64
		Mail string
	}
	rowRemoved struct{ M int64 }
	rowChanged struct{ N string }
)

// deploy is a fleet in which binaries of several releases run over one backend, and one
// row in the database that all of them read.
type deploy struct {
	t   *testing.T
	cfg region.Config
	row atomic.Int64

	ops atomic.Int64 // of the backend
}

// byteKinds are the ways in which a region can meet a backend of bytes.
var byteKinds = []string{"bytes", "bytes, remote"}

// eachDeploy runs a test in a bubble for each kind of backend of bytes.
func eachDeploy(t *testing.T, test func(t *testing.T, d *deploy)) {
	t.Helper()
	for _, kind := range byteKinds {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, func(t *testing.T) { test(t, newDeploy(t, kinds[kind]())) })
		})
	}
}

func newDeploy(t *testing.T, cfg region.Config) *deploy {
	d := &deploy{t: t, cfg: cfg}
	d.row.Store(1)
	d.cfg.Wrap = append(d.cfg.Wrap, func(b backend.Backend) backend.Backend {
		return &probe{Backend: b, before: func(string) { d.ops.Add(1) }}
	})
	return d
}

// binary is one process. Values are told apart by the state of the row when their creator
// began.
type binary struct {
	t    *testing.T
	r    *region.Region
	made atomic.Int64  // calls of its creator
	gate chan struct{} // nil: its creator does not wait

	call  func(ctx context.Context, key string, opts ...region.CallOption) (int64, error)
	get   func(ctx context.Context, key string, opts ...region.GetOption) (int64, bool, error)
	set   func(ctx context.Context, key string, row int64, opts ...region.SetOption) error
	multi func(ctx context.Context, keys []string, opts ...region.CallOption) (map[string]int64, error)
	reads func(ctx context.Context, keys []string) (map[string]int64, error)

	said func(ctx context.Context) error // by the creator, besides; nil: nothing
	tags []region.SetOption
}

// starts starts a process whose values are Ts.
func starts[T any](d *deploy, to func(int64) T, from func(T) int64, change ...func(*region.Config)) *binary {
	d.t.Helper()
	cfg := d.cfg
	for _, c := range change {
		c(&cfg)
	}
	b := &binary{t: d.t, r: open(d.t, cfg)}
	create := func(ctx context.Context) (none T, err error) {
		b.made.Add(1)
		row := d.row.Load()
		if b.gate != nil {
			select {
			case <-b.gate:
			case <-ctx.Done():
				return none, context.Cause(ctx)
			}
		}
		if b.said != nil {
			if err := b.said(ctx); err != nil {
				return none, err
			}
		}
		return to(row), nil
	}
	b.call = func(ctx context.Context, key string, opts ...region.CallOption) (int64, error) {
		v, err := region.GetOrCreate(ctx, b.r, key, create, opts...)
		if err != nil {
			return 0, err
		}
		return from(v), nil
	}
	b.get = func(ctx context.Context, key string, opts ...region.GetOption) (int64, bool, error) {
		v, ok, err := region.Get[T](ctx, b.r, key, opts...)
		if err != nil || !ok {
			return 0, ok, err
		}
		return from(v), ok, err
	}
	b.set = func(ctx context.Context, key string, row int64, opts ...region.SetOption) error {
		return region.Set(ctx, b.r, key, to(row), opts...)
	}
	all := func(values map[string]T, err error) (map[string]int64, error) {
		rows := map[string]int64{}
		for key, v := range values {
			rows[key] = from(v)
		}
		return rows, err
	}
	b.multi = func(ctx context.Context, keys []string, opts ...region.CallOption) (map[string]int64, error) {
		return all(region.GetOrCreateMulti(ctx, b.r, keys, func(ctx context.Context, missing []string) (map[string]T, error) {
			v, err := create(ctx)
			values := map[string]T{}
			for _, key := range missing {
				values[key] = v
			}
			return values, err
		}, opts...))
	}
	b.reads = func(ctx context.Context, keys []string) (map[string]int64, error) {
		return all(region.GetMulti[T](ctx, b.r, keys))
	}
	return b
}

func (d *deploy) v1(change ...func(*region.Config)) *binary {
	return starts(d, func(n int64) rowV1 { return rowV1{n} }, func(v rowV1) int64 { return v.N }, change...)
}

func (d *deploy) added(change ...func(*region.Config)) *binary {
	return starts(d, func(n int64) rowAdded { return rowAdded{n, "a@b"} }, func(v rowAdded) int64 {
		if v.Mail != "a@b" {
			d.t.Errorf("a value without its mail: %+v", v)
		}
		return v.N
	}, change...)
}

func (d *deploy) removed(change ...func(*region.Config)) *binary {
	return starts(d, func(n int64) rowRemoved { return rowRemoved{n} }, func(v rowRemoved) int64 { return v.M }, change...)
}

func (d *deploy) changed(change ...func(*region.Config)) *binary {
	return starts(d, func(n int64) rowChanged { return rowChanged{strings.Repeat("x", int(n))} }, func(v rowChanged) int64 { return int64(len(v.N)) }, change...)
}

func with(c codec.Codec) func(*region.Config) { return func(cfg *region.Config) { cfg.Codec = c } }

// successors are what may come after v1.
var successors = map[string]func(d *deploy) *binary{
	"field added":   func(d *deploy) *binary { return d.added() },
	"field removed": func(d *deploy) *binary { return d.removed() },
	"type changed":  func(d *deploy) *binary { return d.changed() },
	"json":          func(d *deploy) *binary { return d.v1(with(json.New())) },
	"+zstd": func(d *deploy) *binary {
		c, err := codec.Open("json+zstd")
		if err != nil {
			d.t.Fatal(err)
		}
		return d.v1(with(c))
	},
}

// gets wants a call to return the value of a row.
func (b *binary) gets(key string, row int64, opts ...region.CallOption) {
	b.t.Helper()
	if got, err := b.call(b.t.Context(), key, opts...); got != row || err != nil {
		b.t.Errorf("a call for %q got row %d, %v; want %d", key, got, err, row)
	}
}

// created wants the creator to have run so often.
func (b *binary) created(n int64) {
	b.t.Helper()
	if got := b.made.Load(); got != n {
		b.t.Errorf("the creator of a binary ran %d times, want %d", got, n)
	}
}

// clean wants nothing to be wrong with what is stored.
func (b *binary) clean() {
	b.t.Helper()
	if s := b.r.Stats(); s.BadEntries+s.Unstored+s.Errors+s.FailedCreations != 0 {
		b.t.Errorf("stats are %+v; want no bad entries, nothing unstored and no errors", s)
	}
}

// comes makes a call in the background.
func (b *binary) comes(key string, opts ...region.CallOption) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		row, err := b.call(b.t.Context(), key, opts...)
		done <- answer{fmt.Sprint(row), err}
	}()
	return done
}

// trips returns how many operations of the backend something takes.
func (d *deploy) trips(do func()) int64 {
	before := d.ops.Load()
	do()
	return d.ops.Load() - before
}
