package region_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

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
