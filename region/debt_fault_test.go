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

// The answers of renewals are lost, and they take effect: they are not repeated for ever,
// because that would invalidate again and again for the whole fleet.
func TestAnInvalidationWhoseAnswersAreLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := memory.New(memory.Config{})
		lost := &lostReplies{Backend: b}
		cfg := region.Config{Backend: lost, Expiration: time.Hour, KeepBackendOpen: true}
		lost.on.Store(true)
		r := open(t, cfg)
		other := openAs(t, "test", region.Config{Backend: b, Expiration: time.Hour})
		c := counting()
		must(t, other, "k", c, "v1")
		if err := r.InvalidateTags(t.Context(), "x"); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		if err := r.Invalidate(t.Context(), region.Hard); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		for range 600 {
			region.GetOrCreate(t.Context(), other, "k", c.create)
			time.Sleep(time.Second)
		}
		lost.on.Store(false)
		if n := c.calls.Load(); n > 3 {
			t.Errorf("one Invalidate in one process made another one create a value %d times in ten minutes", n)
		}
		time.Sleep(10 * time.Second)
	})
}

// lostReplies carries out renewals and loses the answers, as a server does that is slower
// than its client's timeout.
type lostReplies struct {
	backend.Backend
	on      atomic.Bool
	renews  atomic.Int64
	deletes atomic.Int64
	poison  string
}

func (l *lostReplies) Renew(ctx context.Context, g []backend.Guard, soft bool) error {
	l.renews.Add(1)
	err := l.Backend.Renew(ctx, g, soft)
	if l.on.Load() {
		return context.DeadlineExceeded
	}
	return err
}

func (l *lostReplies) Delete(ctx context.Context, keys []backend.Key) error {
	l.deletes.Add(1)
	err := l.Backend.Delete(ctx, keys)
	for _, k := range keys {
		if l.poison != "" && k.Name == l.poison {
			return errors.New("server 2 is down")
		}
	}
	return err
}

// One key of a Delete cannot be deleted: the others are not deleted again and again.
func TestAKeyThatCannotBeDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := memory.New(memory.Config{})
		p := &lostReplies{Backend: b, poison: "on server 2"}
		r, err := region.New("test", region.Config{Backend: p, Expiration: time.Hour, KeepBackendOpen: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		other := openAs(t, "test", region.Config{Backend: b, Expiration: time.Hour})
		c := counting()
		must(t, other, "k", c, "v1")
		if err := r.Delete(t.Context(), "k", "on server 2"); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		for range 600 {
			region.GetOrCreate(t.Context(), other, "k", c.create)
			time.Sleep(time.Second)
		}
		if n := c.calls.Load(); n > 3 {
			t.Errorf("one Delete made another process create the value %d times in ten minutes", n)
		}
		before := p.deletes.Load()
		for i := range 1000 {
			r.Delete(t.Context(), fmt.Sprint("fine ", i))
			time.Sleep(time.Millisecond)
		}
		if n := p.deletes.Load() - before; n > 1010 {
			t.Errorf("1000 Deletes in a second became %d: each success has the debt tried again", n)
		}
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

// Attempts to pay that run into their own time limit are counted and told.
func TestPaymentsThatHangAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hung := &hungRenew{Backend: memory.New(memory.Config{})}
		seen := &recorder{}
		r := open(t, region.Config{Backend: hung, Expiration: time.Hour, Observer: seen})
		hung.on.Store(true)
		if err := r.Invalidate(t.Context(), region.Hard); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if n := r.Stats().Errors; n == 0 {
			t.Errorf("ten minutes of failing retries: Stats.Errors = %d, %d backend errors observed, %d invalidations observed", n, len(seen.backendErrors), len(seen.invalidations))
		}
		hung.on.Store(false)
		time.Sleep(10 * time.Second)
	})
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

// What comes to be owed while something is paid is not taken for paid.
func TestADebtThatIsMadeWhileAnotherIsPaid(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		down, paying, goOn := true, make(chan struct{}), make(chan struct{})
		n := 0
		p := &probe{fail: func(op string) error {
			if op != "renew" {
				return nil
			}
			mu.Lock()
			n++
			call, isDown := n, down
			mu.Unlock()
			if call == 2 { // the payment
				close(paying)
				<-goOn
				return nil
			}
			if isDown {
				return errors.New("down")
			}
			return nil
		}}
		cfg := config(memory.Config{})
		cfg.Wrap = append(cfg.Wrap, probing(p))
		r := open(t, cfg)
		region.Set(t.Context(), r, "k", "old", region.WithTags("t"))
		if err := r.InvalidateTags(t.Context(), "u"); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		<-paying
		if err := r.InvalidateTags(t.Context(), "t"); !errors.Is(err, region.ErrPending) {
			t.Fatal(err)
		}
		close(goOn)
		synctest.Wait()
		holds(t, r, "k", "")
		mu.Lock()
		down = false
		mu.Unlock()
		time.Sleep(time.Minute)
		holds(t, r, "k", "")
	})
}

// blind is a backend that for a moment says of stamps that they are not there.
type blind struct {
	backend.Backend
	on atomic.Bool
}

func (b *blind) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if b.on.Load() {
		return errDown
	}
	return b.Backend.Renew(ctx, guards, soft)
}

func (b *blind) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	entries, stamps, err := b.Backend.GetMulti(ctx, keys, guards)
	if b.on.Load() {
		clear(stamps)
	}
	return entries, stamps, err
}

// What a backend does not find, for a moment, is not renewed for that.
func TestStampsThatAreNotFoundAreNotPaid(t *testing.T) {
	for _, invalidate := range []func(ctx context.Context, r *region.Region) error{
		func(ctx context.Context, r *region.Region) error { return r.Invalidate(ctx, region.Hard) },
		func(ctx context.Context, r *region.Region) error { return r.InvalidateTags(ctx, "t") },
		func(ctx context.Context, r *region.Region) error { return region.SoftTags(ctx, r, "t") },
	} {
		inBubble(t, func(t *testing.T) {
			b := &blind{Backend: memory.New(memory.Config{Copy: true})}
			cfg := region.Config{Backend: b, Expiration: time.Hour}
			r, elsewhere := open(t, cfg), open(t, cfg)
			must(t, r, "k", counting(), "v1", region.WithTags("t"))
			b.on.Store(true)
			if err := invalidate(t.Context(), r); !errors.Is(err, region.ErrPending) {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if r.Stats().Owed == 0 {
				t.Error("nothing is owed any more, though nothing was renewed")
			}
			b.on.Store(false)
			time.Sleep(time.Minute)
			if owed := r.Stats().Owed; owed != 0 {
				t.Errorf("%d owed, want none", owed)
			}
			holds(t, elsewhere, "k", "")
		})
	}
}
