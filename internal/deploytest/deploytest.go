// Package deploytest lets binaries of two releases use one backend, side by side as in
// a rolling deploy: what one of them stores the other one cannot read. It is for tests
// of backends.
package deploytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/region"
)

// The row of a database in two releases.
type (
	oldRow struct{ Version int64 }
	newRow struct {
		Version int64
		Note    string
	}
)

// process is a binary of one of the releases.
type process struct {
	region  *region.Region
	release int // 0 or 1
	call    func(ctx context.Context, key string, version func() int64) (int64, error)
	set     func(ctx context.Context, key string, version int64) error
}

// start starts a process. open opens the backend as a process of its own does.
func start(t *testing.T, release int, open func() backend.Backend) *process {
	t.Helper()
	r, err := region.New("rows", region.Config{Backend: open(), Expiration: time.Hour, StaleFor: region.NoStale})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &process{region: r, release: release}
	if release == 0 {
		p.call = func(ctx context.Context, key string, version func() int64) (int64, error) {
			row, err := region.GetOrCreate(ctx, r, key, func(context.Context) (oldRow, error) { return oldRow{version()}, nil })
			return row.Version, err
		}
		p.set = func(ctx context.Context, key string, version int64) error {
			return region.Set(ctx, r, key, oldRow{version})
		}
		return p
	}
	p.call = func(ctx context.Context, key string, version func() int64) (int64, error) {
		row, err := region.GetOrCreate(ctx, r, key, func(context.Context) (newRow, error) { return newRow{version(), "new"}, nil })
		if err == nil && row.Note != "new" {
			err = fmt.Errorf("got %+v, which another release has stored", row)
		}
		return row.Version, err
	}
	p.set = func(ctx context.Context, key string, version int64) error {
		return region.Set(ctx, r, key, newRow{version, "new"})
	}
	return p
}

// Run is the test. open opens the backend as a process of its own does.
func Run(t *testing.T, open func() backend.Backend) {
	t.Run("each creates once", func(t *testing.T) {
		createOnce(t, []*process{start(t, 0, open), start(t, 1, open), start(t, 0, open), start(t, 1, open)})
	})
	t.Run("no invalidation is lost", func(t *testing.T) {
		rowsChange(t, []*process{start(t, 0, open), start(t, 1, open), start(t, 1, open)})
	})
}

func createOnce(t *testing.T, fleet []*process) {
	const keys, callers, turns = 5, 8, 3
	for turn := range turns {
		for key := range keys {
			key := fmt.Sprint("once ", key)
			var made [2]atomic.Int64
			var all sync.WaitGroup
			for range callers {
				for _, p := range fleet {
					all.Go(func() {
						for range 3 {
							got, err := p.call(t.Context(), key, func() int64 {
								made[p.release].Add(1)
								time.Sleep(5 * time.Millisecond) // the others have to wait
								return int64(turn)
							})
							if got != int64(turn) || err != nil {
								t.Errorf("got %d, %v; want %d", got, err, turn)
							}
						}
					})
				}
			}
			all.Wait()
			if a, b := made[0].Load(), made[1].Load(); a != 1 || b != 1 {
				t.Errorf("turn %d: the creators of the releases ran %d and %d times, want once each", turn, a, b)
			}
			if err := fleet[turn%len(fleet)].region.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range fleet {
		if s := p.region.Stats(); s.BadEntries+s.Unstored+s.Errors != 0 {
			t.Errorf("a process of release %d tells of bad entries, unstored values or errors: %+v", p.release, s)
		}
	}
}

// row is a row of the database.
type row struct {
	key     string
	mu      sync.Mutex   // a writer at a time
	version atomic.Int64 // in the database
	floor   atomic.Int64 // what whoever comes now must see at least
}

// rowsChange changes rows under the processes, whose creators read them and then take
// their time. What a call returns that began after a Delete, Set, Expire or Invalidate had
// returned was created after that was called.
func rowsChange(t *testing.T, fleet []*process) {
	rows := make([]*row, 3)
	for i := range rows {
		rows[i] = &row{key: fmt.Sprint("row ", i)}
	}
	ctx := t.Context()
	var running sync.WaitGroup
	var reads, creations atomic.Int64
	for worker := range 12 {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 3))
			p := fleet[worker%len(fleet)]
			for range 150 {
				x := rows[rng.IntN(len(rows))]
				if rng.IntN(6) > 0 {
					floor := x.floor.Load()
					pause := time.Duration(rng.IntN(3)) * time.Millisecond / 2
					got, err := p.call(ctx, x.key, func() int64 {
						creations.Add(1)
						version := x.version.Load()
						time.Sleep(pause)
						return version
					})
					reads.Add(1)
					if err != nil || got < floor {
						t.Errorf("%s: release %d got version %d, %v; want %d at least", x.key, p.release, got, err, floor)
						return
					}
					continue
				}
				x.mu.Lock()
				version := x.version.Add(1)
				var err error
				switch rng.IntN(4) {
				case 0:
					err = p.set(ctx, x.key, version)
				case 1:
					err = p.region.Expire(ctx, x.key)
				case 2:
					err = p.region.Invalidate(ctx, region.Hard)
				default:
					err = p.region.Delete(ctx, x.key)
				}
				if err == nil {
					x.floor.Store(version)
				}
				x.mu.Unlock()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if creations.Load() == reads.Load() {
		t.Error("nothing was ever read from the backend")
	}
	t.Logf("%d reads, %d creations", reads.Load(), creations.Load())
}
