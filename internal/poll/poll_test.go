package poll_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/internal/poll"
)

var (
	errClosed = errors.New("closed")
	errDown   = errors.New("down")
)

// holders is what the keys are looked up in.
type holders struct {
	mu    sync.Mutex
	free  map[string]bool
	fail  func(look int, keys []string) error // nil means never
	looks []look
	block bool // a look waits for the end of its ctx
}

type look struct {
	at   time.Time
	keys []string
}

func (h *holders) look(ctx context.Context, keys []string) ([]bool, error) {
	h.mu.Lock()
	n := len(h.looks)
	h.looks = append(h.looks, look{time.Now(), slices.Sorted(slices.Values(keys))})
	free := make([]bool, len(keys))
	for i, key := range keys {
		free[i] = h.free[key]
	}
	fail, block := h.fail, h.block
	h.mu.Unlock()
	if block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if fail != nil {
		return free, fail(n, keys)
	}
	return free, nil
}

func (h *holders) set(key string, free bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free[key] = free
}

func (h *holders) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.looks)
}

func start() (*holders, *poll.Poller) {
	h := &holders{free: map[string]bool{}}
	return h, poll.New(h.look, errClosed)
}

// A key that is free already is found by the first look, which is made at once.
func TestFreeAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		h.set("b", true)
		began := time.Now()
		if err := p.Wait(t.Context(), "a", "b", "a"); err != nil {
			t.Errorf("Wait = %v, want nil", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v, want a look at once", took)
		}
		if len(h.looks) != 1 || !slices.Equal(h.looks[0].keys, []string{"a", "b"}) {
			t.Errorf("looks are %v, want one at a and b, each once", h.looks)
		}
		if err := p.Wait(t.Context()); err != nil || h.count() != 1 {
			t.Errorf("Wait without keys = %v, %d looks; want nil and no further look", err, h.count())
		}
	})
}

// The looks follow each other after 5, 10, 20, 40 and then 50 ms, however many wait.
func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				if err := p.Wait(ctx, "k"); err != context.DeadlineExceeded {
					t.Errorf("Wait = %v, want the end of its ctx", err)
				}
			})
		}
		all.Wait()
		var at []time.Duration
		for _, l := range h.looks {
			at = append(at, l.at.Sub(began)/time.Millisecond)
		}
		// The second caller comes while or after the first look is made, hence a look
		// of its own after 5 ms, which is when it was due anyway.
		if want := []time.Duration{0, 5, 15, 35, 75, 125, 175, 225, 275}; !slices.Equal(at, want) {
			t.Errorf("looks at %d ms, want %d", at, want)
		}
	})
}

// Who comes later has a look within 5 ms of the last one, not within 50.
func TestLateComer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		go p.Wait(t.Context(), "k") //nolint:errcheck // it is woken with the other one
		time.Sleep(200 * time.Millisecond)
		h.set("k", true)
		began := time.Now()
		if err := p.Wait(t.Context(), "k"); err != nil {
			t.Errorf("Wait = %v, want nil", err)
		}
		if took := time.Since(began); took > 5*time.Millisecond {
			t.Errorf("it took %v, want 5 ms at most", took)
		}
	})
}

// Keys that are due go in one look; and a key that becomes free wakes those who wait
// for it and nobody else.
func TestOneLookForAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		var all sync.WaitGroup
		woken := make([]time.Duration, 100)
		began := time.Now()
		keys := make([]string, 100)
		for i := range keys {
			keys[i] = string(rune('A' + i))
		}
		go p.Wait(t.Context(), keys...) //nolint:errcheck // makes all keys start together
		synctest.Wait()
		for i, key := range keys {
			all.Go(func() {
				if err := p.Wait(t.Context(), key); err != nil {
					t.Errorf("Wait = %v, want nil", err)
				}
				woken[i] = time.Since(began)
			})
		}
		time.Sleep(100 * time.Millisecond)
		h.set(keys[7], true)
		time.Sleep(200 * time.Millisecond)
		for _, key := range keys {
			h.set(key, true)
		}
		all.Wait()
		for i, at := range woken {
			if i == 7 && at > 160*time.Millisecond {
				t.Errorf("the key that was freed after 100 ms was found after %v", at)
			}
			if i != 7 && at < 300*time.Millisecond {
				t.Errorf("key %d was found free after %v, it was held until 300 ms", i, at)
			}
		}
		if n := h.count(); n > 12 {
			t.Errorf("%d looks for 100 keys in 300 ms, want one for all that are due", n)
		}
	})
}

