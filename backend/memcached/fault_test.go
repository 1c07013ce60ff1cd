package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/region"
)

// join opens a region as a process of its own would have it.
func join(t *testing.T, cfg memcached.Config) *region.Region {
	t.Helper()
	r, err := region.New("rows", region.Config{Backend: memcached.New(cfg), Expiration: time.Hour, StaleFor: region.NoStale})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// row is a row of a database that is cached.
type row struct {
	key     string
	mu      sync.Mutex   // a writer at a time
	version atomic.Int64 // in the database
	floor   atomic.Int64 // what whoever comes now must see at least
}

// rowsChange lets rows of a database change under several processes, whose creators read
// them and then take their time, until over is closed or enough has happened. Whatever a
// call returns that began after Delete, Set or Invalidate had returned was created after
// that was called (I1). Calls that fail do so at their own risk: their writer repeats
// the Delete until it has succeeded. A process whose backend fails shares what it creates.
func rowsChange(t *testing.T, fleet []*region.Region, turns int, over <-chan struct{}, faulty bool) {
	rows := make([]*row, 4)
	for i := range rows {
		rows[i] = &row{key: fmt.Sprint("row ", i)}
	}
	ctx := t.Context()
	var running sync.WaitGroup
	var reads, creations, failures, blind atomic.Int64
	for worker := range 12 {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			r := fleet[worker%len(fleet)]
			for range turns {
				select {
				case <-over:
					return
				default:
				}
				x := rows[rng.IntN(len(rows))]
				if rng.IntN(6) > 0 {
					floor, failed := x.floor.Load(), r.Stats().Errors
					got, err := region.GetOrCreate(ctx, r, x.key, func(context.Context) (int64, error) {
						creations.Add(1)
						version := x.version.Load()
						time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond / 2)
						return version, nil
					})
					reads.Add(1)
					if err != nil {
						t.Error(err)
					} else if got < floor && r.Stats().Errors > failed {
						blind.Add(1) // its process could not know of what others have done
					} else if got < floor {
						t.Errorf("%s: got version %d, but version %d was written and the old one invalidated before", x.key, got, floor)
					}
					continue
				}
				var err error
				x.mu.Lock()
				version := x.version.Add(1)
				switch how := rng.IntN(4); {
				case how == 0:
					err = region.Set(ctx, r, x.key, version)
				case how == 1:
					err = r.Invalidate(ctx, region.Hard)
				default:
					err = r.Delete(ctx, x.key)
				}
				for err != nil && ctx.Err() == nil {
					failures.Add(1)
					time.Sleep(10 * time.Millisecond)
					err = r.Delete(ctx, x.key)
				}
				x.floor.Store(version)
				x.mu.Unlock()
			}
		})
	}
	running.Wait()
	if n := blind.Load(); n > 0 && !faulty {
		t.Errorf("%d reads were too old, though nobody has done anything to the server", n)
	}
	t.Logf("%d reads, %d of them shared while the backend failed, %d creations, %d writes failed at first", reads.Load(), blind.Load(), creations.Load(), failures.Load())
}

func TestNoInvalidationIsLost(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			cfg := memcached.Config{Servers: memcachedtest.Addrs(memcachedtest.Shared(t, n)), Prefix: space()}
			rowsChange(t, []*region.Region{join(t, cfg), join(t, cfg), join(t, cfg)}, rounds(150, 5000), nil, false)
		})
	}
}

