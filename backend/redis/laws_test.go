package redis_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// No invalidation is lost (I1): whatever a call returns that began after Delete, Set or
// Invalidate had returned was created after that was called. Rows of a database change
// under three processes, whose creators read them and then take their time.
func TestNoInvalidationIsLost(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (url string){
		"standalone": func(t *testing.T) string { return "redis://" + redistest.Shared(t).Addr },
		"cluster": func(t *testing.T) string {
			return "redis+cluster://" + strings.Join(redistest.SharedCluster(t).Addrs, ",")
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := open(t) + "?prefix=" + space()
			var fleet []*region.Region
			for range 3 {
				b, err := backend.Open(url)
				if err != nil {
					t.Fatal(err)
				}
				r, err := region.New("rows", region.Config{Backend: b, Expiration: time.Hour, StaleFor: region.NoStale})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { r.Close() })
				fleet = append(fleet, r)
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
					for range rounds(400, 5000) {
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
						how := rng.IntN(4)
						switch how {
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
					}
				})
			}
			running.Wait()
			t.Logf("%d reads, %d creations", reads.Load(), creations.Load())
		})
	}
}

// Batches that overlap, from several processes, create every key once and do not wait
// for each other for ever.
func TestOverlappingBatches(t *testing.T) {
	url := "redis+cluster://" + strings.Join(redistest.SharedCluster(t).Addrs, ",") + "?prefix=" + space()
	const processes, all, each = 4, 400, 150
	var created [all]atomic.Int64
	var running sync.WaitGroup
	for i := range processes {
		b, err := backend.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		wrong := new(failures)
		r, err := region.New("batches", region.Config{Backend: b, Expiration: time.Hour, Observer: wrong})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			for _, err := range wrong.all() {
				t.Error(err)
			}
			r.Close()
		}()
		for j := range 3 {
			running.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				keys := make([]string, each)
				for k := range keys {
					keys[k] = fmt.Sprint(rng.IntN(all))
				}
				got, err := region.GetOrCreateMulti(t.Context(), r, keys, func(_ context.Context, missing []string) (map[string]string, error) {
					values := make(map[string]string, len(missing))
					for _, key := range missing {
						var n int
						fmt.Sscan(key, &n)
						created[n].Add(1)
						values[key] = "value " + key
					}
					time.Sleep(time.Millisecond)
					return values, nil
				})
				if err != nil {
					t.Error(err)
				}
				for _, key := range keys {
					if got[key] != "value "+key {
						t.Errorf("%s is %q", key, got[key])
					}
				}
			})
		}
	}
	running.Wait()
	for n := range created {
		if c := created[n].Load(); c > 1 {
			t.Errorf("key %d was created %d times", n, c)
		}
	}
}
