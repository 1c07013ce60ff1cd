package region_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// failingLocal is a backend in this process whose invalidations fail.
type failingLocal struct {
	*memory.Backend
	down atomic.Bool
}

func (f *failingLocal) Renew(ctx context.Context, g []backend.Guard, soft bool) error {
	if f.down.Load() {
		return errors.New("down")
	}
	return f.Backend.Renew(ctx, g, soft)
}

func (f *failingLocal) Delete(ctx context.Context, k []backend.Key) error {
	if f.down.Load() {
		return errors.New("down")
	}
	return f.Backend.Delete(ctx, k)
}

// A hit in memory does not go the long way, but looks whether anything is owed.
func TestAHitInPassingPaysAttentionToDebts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &failingLocal{Backend: memory.New(memory.Config{})}
		r := open(t, region.Config{Backend: f, Expiration: time.Minute})
		if err := region.Set(t.Context(), r, "k", "old"); err != nil {
			t.Fatal(err)
		}
		f.down.Store(true)
		if err := r.Delete(t.Context(), "k"); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		if v, ok, _ := region.Get[string](t.Context(), r, "k"); ok {
			t.Errorf("Get after a Delete that is owed: %q", v)
		}
		if v, _ := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (string, error) { return "new", nil }); v != "new" {
			t.Errorf("GetOrCreate after a Delete that is owed: %q", v)
		}
		f.down.Store(false)
	})
}

// Close returns though a debt is being paid to a backend that ignores its context.
func TestCloseDuringAPayment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var n atomic.Int64
		hang := make(chan struct{})
		p := &probe{fail: func(op string) error {
			if op != "renew" {
				return nil
			}
			if n.Add(1) == 1 {
				return errors.New("down")
			}
			<-hang // a client without a timeout
			return errors.New("down")
		}}
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(p))
		r, err := region.New("test", cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Invalidate(t.Context(), region.Hard); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the payer is in the backend now
		done := make(chan error, 1)
		go func() { done <- r.Close() }()
		select {
		case err := <-done:
			t.Log(err)
			done <- err
		case <-time.After(time.Hour):
			t.Error("Close has not returned after an hour")
		}
		close(hang)
		<-done
	})
}

// An invalidation that was under way on the old configuration and fails is a debt of the
// new one, too.
func TestADebtDuringReconfigure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		inRenew, fail := make(chan struct{}), make(chan struct{})
		var once sync.Once
		var down atomic.Bool
		down.Store(true)
		p := &probe{fail: func(op string) error {
			if op == "renew" && down.Load() {
				once.Do(func() { close(inRenew); <-fail })
				return errors.New("down")
			}
			return nil
		}}
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(p))
		r := open(t, cfg)
		if err := region.Set(t.Context(), r, "k", "old"); err != nil {
			t.Fatal(err)
		}
		slow := blocking()
		call := background(t.Context(), r, "slow", slow)
		synctest.Wait()
		pending := make(chan error, 1)
		go func() { pending <- r.Invalidate(t.Context(), region.Hard) }()
		<-inRenew
		reconfigured := make(chan error, 1)
		go func() { reconfigured <- r.Reconfigure(cfg) }()
		synctest.Wait()
		close(fail)
		if err := <-pending; !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		for i := range 8 {
			if v, ok, _ := region.Get[string](t.Context(), r, "k"); ok {
				t.Errorf("%d s after an Invalidate that is owed: Get returns %q", i, v)
				break
			}
			time.Sleep(time.Second)
		}
		down.Store(false)
		slow.release()
		<-call
		<-reconfigured
	})
}

// What has expired needs the stamps of its tags still.
func TestExpireKeepsTheStampsOfTags(t *testing.T) {
	r := open(t, config(memory.Config{Copy: true}))
	for _, key := range []string{"expired", "control"} {
		if err := region.Set(t.Context(), r, key, "v", region.WithTags("t:"+key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Expire(t.Context(), "expired"); err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		region.Get[string](t.Context(), r, "none", region.WithTags(fmt.Sprint("other ", i)))
	}
	for range 5 {
		runtime.GC()
	}
	if _, ok, _ := region.Get[string](t.Context(), r, "control"); !ok {
		t.Error("the control is gone")
	}
	if _, ok, _ := region.Get[string](t.Context(), r, "expired", region.AllowStale()); !ok {
		t.Error("the value that Expire was to make stale is dead")
	}
}

// Too many soft debts make the region stale and not dead.
func TestSoftDebtsStaySoft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		p := &probe{fail: func(op string) error {
			if down.Load() && op != "get" {
				return errors.New("down")
			}
			return nil
		}}
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(p))
		r := open(t, cfg)
		region.Set(t.Context(), r, "innocent", "v")
		down.Store(true)
		var keys []string
		for i := range 10_001 {
			keys = append(keys, fmt.Sprint(i))
		}
		if err := r.Expire(t.Context(), keys...); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		down.Store(false)
		time.Sleep(time.Minute / 2)
		if _, ok, _ := region.Get[string](t.Context(), r, "innocent", region.AllowStale()); !ok {
			t.Error("Expire of 10,001 keys that failed for a moment has made the whole region dead, not stale")
		}
	})
}