// One look that fails is nothing; two in a row are told, for the keys they are about.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		h.fail = func(n int, _ []string) error {
			if n%2 == 0 {
				return errDown
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Wait(ctx, "k"); err != context.DeadlineExceeded {
			t.Errorf("Wait = %v where each second look fails, want it to go on", err)
		}
		h.fail = func(int, []string) error { return errDown }
		began := time.Now()
		if err := p.Wait(t.Context(), "k"); err != errDown {
			t.Errorf("Wait = %v, want the error of the looks", err)
		}
		if took := time.Since(began); took != 5*time.Millisecond {
			t.Errorf("it took %v, want two looks, 5 ms apart", took)
		}
		h.set("k", true)
		if err := p.Wait(t.Context(), "j", "k"); err != nil {
			t.Errorf("Wait = %v, want nil: that k is free is known, whatever became of j", err)
		}
		h.set("k", false)
		h.fail = func(_ int, keys []string) error {
			errs := make(poll.KeyErrors, len(keys))
			if i := slices.Index(keys, "bad"); i >= 0 {
				errs[i] = errDown
			}
			return errs
		}
		good := make(chan error, 1)
		goodCtx, stop := context.WithCancel(t.Context())
		go func() { good <- p.Wait(goodCtx, "good") }()
		synctest.Wait()
		if err := p.Wait(t.Context(), "bad"); err != errDown {
			t.Errorf("Wait = %v, want the error of its key", err)
		}
		time.Sleep(200 * time.Millisecond)
		select {
		case err := <-good:
			t.Errorf("who waits for another key got %v, want it to wait on", err)
		default:
		}
		stop()
		if err := <-good; err != context.Canceled {
			t.Errorf("Wait = %v, want the end of its ctx", err)
		}
	})
}

// Wake wakes at once and without a look.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		woken := make(chan error, 1)
		go func() { woken <- p.Wait(t.Context(), "a", "b") }()
		time.Sleep(200 * time.Millisecond)
		n, began := h.count(), time.Now()
		p.Wake("other", "b")
		if err := <-woken; err != nil {
			t.Errorf("Wait = %v, want nil", err)
		}
		if time.Since(began) != 0 || h.count() != n {
			t.Errorf("woken after %v and %d looks, want at once and without any", time.Since(began), h.count()-n)
		}
	})
}

// While nobody waits nothing runs: neither after the last waiter was served nor after
// it gave up in the middle of a look.
func TestNothingRunsUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		h.block = true
		cause := errors.New("cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
		if err := p.Wait(ctx, "k"); err != cause {
			t.Errorf("Wait = %v, want the cause of its ctx", err)
		}
		if err := p.Wait(ctx, "k"); err != cause {
			t.Errorf("Wait = %v with a ctx that has ended, want its cause", err)
		}
		n := h.count()
		time.Sleep(time.Second)
		if h.count() != n {
			t.Errorf("%d looks while nobody waited", h.count()-n)
		}
		if poll.Keys(p) != 0 {
			t.Errorf("%d keys are remembered that nobody waits for", poll.Keys(p))
		}
		// The bubble ends only if no goroutine is left in it.
	})
}

// Close wakes everybody and ends the looks.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		h.block = true
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := p.Wait(t.Context(), "a", "b"); err != errClosed {
					t.Errorf("Wait = %v, want the error of a closed poller", err)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		p.Close()
		all.Wait()
		p.Close()
		p.Wake("a")
		if err := p.Wait(t.Context(), "a"); err != errClosed {
			t.Errorf("Wait after Close = %v, want the error of a closed poller", err)
		}
	})
}

// Many keys, many callers who come and go: everybody returns, nothing is left.
func TestComingAndGoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := start()
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				time.Sleep(time.Duration(i%97) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%61)*time.Millisecond)
				defer cancel()
				_ = p.Wait(ctx, string(rune('A'+i%50)), string(rune('A'+i%31)))
			})
		}
		for i := range 200 {
			h.set(string(rune('A'+i%50)), i%3 == 0)
			p.Wake(string(rune('A' + i%7)))
			time.Sleep(time.Millisecond)
		}
		all.Wait()
		if poll.Keys(p) != 0 {
			t.Errorf("%d keys are remembered that nobody waits for", poll.Keys(p))
		}
		p.Close()
	})
}

// Whoever waits for one key is not held up by thousands who wait for others.
func TestManyKeys(t *testing.T) {
	p := poll.New(func(_ context.Context, keys []string) ([]bool, error) {
		return make([]bool, len(keys)), nil
	}, errors.New("closed"))
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range 10_000 {
		all.Go(func() { _ = p.Wait(ctx, fmt.Sprint("key ", i)) })
	}
	for range 5 {
		began := time.Now()
		short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		err := p.Wait(short, "one more")
		stop()
		if took := time.Since(began); took > 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a Wait with a deadline of 50 ms returned %v after %v", err, took)
		}
	}
}
