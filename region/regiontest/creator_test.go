package regiontest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regiontest"
)

// both runs a test in a bubble and outside of one.
func both(t *testing.T, test func(t *testing.T)) {
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("in real time", test)
}

type result struct {
	value string
	err   error
}

// begin calls GetOrCreate on a goroutine of its own.
func begin(ctx context.Context, r *region.Region, key string, create func(context.Context) (string, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		v, err := region.GetOrCreate(ctx, r, key, create)
		done <- result{v, err}
	}()
	return done
}

func TestCreator(t *testing.T) {
	both(t, func(t *testing.T) {
		r := regiontest.New(t)
		c := regiontest.NewCreator[string](t)
		if c.Began() != 0 {
			t.Error("calls before any was made")
		}
		c.Calls(0)
		c.AtOnce(0)
		a := begin(t.Context(), r, "a", c.Create)
		c.WaitBegan(1)
		b := begin(t.Context(), r, "b", c.Create)
		c.WaitBegan(2)
		c.WaitBegan(1)
		c.Calls(2)
		c.AtOnce(2)
		select {
		case got := <-a:
			t.Errorf("the call returned %v before it was told to", got)
		default:
		}
		c.Release("first")
		if got := <-a; got.value != "first" || got.err != nil {
			t.Errorf("a = %v, want what was released first, for the call that came first", got)
		}
		c.Release("second")
		if got := <-b; got.value != "second" || got.err != nil {
			t.Errorf("b = %v", got)
		}

		// Answers may come before the calls.
		no := errors.New("no")
		c.Fail(no)
		c.Panic("ouch")
		c.ReleaseAll("the rest")
		c.Release("but one")
		if got := <-begin(t.Context(), r, "c", c.Create); !errors.Is(got.err, no) {
			t.Errorf("c = %v, want the error", got)
		}
		var panicked *region.PanicError
		if got := <-begin(t.Context(), r, "c", c.Create); !errors.As(got.err, &panicked) || panicked.Value != "ouch" {
			t.Errorf("c = %v, want the panic", got)
		}
		for _, want := range []string{"but one", "the rest", "the rest"} {
			if got := <-begin(t.Context(), r, want+" "+t.Name()+strings.Repeat("x", c.Began()), c.Create); got.value != want {
				t.Errorf("got %v, want %q", got, want)
			}
		}
		c.Calls(7)
		c.AtOnce(2)
	})
}

func TestCreatorOfAHerd(t *testing.T) {
	both(t, func(t *testing.T) {
		r := regiontest.New(t)
		did := regiontest.Watch(t, r)
		c := regiontest.NewCreator[string](t)
		var calls []<-chan result
		for range 50 {
			calls = append(calls, begin(t.Context(), r, "k", c.Create))
		}
		c.WaitBegan(1)
		c.ReleaseAll("v1")
		for _, call := range calls {
			if got := <-call; got.value != "v1" || got.err != nil {
				t.Errorf("a caller got %v", got)
			}
		}
		c.AtOnce(1)
		c.Calls(1)
		did.Creations(1)
	})
}

// Several wait to be answered, and several for calls to begin.
func TestCreatorOfMany(t *testing.T) {
	both(t, func(t *testing.T) {
		r := regiontest.New(t)
		c := regiontest.NewCreator[string](t)
		var observers sync.WaitGroup
		for n := range 20 {
			observers.Go(func() {
				c.WaitBegan(n)
				if got := c.Began(); got < n {
					t.Errorf("%d have begun, want %d", got, n)
				}
			})
		}
		var calls []<-chan result
		for n := range 20 {
			calls = append(calls, begin(t.Context(), r, strings.Repeat("k", n), c.Create))
		}
		observers.Wait()
		c.WaitBegan(20)
		c.AtOnce(20)
		c.ReleaseAll("v")
		for _, call := range calls {
			if got := <-call; got.value != "v" {
				t.Error(got)
			}
		}
	})
}

