package file_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/region"
)

// No invalidation is lost (I1): whatever a call returns that began after Delete, Set or
// Invalidate had returned was created after that was called. Rows of a database change
// under three backends, whose creators read them and then take their time, while the
// directory is swept.
func TestNoInvalidationIsLost(t *testing.T) {
	dir := t.TempDir()
	var fleet []*region.Region
	var sweeper *file.Backend
	for range 3 {
		b := open(t, dir, file.Config{})
		r, err := region.New("rows", region.Config{Backend: b, Expiration: time.Hour, StaleFor: region.NoStale})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		fleet, sweeper = append(fleet, r), b
	}
	type row struct {
		key     string
		mu      sync.Mutex   // a writer at a time
		version atomic.Int64 // in the database
		floor   atomic.Int64 // what whoever comes now must see at least
	}
	rows := make([]*row, 4)
	for i := range rows {
		rows[i] = &row{key: fmt.Sprint("row ", i)}
	}
	ctx := t.Context()
	var running sync.WaitGroup
	var reads, creations atomic.Int64
	for worker := range 12 {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			r := fleet[worker%len(fleet)]
			for range rounds(200, 3000) {
				x := rows[rng.IntN(len(rows))]
				if rng.IntN(6) > 0 {
					floor := x.floor.Load()
					got, err := region.GetOrCreate(ctx, r, x.key, func(context.Context) (int64, error) {
						creations.Add(1)
						version := x.version.Load()
						time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond / 2)
						return version, nil
					})
					reads.Add(1)
					if err != nil {
						t.Error(err)
					} else if got < floor {
						t.Errorf("%s: got version %d, but version %d was written and the old one invalidated before", x.key, got, floor)
					}
					continue
				}
				var err error
				x.mu.Lock()
				version := x.version.Add(1)
				switch rng.IntN(4) {
				case 0:
					err = region.Set(ctx, r, x.key, version)
				case 1:
					err = r.Invalidate(ctx, region.Hard)
				default:
					err = r.Delete(ctx, x.key)
				}
				if err != nil {
					t.Error(err)
				}
				x.floor.Store(version)
				x.mu.Unlock()
				if rng.IntN(20) == 0 {
					file.Sweep(sweeper)
				}
			}
		})
	}
	running.Wait()
	t.Logf("%d reads, %d creations", reads.Load(), creations.Load())
}
