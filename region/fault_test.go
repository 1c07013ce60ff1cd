package region_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

type brokenMutex struct{ lock.Locker }

func (brokenMutex) TryAcquire(context.Context, string) (lock.Lease, error) {
	return nil, errors.New("the mutex's server is down")
}

// The backend fails once, so that nothing can be proved, and is well again: whoever
// comes after an invalidation elsewhere does not get what was created before it.
func TestABackendThatHasRecoveredIsAskedAgain(t *testing.T) {
	for _, op := range []string{"acquire", "set", "wait"} {
		t.Run(op, func(t *testing.T) {
			eachKind(t, func(t *testing.T, cfg region.Config) {
				by := open(t, cfg)
				var blips atomic.Int64
				cfg.Wrap = append(cfg.Wrap, probing(&probe{fail: func(o string) error {
					if o == op && blips.Add(1) == 1 {
						return errors.New("blip")
					}
					return nil
				}}))
				r := open(t, cfg)
				var lease lock.Lease
				if op == "wait" { // somebody else holds the lease for the moment
					g, _, err := cfg.Backend.Acquire(t.Context(), []backend.Key{{Region: "test", Name: "k"}}, nil)
					if err != nil {
						t.Fatal(err)
					}
					lease = g[0].Lease
				}
				old := blocking()
				old.value = func(int64) (string, error) { return "old row", nil }
				before := herd(t, 1, r, "k", old)
				if lease != nil {
					lease.Release(t.Context())
				}
				if old.calls.Load() != 1 {
					t.Fatal("creator should be running")
				}
				if err := by.Delete(t.Context(), "k"); err != nil { // the row was changed before this
					t.Fatal(err)
				}
				fresh := counting()
				fresh.value = func(int64) (string, error) { return "new row", nil }
				after := herd(t, 3, r, "k", fresh)
				old.release()
				allGot(t, before, "old row")
				allGot(t, after, "new row") // I1
			})
		})
	}
}

// A mutex makes nothing correct, and so its failure makes nothing wrong.
func TestAMutexThatFailsLosesNoInvalidation(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by := open(t, cfg)
		cfg.Mutex = brokenMutex{local.New()}
		r := open(t, cfg)
		old := blocking()
		old.value = func(int64) (string, error) { return "old row", nil }
		before := herd(t, 1, r, "k", old)
		if err := by.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new row", nil }
		after := herd(t, 3, r, "k", fresh)
		old.release()
		allGot(t, before, "old row")
		allGot(t, after, "new row") // I1
	})
}

func TestAMutexThatFailsLeavesTheDecisionToTheBackend(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{})
		cfg.Mutex = brokenMutex{local.New()}
		r, c := open(t, cfg), counting()
		must(t, r, "k", c, "v1")
		must(t, r, "k", c, "v1")
	})
}

// The backend refuses the value before it looks at the lease.
func TestAValueThatIsRefusedLosesNoInvalidation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{MaxBytes: 1 << 20, Weigh: func(any) int { panic("no idea") }})
		r, by := open(t, cfg), open(t, cfg)
		old := blocking()
		old.value = func(int64) (string, error) { return "old row", nil }
		before := herd(t, 1, r, "k", old)
		if err := by.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new row", nil }
		after := herd(t, 3, r, "k", fresh)
		old.release()
		allGot(t, before, "old row")
		allGot(t, after, "new row") // I1
	})
}

func TestNotFoundOfABatchIsNotSharedAfterAnInvalidation(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		r, by := open(t, cfg), open(t, cfg)
		gate := make(chan struct{})
		go region.GetOrCreateMulti(t.Context(), r, []string{"k", "l"}, func(context.Context, []string) (map[string]string, error) {
			<-gate
			return nil, region.ErrNotFound
		})
		synctest.Wait()
		if err := by.Delete(t.Context(), "k", "l"); err != nil {
			t.Fatal(err)
		}
		fresh := counting()
		fresh.value = func(int64) (string, error) { return "new row", nil }
		after := herd(t, 1, r, "k", fresh)
		close(gate)
		allGot(t, after, "new row")
	})
}
