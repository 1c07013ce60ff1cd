package region_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// guarded counts who uses a backend, and notices use after Close.
type guarded struct {
	backend.Backend
	users  atomic.Int64
	closed atomic.Int64
	misuse atomic.Int64
}

func (c *guarded) enter() func() {
	c.users.Add(1)
	if c.closed.Load() > 0 {
		c.misuse.Add(1)
	}
	runtime.Gosched()
	return func() {
		if c.closed.Load() > 0 {
			c.misuse.Add(1)
		}
		c.users.Add(-1)
	}
}

func (c *guarded) Get(ctx context.Context, k backend.Key, g []backend.Guard) (backend.Found, error) {
	defer c.enter()()
	return c.Backend.Get(ctx, k, g)
}

func (c *guarded) Acquire(ctx context.Context, k []backend.Key, g []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	defer c.enter()()
	return c.Backend.Acquire(ctx, k, g)
}

func (c *guarded) Set(ctx context.Context, i []backend.Item, g []backend.Guard) ([]backend.Stamps, error) {
	defer c.enter()()
	return c.Backend.Set(ctx, i, g)
}

func (c *guarded) Close() error {
	if c.users.Load() > 0 {
		c.misuse.Add(1)
	}
	c.closed.Add(1)
	return c.Backend.Close()
}

// A region whose backend is swapped while 64 goroutines read it loses no call, creates
// each value at most once in each backend, and closes each backend after its last user.
func TestReconfigureUnderTraffic(t *testing.T) {
	const readers, keys, swaps = 64, 40, 20
	for name, bytes := range map[string]bool{"values": false, "values and bytes by turns": true} {
		t.Run(name, func(t *testing.T) {
			var all []*guarded
			next := func() region.Config {
				b := memory.New(memory.Config{Copy: bytes && len(all)%2 == 0})
				c := &guarded{Backend: b}
				all = append(all, c)
				cfg := region.Config{Backend: c, Expiration: time.Hour}
				if !bytes {
					cfg.Backend = &guardedLocal{c, b}
				}
				return cfg
			}
			r := open(t, next())
			var creations atomic.Int64
			done, reads := make(chan struct{}), make(chan struct{})
			var reading sync.WaitGroup
			for i := range readers {
				reading.Go(func() {
					for turn := i; ; turn++ {
						select {
						case <-done:
							return
						default:
						}
						key := fmt.Sprint("key ", turn%keys)
						v, err := region.GetOrCreate(t.Context(), r, key, func(context.Context) (string, error) {
							creations.Add(1)
							runtime.Gosched()
							return key, nil
						})
						if v != key || err != nil {
							t.Errorf("GetOrCreate(%q) = %q, %v", key, v, err)
							return
						}
						select {
						case reads <- struct{}{}:
						default:
							runtime.Gosched() // 64 who never stop would leave no time to anybody else
						}
					}
				})
			}
			for i := range swaps {
				for range 200 * (i % 3) {
					<-reads
				}
				old := all[len(all)-1]
				if err := r.Reconfigure(next()); err != nil {
					t.Error(err)
				}
				if n := old.closed.Load(); n != 1 {
					t.Errorf("the old backend was closed %d times when Reconfigure returned, want once", n)
				}
			}
			close(done)
			reading.Wait()
			if n := creations.Load(); n > (swaps+1)*keys {
				t.Errorf("%d creations of %d keys in %d backends, want one of each at most", n, keys, swaps+1)
			}
			for i, c := range all {
				if n := c.misuse.Load(); n > 0 {
					t.Errorf("backend %d was used %d times after it was closed", i, n)
				}
			}
		})
	}
}

// guardedLocal offers the short cuts of a backend in this process as well.
type guardedLocal struct {
	*guarded
	local backend.Local
}

func (c *guardedLocal) In(name string) backend.LocalRegion { return c.local.In(name) }

// A value that is being created when the backend is swapped is created once for all who
// wait for it, and is found by those who come after if both configurations share a backend.
func TestReconfigureDuringACreation(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, c := open(t, cfg), blocking()
		calls := herd(t, 10, r, "k", c)
		swapped := make(chan error, 1)
		again := cfg
		again.Expiration = 2 * time.Minute
		go func() { swapped <- r.Reconfigure(again) }()
		for r.Stats().Creations == 0 && len(swapped) == 0 {
			time.Sleep(time.Second)
			if len(calls) == 10 {
				calls = append(calls, background(t.Context(), r, "k", c)) // on the new one
				continue
			}
			c.release()
			break
		}
		allGot(t, calls, "v1")
		if err := <-swapped; err != nil {
			t.Error(err)
		}
		c.want(t, 1)
		holds(t, r, "k", "v1")
	})
}
