package region_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// lent is a backend with a view of something else.
type lent struct {
	backend.Backend
	view backend.Backend
}

func (l *lent) Share(codec.Layout) (backend.Backend, error) { return l.view, nil }

func (l *lent) Close() error { return errors.Join(l.Backend.Close(), l.view.Close()) }

// sharing returns the configuration of a region that shares values of plainText.
func sharing() region.Config {
	cfg := kinds["bytes"]()
	cfg.Backend, cfg.Interop = &lent{cfg.Backend, kinds["bytes"]().Backend}, plainText{}
	return cfg
}

// What cannot be invalidated as a whole is not owed as a whole: it would be owed, and
// nothing be a hit, for ever.
func TestDebtsOfASharedRegion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		down := &outage{ops: "delete"}
		cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
		r := open(t, cfg)
		must(t, r, "untouched", counting(), "v1")
		must(t, r, "key 0 0", counting(), "v1")
		down.on.Store(true)
		pending, refused := 0, 0
		for i := range 150 {
			keys := make([]string, 100)
			for j := range keys {
				keys[j] = fmt.Sprint("key ", i, " ", j)
			}
			err := r.Delete(t.Context(), keys...)
			switch {
			case !errors.Is(err, errDown):
				t.Fatal(err)
			case errors.Is(err, region.ErrPending) == errors.Is(err, region.ErrInterop):
				t.Fatalf("Delete returned %v; want either ErrPending or ErrInterop", err)
			case errors.Is(err, region.ErrPending):
				pending++
			default:
				refused++
			}
		}
		if owed := r.Stats().Owed; pending != 100 || refused != 50 || owed != 10_000 {
			t.Errorf("%d Deletes are pending, %d refused, %d keys owed; want 100, 50 and 10,000", pending, refused, owed)
		}
		if err := r.Delete(t.Context(), "key 0 0", "key 0 1", "key 0 1"); !errors.Is(err, region.ErrPending) {
			t.Errorf("Delete of what is owed already returned %v; want ErrPending", err)
		}
		holds(t, r, "untouched", "v1")
		holds(t, r, "key 0 0", "")
		down.on.Store(false)
		time.Sleep(time.Minute / 2)
		synctest.Wait()
		if owed := r.Stats().Owed; owed != 0 {
			t.Errorf("%d keys are owed; want none", owed)
		}
		holds(t, r, "untouched", "v1")
		holds(t, r, "key 0 0", "")
	})
}

// A value can be made stale if it can have been created so long ago.
func TestExpireOfAgesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		expiration time.Duration
		possible   bool
	}{
		{time.Minute, true},
		{20 * 365 * 24 * time.Hour, true},
		{100 * 365 * 24 * time.Hour, false},
		{math.MaxInt64, false},
		{region.Forever, false},
	} {
		t.Run(c.expiration.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				cfg := sharing()
				cfg.Expiration = c.expiration
				r := open(t, cfg)
				must(t, r, "k", counting(), "v1")
				err := r.Expire(t.Context(), "k")
				if c.possible && err != nil || !c.possible && (!errors.Is(err, region.ErrInterop) || errors.Is(err, region.ErrPending)) {
					t.Errorf("Expire returned %v", err)
				}
				want := "v1"
				if c.possible {
					want = ""
				}
				holds(t, r, "k", want)
				if v, ok, err := region.Get[string](t.Context(), r, "k", region.AllowStale()); v != "v1" || !ok || err != nil {
					t.Errorf("the stale value is %q, %v, %v; want v1", v, ok, err)
				}
			})
		})
	}
}

// What is owed by a configuration whose values could be made stale is deleted by one whose
// values cannot.
func TestExpireThatIsInherited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := sharing()
		down := &outage{ops: "acquire delete"}
		cfg.Wrap = append(cfg.Wrap, probing(down.probe()))
		r := open(t, cfg)
		must(t, r, "k", counting(), "v1")
		down.on.Store(true)
		if err := r.Expire(t.Context(), "k"); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		cfg.Expiration = region.Forever
		if err := r.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		down.on.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		holds(t, r, "k", "")
		if owed := r.Stats().Owed; owed != 0 {
			t.Errorf("%d keys are owed; want none", owed)
		}
	})
}

// Functions of a shared region cannot be invalidated, whatever makes their keys, and are
// not told to use tags.
func TestInvalidateAllOfASharedFunction(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := open(t, sharing())
		load := func(context.Context, int) (int, error) { return 0, nil }
		for name, opt := range map[string]region.Option{
			"WithKeyForm": region.WithKeyForm(spaced),
			"WithKey":     region.WithKey(func(int) string { return "k" }),
			"Namespace":   region.Namespace("load"),
		} {
			if err := decorate.CacheOnArguments(r, load, opt).InvalidateAll(t.Context()); !errors.Is(err, region.ErrInterop) || errors.Is(err, region.ErrConfig) {
				t.Errorf("%s: InvalidateAll returned %v; want ErrInterop", name, err)
			}
		}
	})
}

// What will fail for ever is not tried again.
func TestDebtsThatNobodyCouldPay(t *testing.T) {
	for name, fail := range map[string]error{
		"the key":   fmt.Errorf("no spaces: %w", backend.ErrKey),
		"the proxy": region.ErrInterop,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				cfg := sharing()
				cfg.Wrap = append(cfg.Wrap, probing(&probe{fail: func(op string) error {
					if op == "delete" || op == "acquire" {
						return fail
					}
					return nil
				}}))
				r := open(t, cfg)
				for _, err := range []error{r.Delete(t.Context(), "k"), r.Expire(t.Context(), "k")} {
					if !errors.Is(err, fail) || errors.Is(err, region.ErrPending) {
						t.Errorf("got %v; want the reason, and not ErrPending", err)
					}
				}
				if owed := r.Stats().Owed; owed != 0 {
					t.Errorf("%d keys are owed; want none", owed)
				}
			})
		})
	}
}
