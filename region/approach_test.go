package region_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// slowGets counts reads, and holds each up until it is let through.
type slowGets struct {
	backend.Backend
	gets atomic.Int64
	gate chan struct{}
	err  error
}

func (s *slowGets) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	s.gets.Add(1)
	select {
	case <-s.gate:
	case <-ctx.Done():
		return backend.Found{}, context.Cause(ctx)
	}
	if s.err != nil {
		return backend.Found{}, s.err
	}
	return s.Backend.Get(ctx, key, guards)
}

func openSlow(t *testing.T) (*region.Region, *slowGets) {
	t.Helper()
	slow := &slowGets{Backend: memory.New(memory.Config{Copy: true}), gate: make(chan struct{})}
	return open(t, region.Config{Backend: slow, Expiration: time.Minute}), slow
}

// A herd on a cold key looks once, however long a look takes: who comes meanwhile
// follows the creation that the first one has started.
func TestAHerdOnAColdKeyLooksOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, slow := openSlow(t)
		c := blocking()
		calls := herd(t, 100, r, "k", c)
		synctest.Wait()
		close(slow.gate)
		synctest.Wait()
		calls = append(calls, herd(t, 100, r, "k", c)...)
		c.release()
		allGot(t, calls, "v1")
		if n := slow.gets.Load(); n != 1 {
			t.Errorf("%d looks for a herd on a cold key, want 1", n)
		}
	})
}

// Those who come during the first look take the next one together; then it is known
// that the key is there.
func TestWhoComesDuringALookLooksAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, slow := openSlow(t)
		c := counting()
		if err := region.Set(t.Context(), r, "k", "stored"); err != nil {
			t.Fatal(err)
		}
		calls := herd(t, 100, r, "k", c)
		synctest.Wait()
		if n := slow.gets.Load(); n != 1 {
			t.Errorf("%d looks at once, want 1", n)
		}
		close(slow.gate)
		allGot(t, calls, "stored")
		if n := slow.gets.Load(); n != 2 {
			t.Errorf("%d looks, want 2: one for the first caller, one for all who came during it", n)
		}
		c.want(t, 0)
	})
}

// A caller who has given up while others gather with it does not take them along.
func TestWhoGivesUpLeavesTheOthersTheirLook(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, slow := openSlow(t)
		c := counting()
		if err := region.Set(t.Context(), r, "k", "stored"); err != nil {
			t.Fatal(err)
		}
		first := background(t.Context(), r, "k", c)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		leader := background(ctx, r, "k", c)
		synctest.Wait()
		calls := append(herd(t, 10, r, "k", c), first)
		synctest.Wait()
		cancel()
		if got := <-leader; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who gave up got %v", got.err)
		}
		close(slow.gate)
		allGot(t, calls, "stored")
	})
}

// While the backend fails, whoever comes asks it again.
func TestALookThatFailsOpensNoFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, slow := openSlow(t)
		slow.err = errors.New("the backend is down")
		close(slow.gate)
		c := blocking()
		calls := herd(t, 1, r, "k", c)
		synctest.Wait()
		before := slow.gets.Load()
		calls = append(calls, background(t.Context(), r, "k", c))
		synctest.Wait()
		if n := slow.gets.Load() - before; n != 1 {
			t.Errorf("the second caller looked %d times, want once", n)
		}
		c.release()
		allGot(t, calls, "v1")
	})
}

// A caller whose own rules make it create opens its flight to nobody: the others may
// find what they want.
func TestAFlightIsOnlyForThoseWhoWouldHaveCreatedToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		slow := &slowGets{Backend: memory.New(memory.Config{Copy: true}), gate: make(chan struct{})}
		close(slow.gate)
		r := open(t, region.Config{Backend: slow, Expiration: time.Minute, StaleFor: region.NoStale})
		if err := region.Set(t.Context(), r, "k", "stored"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		strict := blocking()
		calls := herd(t, 1, r, "k", strict, region.WithExpiration(time.Second))
		synctest.Wait()
		must(t, r, "k", counting(), "stored")
		strict.release()
		allGot(t, calls, "v1")
	})
}

// A value that is stored while it is being created is found at once by those who come
// after, and by those who have been waiting.
func TestWhoFollowsFindsWhatIsStoredMeanwhile(t *testing.T) {
	for name, same := range map[string]bool{"same process": true, "other process": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				cfg := remote(config(memory.Config{Copy: true}))
				r := open(t, cfg)
				setter := r
				if !same {
					setter = open(t, cfg)
				}
				c := blocking()
				leader := herd(t, 1, r, "k", c)
				followers := herd(t, 3, r, "k", c)
				synctest.Wait()
				if err := region.Set(t.Context(), setter, "k", "stored"); err != nil {
					t.Fatal(err)
				}
				allGot(t, followers, "stored")
				must(t, r, "k", counting(), "stored")
				c.release()
				allGot(t, leader, "v1")
			})
		})
	}
}