// slowVoid takes its time when a lease is voided.
type slowVoid struct{ *memory.Backend }

func (s *slowVoid) Set(ctx context.Context, items []backend.Item, g []backend.Guard) ([]backend.Stamps, error) {
	stamps, err := s.Backend.Set(ctx, items, g)
	if len(items) > 0 && items[0].Lease == nil && items[0].Entry == nil {
		time.Sleep(time.Millisecond) // the goroutine loses its processor here
	}
	return stamps, err
}

// Expire waits for those who refresh the value, and its time is up.
func TestAnExpireThatGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := region.Config{Backend: &slowVoid{memory.New(memory.Config{})}, Expiration: time.Hour}
		r, o1, o2 := open(t, cfg), open(t, cfg), open(t, cfg)
		region.Set(t.Context(), r, "k", "old")
		c := blocking()
		a := background(t.Context(), o1, "k", c, region.WithExpiration(0))
		synctest.Wait()
		b := background(t.Context(), o2, "k", c, region.WithExpiration(0))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Expire(ctx, "k"); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		if v, ok, _ := region.Get[string](t.Context(), r, "k"); ok {
			t.Errorf("Expire is owed, and Get returns %q as fresh", v)
		}
		c.release()
		<-a
		<-b
		time.Sleep(time.Minute)
	})
}

// While unrelated tags are invalidated all the time, values whose tags are added late are
// stored in the end.
func TestLateTagsOfManyKeysAreRemembered(t *testing.T) {
	for _, keys := range []int{100, 3000} {
		inBubble(t, func(t *testing.T) {
			r := open(t, config(memory.Config{}))
			ctx, cancel := context.WithCancel(t.Context())
			var w sync.WaitGroup
			w.Go(func() { // 10 invalidations of an unrelated tag a second
				for ctx.Err() == nil {
					r.InvalidateTags(ctx, "unrelated")
					time.Sleep(100 * time.Millisecond)
				}
			})
			var n atomic.Int64
			round := func() int {
				n.Store(0)
				var next atomic.Int64
				var calls sync.WaitGroup
				for range 50 {
					calls.Go(func() {
						for i := next.Add(1); i <= int64(keys); i = next.Add(1) {
							region.GetOrCreate(ctx, r, fmt.Sprint(i), func(ctx context.Context) (string, error) {
								n.Add(1)
								time.Sleep(150 * time.Millisecond)
								region.FromContext(ctx).AddTags(fmt.Sprint("row:", i))
								return "v", nil
							}, region.WithExpiration(region.Forever))
						}
					})
				}
				calls.Wait()
				return int(n.Load())
			}
			var counts []int
			for range 8 {
				counts = append(counts, round())
			}
			cancel()
			w.Wait()
			if counts[7] > 0 {
				t.Errorf("%d keys: creations a round %v, want none in the last", keys, counts)
			}
		})
	}
}

// What comes for one region is carried out while the backend of another hangs.
func TestARegionThatHangsHoldsUpNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hung := &hungRenew{Backend: memory.New(memory.Config{})}
		bad := openAs(t, "bad", region.Config{Backend: hung, Expiration: time.Hour})
		good := openAs(t, "good", region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour})
		inv, err := region.NewInvalidator(bad, good)
		if err != nil {
			t.Fatal(err)
		}
		hung.on.Store(true)
		notices := make(chan region.Notice)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- inv.Run(ctx, notices) }()
		region.Set(t.Context(), good, "k", "old")
		began := time.Now()
		notices <- region.Notice{Region: "bad", All: true}
		select {
		case notices <- region.Notice{Region: "good", Keys: []string{"k"}}:
		case <-time.After(time.Hour):
		}
		for {
			if _, ok, _ := region.Get[string](t.Context(), good, "k"); !ok {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the notice for the region that is well was carried out after %v", took)
		}
		hung.on.Store(false)
		cancel()
		<-done
	})
}

// hungRenew is a backend whose renewals hang.
type hungRenew struct {
	backend.Backend
	on atomic.Bool
}

func (h *hungRenew) Renew(ctx context.Context, g []backend.Guard, soft bool) error {
	if h.on.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.Backend.Renew(ctx, g, soft)
}

// A proxy that panics has not carried out anything.
func TestAPanicDuringAnInvalidationIsADebt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &probe{}
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(p))
		r := open(t, cfg)
		region.Set(t.Context(), r, "k", "old")
		p.fail = func(op string) error {
			if op == "renew" {
				panic("a bug in a proxy")
			}
			return nil
		}
		func() {
			defer func() {
				if v := recover(); v != nil {
					t.Logf("the caller got a panic: %v", v)
				}
			}()
			err := r.Invalidate(context.Background(), region.Hard)
			t.Log(err)
		}()
		p.fail = nil
		if v, ok, _ := region.Get[string](t.Context(), r, "k"); ok {
			t.Errorf("Get = %q; owed: %d", v, r.Stats().Owed)
		}
	})
}
