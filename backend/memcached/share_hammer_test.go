package memcached_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// hammerParams are what the processes of a hammer are told. The rows that they cache are
// items of the same server, and are written by one process only.
type hammerParams struct {
	Addr, Space string
	Keys        int
	For         time.Duration
}

func (p hammerParams) key(i int) backend.Key {
	return backend.Key{Name: fmt.Sprintf("%s-%d", p.Space, i)}
}

func (p hammerParams) row(i int) backend.Key {
	return backend.Key{Name: fmt.Sprintf("%s-row-%d", p.Space, i)}
}

func number(e *backend.Entry) int64 {
	if e == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(e.Data), 10, 64)
	return n
}

// hammer is the role of a process that reads rows and stores them, and, if it is the
// first, writes rows and deletes what is stored of them.
func hammer(w *fleettest.Worker) error {
	var params hammerParams
	if err := w.Params(&params); err != nil {
		return err
	}
	b := memcached.New(memcached.Config{Servers: []string{params.Addr}, LeaseTTL: 2 * time.Second})
	defer b.Close()
	view, err := b.Share(python)
	if err != nil {
		return err
	}
	rows := memcached.New(memcached.Config{Servers: []string{params.Addr}, Prefix: params.Space})
	defer rows.Close()
	var stores, deletes, refused atomic.Int64
	var failed atomic.Pointer[error]
	fail := func(err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	w.Ready()
	w.Await("go")
	ctx := context.Background()
	end := time.Now().Add(params.For)
	var all sync.WaitGroup
	for i := range params.Keys {
		for n := range 3 {
			all.Go(func() {
				for turn := 0; time.Now().Before(end); turn++ {
					grants, _, err := view.Acquire(ctx, []backend.Key{params.key(i)}, nil)
					if err != nil {
						fail(err)
						return
					}
					if grants[0].Lease == nil {
						short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
						_ = view.Wait(short, []backend.Key{params.key(i)})
						cancel()
						continue
					}
					row, err := rows.Get(ctx, params.row(i), nil)
					fail(err)
					if (turn+n)%4 == 0 {
						time.Sleep(time.Millisecond)
					}
					items := []backend.Item{{Key: params.key(i), Entry: entry(strconv.FormatInt(number(row.Entry), 10)), Lease: grants[0].Lease}}
					_, err = view.Set(ctx, items, nil)
					fail(err)
					switch err := items[0].Err; {
					case errors.Is(err, backend.ErrLeaseLost):
						refused.Add(1)
					case err == nil:
						stores.Add(1)
					default:
						fail(err)
					}
					_ = grants[0].Lease.Release(ctx)
				}
			})
		}
		if w.Index > 0 {
			continue
		}
		// The only writer of the row: a value that is older than its last Delete, or
		// Set, must not be there any more.
		all.Go(func() {
			for version := int64(1); time.Now().Before(end); version++ {
				text := strconv.FormatInt(version, 10)
				row := []backend.Item{{Key: params.row(i), Entry: entry(text)}}
				_, err := rows.Set(ctx, row, nil)
				fail(errors.Join(err, row[0].Err))
				how := "Delete"
				if version%5 == 0 {
					how = "Set"
					items := []backend.Item{{Key: params.key(i), Entry: entry(text)}}
					_, err := view.Set(ctx, items, nil)
					fail(errors.Join(err, items[0].Err))
				} else {
					fail(view.Delete(ctx, []backend.Key{params.key(i)}))
				}
				deletes.Add(1)
				for range 5 {
					found, err := view.Get(ctx, params.key(i), nil)
					fail(err)
					if found.Entry != nil && number(found.Entry) < version {
						fail(fmt.Errorf("version %s is there after the %s of version %s has returned", found.Entry.Data, how, text))
					}
				}
			}
		})
	}
	all.Wait()
	w.Report(map[string]int64{"stores": stores.Load(), "deletes": deletes.Load(), "refused": refused.Load()})
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Values are created, set and deleted by several processes at once: none comes back that
// was deleted.
func TestShareNoDeleteIsLost(t *testing.T) {
	server := memcachedtest.Start(t)
	params := hammerParams{Addr: server.Addr, Space: space(), Keys: 4, For: 2 * time.Second}
	if fleettest.Long() {
		params.For = time.Minute
	}
	fleet := fleettest.Start(t, "hammer", 3, params)
	fleet.AwaitReady()
	fleet.Send("go")
	sum := map[string]int64{}
	for _, p := range fleet.Workers {
		var report map[string]int64
		p.Report(&report)
		for name, n := range report {
			sum[name] += n
		}
	}
	fleet.Wait()
	text, _ := json.Marshal(sum)
	t.Logf("%s", text)
	if sum["stores"] < 20 || sum["deletes"] < 20 || sum["refused"] == 0 {
		t.Errorf("%s, want many, and some publications refused", text)
	}
}