// A call whose context has ended takes no answer with it.
func TestCreatorThatIsCancelled(t *testing.T) {
	both(t, func(t *testing.T) {
		c := regiontest.NewCreator[string](t)
		gone := errors.New("gone")
		call := func() (context.CancelCauseFunc, <-chan result) {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan result, 1)
			before := c.Began()
			go func() {
				v, err := c.Create(ctx)
				done <- result{v, err}
			}()
			c.WaitBegan(before + 1)
			return cancel, done
		}
		cancel1, first := call()
		cancel2, second := call()
		cancel3, third := call()
		defer cancel1(nil)
		defer cancel3(nil)
		cancel2(gone)
		if got := <-second; got.err != gone {
			t.Errorf("the call returned %v, want the cause of its context", got)
		}
		c.Release("a")
		c.Release("b")
		if got1, got3 := <-first, <-third; got1.value != "a" || got3.value != "b" {
			t.Errorf("the others got %v and %v", got1, got3)
		}
		c.AtOnce(3)
	})
}

// No answer is lost to a call whose context ends at the same time: either that call has
// it, or the next one.
func TestCreatorThatIsAnsweredAndCancelled(t *testing.T) {
	for i := range 400 {
		synctest.Test(t, func(t *testing.T) {
			c := regiontest.NewCreator[string](t)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan result, 1)
			go func() {
				v, err := c.Create(ctx)
				done <- result{v, err}
			}()
			synctest.Wait()
			if i%2 == 0 {
				c.Release("v1")
			}
			cancel()
			if i%2 == 1 {
				c.Release("v1")
			}
			got := <-done
			if got.err != nil {
				next, end := context.WithTimeout(t.Context(), time.Second)
				defer end()
				got.value, got.err = c.Create(next)
			}
			if got.value != "v1" || got.err != nil {
				t.Errorf("neither the call nor the next one has returned what was released, but %v", got)
			}
		})
	}
}

// A Creator may be made outside of the bubble that it is used in.
func TestCreatorFromOutside(t *testing.T) {
	c := regiontest.NewCreator[string](t)
	synctest.Test(t, func(t *testing.T) {
		r := regiontest.New(t)
		call := begin(t.Context(), r, "k", c.Create)
		c.WaitBegan(1)
		synctest.Wait()
		time.Sleep(time.Second)
		c.Release("v1")
		if got := <-call; got.value != "v1" {
			t.Error(got)
		}
	})
}

// What is left when a test ends is released, and says so.
func TestCreatorThatIsLeft(t *testing.T) {
	both(t, func(t *testing.T) {
		r := regiontest.New(t)
		var calls []<-chan result
		var c *regiontest.Creator[string]
		told(t, func(f *fake) {
			c = regiontest.NewCreator[string](f)
			for _, key := range []string{"a", "b"} {
				calls = append(calls, begin(t.Context(), r, key, c.Create))
			}
			c.WaitBegan(2)
		}, "2 calls of a creator still waited", "Release")
		calls = append(calls, begin(t.Context(), r, "c", c.Create)) // too late
		for _, call := range calls {
			if got := <-call; got.err == nil || !strings.Contains(got.err.Error(), "the test has ended") {
				t.Errorf("a call got %v, want an error that says that the test has ended", got)
			}
		}
	})
}

// A test's context ends before what it has asked for at its end, and takes callers away.
func TestCreatorThatIsLeftByCallersOfTheTest(t *testing.T) {
	both(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		told(t, func(f *fake) {
			f.ctx = ctx
			c := regiontest.NewCreator[string](f)
			done := make(chan error, 1)
			go func() { _, err := c.Create(ctx); done <- err }()
			c.WaitBegan(1)
			end()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("the call returned %v", err)
			}
		}, "1 calls of a creator still waited")
	})
}

func TestCreatorWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told(t, func(f *fake) { regiontest.NewCreator[int](f).Calls(1) }, "was called 0 times, want 1")
		told(t, func(f *fake) { regiontest.NewCreator[int](f).AtOnce(1) }, "0 calls", "at once, want 1")
		told(t, func(f *fake) { regiontest.NewCreator[int](f).WaitBegan(1) }, "0 calls", "after 10s, want 1")
	})
}