// The server is restarted and flushed again and again while everybody works (R16).
func TestFaultRestartUnderLoad(t *testing.T) {
	server := memcachedtest.Start(t)
	cfg := memcached.Config{Servers: []string{server.Addr}}
	fleet := []*region.Region{join(t, cfg), join(t, cfg), join(t, cfg)}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rowsChange(t, fleet, 1<<30, over, true)
	}()
	for i := range rounds(8, 100) {
		time.Sleep(150 * time.Millisecond)
		if i%2 == 0 {
			server.Restart(t)
		} else {
			server.Do(t, "flush_all")
		}
	}
	time.Sleep(300 * time.Millisecond)
	close(over)
	<-done
	// It is back to work by itself.
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := region.Set(t.Context(), fleet[0], "after", "all")
		if got, ok, err2 := region.Get[string](t.Context(), fleet[1], "after"); err == nil && err2 == nil && ok && got == "all" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server is back, but Set = %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// flush_all in the middle of a creation makes its publication be refused; its callers
// have the value nevertheless.
func TestFaultFlushDuringCreation(t *testing.T) {
	server := memcachedtest.Start(t)
	b := open(t, memcached.Config{Servers: []string{server.Addr}})
	for _, stored := range []bool{false, true} {
		if stored {
			items := []backend.Item{{Key: lateKey, Entry: &backend.Entry{Data: []byte("old")}}}
			if _, err := b.Set(t.Context(), items, nil); err != nil || items[0].Err != nil {
				t.Fatal(err, items[0].Err)
			}
		}
		grants, stamps, err := b.Acquire(t.Context(), []backend.Key{lateKey}, []backend.Guard{{Region: "users"}})
		if err != nil || grants[0].Lease == nil {
			t.Fatal(err)
		}
		server.Do(t, "flush_all")
		items := []backend.Item{{Key: lateKey, Entry: &backend.Entry{Data: []byte("late")}, Lease: grants[0].Lease}}
		if _, err := b.Set(t.Context(), items, nil); err != nil || !errors.Is(items[0].Err, backend.ErrLeaseLost) {
			t.Errorf("Set = %v, and Err of the item %v; want ErrLeaseLost", err, items[0].Err)
		}
		select {
		case <-grants[0].Lease.Lost():
		default:
			t.Error("the holder was not told that its lease is lost")
		}
		now, err := b.Stamps(t.Context(), []backend.Guard{{Region: "users"}})
		if err != nil || now[0].Hard == stamps[0].Hard || now[0].Soft == stamps[0].Soft {
			t.Errorf("the stamps after a flush are %x, %v; want others than %x", now, err, stamps)
		}
	}
}

// A server with hardly any memory evicts values, leases and stamps while 1,000 keys are
// hot (R16). Nothing old is returned and nobody hangs.
func TestFaultEviction(t *testing.T) {
	server := memcachedtest.Start(t, "-m", "1", "-I", "512k")
	cfg := memcached.Config{Servers: []string{server.Addr}}
	fleet := []*region.Region{join(t, cfg), join(t, cfg)}
	const keys = 1000
	var floors, versions [keys]atomic.Int64
	var locks [keys]sync.Mutex
	var running sync.WaitGroup
	var created atomic.Int64
	for worker := range 8 {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 2))
			r := fleet[worker%2]
			type big struct {
				Version int64
				Ballast []byte
			}
			for range rounds(500, 10_000) {
				n := rng.IntN(keys)
				key := fmt.Sprint(n)
				if rng.IntN(10) > 0 {
					floor := floors[n].Load()
					got, err := region.GetOrCreate(t.Context(), r, key, func(context.Context) (big, error) {
						created.Add(1)
						return big{versions[n].Load(), make([]byte, 4<<10)}, nil
					})
					if err != nil || got.Version < floor {
						t.Errorf("key %d: version %d, %v; want %d at least", n, got.Version, err, floor)
					}
					continue
				}
				locks[n].Lock()
				version := versions[n].Add(1)
				if err := r.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete = %v", err)
				}
				floors[n].Store(version)
				locks[n].Unlock()
			}
		})
	}
	running.Wait()
	if server.Stat(t, "evictions") == 0 {
		t.Error("the server has evicted nothing, so nothing was tested")
	}
	t.Logf("%d creations, %d evictions", created.Load(), server.Stat(t, "evictions"))
}
