package region_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/local"
	"github.com/dogpile-go/dogpile/region"
)

// Config.Mutex lets this process create though the backend's lease is held by
// somebody else: then nothing is stored, and nothing is proved.
func TestWhatTheBackendsLeaseForbidsIsNeitherStoredNorShared(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by := open(t, cfg)
		if _, _, err := cfg.Backend.Acquire(t.Context(), []backend.Key{{Region: "test", Name: "k"}}, nil); err != nil {
			t.Fatal(err)
		}
		cfg.Mutex = local.New()
		r, old := open(t, cfg), blocking()
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
		allGot(t, after, "new row")
		holds(t, r, "k", "new row")
	})
}

// The same, but the value is there by then: it is found although no lease was granted
// under which it would have been re-read.
func TestWhoIsGrantedTheMutexAloneLooksAgainToo(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		by, c := open(t, cfg), counting()
		inner := cfg.Backend
		cfg.Mutex = local.New()
		cfg.Wrap = append(cfg.Wrap, probing(&probe{before: func(op string) {
			if op == "acquire" {
				must(t, by, "k", c, "v1")
				if _, _, err := inner.Acquire(t.Context(), []backend.Key{{Region: "test", Name: "k"}}, nil); err != nil {
					t.Error(err)
				}
			}
		}}))
		must(t, open(t, cfg), "k", c, "v1")
		c.want(t, 1)
	})
}

// Neither does a broken mutex keep the backend's leases from being waited for.
func TestAMutexThatFailsIsNotWaitedFor(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		elsewhere, c := open(t, cfg), blocking()
		first := herd(t, 1, elsewhere, "k", c)
		cfg.Mutex = brokenMutex{local.New()}
		second := herd(t, 3, open(t, cfg), "k", c)
		c.want(t, 1)
		c.release()
		allGot(t, append(first, second...), "v1")
		c.want(t, 1)
	})
}

// A lease of Config.Mutex counts like one of the backend's when it is lost.
func TestALostMutexEndsTheCreator(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg region.Config) {
		mutex := local.New()
		cfg.Mutex, cfg.CancelOnLeaseLost = mutex, true
		r := open(t, cfg)
		var calls atomic.Int64
		got, err := region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
			if calls.Add(1) > 1 {
				return "again", nil
			}
			if err := mutex.Void(ctx, backend.Key{Region: "test", Name: "k"}.String()); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, region.ErrLeaseLost) {
				t.Errorf("the creator's context ended because of %v, want ErrLeaseLost", cause)
			}
			return "", ctx.Err()
		})
		if err != nil || got != "again" {
			t.Errorf("GetOrCreate = %q, %v; want that it starts over", got, err)
		}
	})
}

// A mutex that says that it cannot work is refused like such a backend.
func TestAMutexThatCannotWorkIsRefused(t *testing.T) {
	b := memory.New(memory.Config{})
	defer b.Close()
	cfg := region.Config{Backend: b, Expiration: time.Minute, Mutex: misconfigured{local.New()}}
	if _, err := region.New("test", cfg); !errors.Is(err, region.ErrConfig) || !errors.Is(err, errMisconfigured) {
		t.Errorf("New = %v, want ErrConfig and what is wrong with the mutex", err)
	}
}

var errMisconfigured = errors.New("it cannot work like this")

type misconfigured struct{ lock.Locker }

func (misconfigured) Err() error { return errMisconfigured }
