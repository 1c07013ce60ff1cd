package proxy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/backend/proxy"
	"github.com/dogpile-go/dogpile/region"
)

func TestSizeLimitRefusesEntriesOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, memory.Config{Copy: true})
		b := proxy.SizeLimit(5)(store)
		ctx, guards := t.Context(), []backend.Guard{users}
		put(t, b, "large", "old")
		put(t, b, "lost", "old")
		keys := []backend.Key{user("lost"), user("held"), user("held large"), user("ended")}
		grants, _, err := b.Acquire(ctx, keys, guards)
		if err != nil {
			t.Fatal(err)
		}
		if err := grants[0].Lease.Release(ctx); err != nil {
			t.Fatal(err)
		}
		stale := errors.New("from the last time that these items were used")
		items := []backend.Item{
			{Key: user("large"), Entry: entry(b, "123456"), Err: stale},
			{Key: user("lost"), Entry: entry(b, "1"), Lease: grants[0].Lease, Err: stale},
			{Key: user("held"), Entry: entry(b, "12345"), Lease: grants[1].Lease, Err: stale},
			{Key: user("held large"), Entry: entry(b, "123456"), Lease: grants[2].Lease, Err: stale},
			{Key: user("ended"), Lease: grants[3].Lease, Err: stale},
			{Key: user("plain"), Entry: entry(b, ""), Err: stale},
		}
		stamps, err := b.Set(ctx, items, guards)
		now, _ := store.Stamps(ctx, guards)
		if err != nil || len(stamps) != 1 || stamps[0] != now[0] {
			t.Errorf("Set = %v, %v; want the stamps", stamps, err)
		}
		for i, want := range []error{proxy.ErrTooLarge, backend.ErrLeaseLost, nil, proxy.ErrTooLarge, nil, nil} {
			if err := items[i].Err; !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("item %d: Err = %v, want %v", i, err, want)
			}
		}
		if err := items[0].Err; !strings.Contains(err.Error(), "6 bytes") || !strings.Contains(err.Error(), "limit is 5") {
			t.Errorf("Err = %v, want one that says how large it is, and how large it may be", err)
		}
		for name, want := range map[string]string{"large": "old", "lost": "old", "held": "12345", "held large": "", "ended": "", "plain": ""} {
			if got := says(t, store, user(name)); got != want {
				t.Errorf("%q is stored for %q, want %q", got, name, want)
			}
		}
		isFree(t, b, "held large", false)
		if err := grants[2].Lease.Release(ctx); err != nil {
			t.Error(err)
		}
		isFree(t, b, "held large", true)
		isFree(t, b, "ended", true)

		alone := items[:1]
		if stamps, err = b.Set(ctx, alone, guards); err != nil || len(stamps) != 1 || stamps[0] != now[0] || !errors.Is(alone[0].Err, proxy.ErrTooLarge) {
			t.Errorf("Set of nothing else = %v, %v, Err %v", stamps, err, alone[0].Err)
		}
	})
}

func TestALargeValueIsReturnedAndNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unstored := &unstoredEvents{}
		store := newStore(t, memory.Config{Copy: true})
		r := with(t, region.Config{Backend: store, Wrap: []wrapper{proxy.SizeLimit(1000)}, Observer: unstored})
		large, began := strings.Repeat("x", 1000), make(chan struct{}, 10)
		create := func(context.Context) (string, error) {
			began <- struct{}{}
			time.Sleep(time.Second)
			return large, nil
		}
		start, answers := time.Now(), make(chan error, 50)
		for range cap(answers) {
			go func() {
				value, err := region.GetOrCreate(t.Context(), r, "k", create)
				if err == nil && value != large {
					err = errors.New("another value")
				}
				answers <- err
			}()
		}
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		// Those who have come before the creator began share; the others, together, make
		// one more, and nobody waits for a lease that nobody gives back.
		if took := time.Since(start); took > 3*time.Second || len(began) > 3 {
			t.Errorf("it took %v and %d creations, want one or two seconds", took, len(began))
		}
		holds(t, r, "k", "")
		isFree(t, store, "k", true)
		if n := len(unstored.errs); n != len(began) || !errors.Is(unstored.errs[0], proxy.ErrTooLarge) {
			t.Errorf("the observer was told %v, want proxy.ErrTooLarge for each creation", unstored.errs)
		}

		must(t, r, "l", &creator{}, "v1")
		if err := region.SetMulti(t.Context(), r, map[string]string{"l": large, "m": "small"}); !errors.Is(err, proxy.ErrTooLarge) || !strings.Contains(err.Error(), `"l"`) {
			t.Errorf("SetMulti = %v, want proxy.ErrTooLarge for l", err)
		}
		holds(t, r, "l", "v1")
		holds(t, r, "m", "small")
	})
}
