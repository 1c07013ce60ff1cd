package region

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// assembled is what a bounded context stands for, made of package context.
func assembled(caller, ending context.Context, maxWait time.Duration, waited error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(caller)
	stop := context.AfterFunc(ending, func() { cancel(context.Cause(ending)) })
	release := func() { stop(); cancel(nil) }
	if maxWait == Forever {
		return ctx, release
	}
	ctx, stopTimer := context.WithTimeoutCause(ctx, maxWait, waited)
	return ctx, func() { stopTimer(); release() }
}

// pair is a bounded context beside the assembled one, in one world.
type pair struct {
	endCaller context.CancelCauseFunc
	endConfig context.CancelCauseFunc
	release   func()

	got, want context.Context
}

type inCaller struct{}

func newPair(t *testing.T, callersTimeout, maxWait time.Duration) *pair {
	t.Helper()
	caller := context.WithValue(t.Context(), inCaller{}, "the caller's")
	if callersTimeout != 0 {
		var cancel context.CancelFunc
		caller, cancel = context.WithTimeoutCause(caller, callersTimeout, errors.New("the caller's timeout"))
		t.Cleanup(cancel)
	}
	p := &pair{}
	caller, p.endCaller = context.WithCancelCause(caller)
	st := &state{Config: Config{MaxWait: maxWait}, waited: errors.New("MaxWait")}
	config, endConfig := context.WithCancelCause(context.Background())
	p.endConfig = func(cause error) { endConfig(cause); st.ending.Come(cause) }

	got, bounds := st.bounded(caller)
	want, release := assembled(caller, config, maxWait, st.waited)
	p.got, p.want = got, want
	p.release = func() { bounds.release(); release() }
	t.Cleanup(func() { p.release(); p.endCaller(nil); p.endConfig(nil) })
	return p
}

// same compares everything that can be told of a context without waiting for it.
func (p *pair) same(t *testing.T, when string) {
	t.Helper()
	synctest.Wait()
	if got, want := p.got.Err(), p.want.Err(); got != want {
		t.Errorf("%s: the error is %v, want %v", when, got, want)
	}
	if got, want := context.Cause(p.got), context.Cause(p.want); got != want {
		t.Errorf("%s: the cause is %v, want %v", when, got, want)
	}
	got, has := p.got.Deadline()
	if want, wantHas := p.want.Deadline(); has != wantHas || !got.Equal(want) {
		t.Errorf("%s: the deadline is %v, %v; want %v, %v", when, got, has, want, wantHas)
	}
	if got := p.got.Value(inCaller{}); got != "the caller's" {
		t.Errorf("%s: the caller's value is %v", when, got)
	}
}

// looks are what may have been asked of a context before something happens to it.
var looks = map[string]func(context.Context){
	"nothing": func(context.Context) {},
	"Err":     func(ctx context.Context) { _ = ctx.Err() },
	"Done":    func(ctx context.Context) { _ = ctx.Done() },
}

var happenings = map[string]func(*pair){
	"the caller ends":        func(p *pair) { p.endCaller(errors.New("the caller's cause")) },
	"the caller just ends":   func(p *pair) { p.endCaller(nil) },
	"the configuration ends": func(p *pair) { p.endConfig(ErrReconfigured) },
	"a second passes":        func(*pair) { time.Sleep(time.Second) },
	"an hour passes":         func(*pair) { time.Sleep(time.Hour) },
	"it is released":         func(p *pair) { p.release() },
}

// Whatever happens to it, and then happens besides, a bounded context is what package
// context would have made, whether or not anybody had waited for it before.
func TestABoundedContextIsLikeAnAssembledOne(t *testing.T) {
	for ofCaller, callersTimeout := range map[string]time.Duration{
		"no deadline": 0, "a nearer deadline": time.Second, "a later deadline": 90 * time.Minute,
	} {
		for ofRegion, maxWait := range map[string]time.Duration{"MaxWait": time.Minute, "Forever": Forever} {
			for asked, look := range looks {
				for first, happens := range happenings {
					for second, happensToo := range happenings {
						name := ofCaller + ", " + ofRegion + ", asked for " + asked + ", " + first + ", " + second
						t.Run(name, func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) {
								p := newPair(t, callersTimeout, maxWait)
								look(p.got)
								happens(p)
								p.same(t, "once")
								happensToo(p)
								p.same(t, "twice")
								if got, want := isDone(p.got), isDone(p.want); got != want {
									t.Errorf("Done is closed: %v, want %v", got, want)
								}
							})
						})
					}
				}
			}
		}
	}
}

func isDone(ctx context.Context) bool {
	synctest.Wait()
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// What waits for a bounded context is woken by whatever ends it.
func TestWhoWaitsForABoundedContextIsWoken(t *testing.T) {
	for name, happens := range happenings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 0, time.Second)
				before := runtime.NumGoroutine()
				child, cancel := context.WithTimeout(p.got, time.Hour)
				defer cancel()
				if n := runtime.NumGoroutine(); n > before {
					t.Errorf("a child context took %d goroutines", n-before)
				}
				var after error
				stop := context.AfterFunc(p.got, func() { after = context.Cause(p.got) })
				defer stop()
				end, _ := p.want.Deadline()
				if got, _ := child.Deadline(); !got.Equal(end) {
					t.Errorf("the child's deadline is %v, want %v", got, end)
				}

				happens(p)
				synctest.Wait()
				err, cause := p.want.Err(), context.Cause(p.want)
				if !isDone(p.got) || !isDone(child) || after != cause {
					t.Errorf("it is done: %v, its child: %v, AfterFunc was told %v, want %v", isDone(p.got), isDone(child), after, cause)
				}
				if got := context.Cause(child); got != cause || child.Err() != err {
					t.Errorf("the child ended with %v, %v; want %v, %v", child.Err(), got, err, cause)
				}
			})
		})
	}
}

// Who was first cannot be told any more when nobody looks before all have come.
func TestReasonsOfOneMomentHaveAnOrder(t *testing.T) {
	for _, of := range []struct {
		all  []string
		want string
	}{
		{[]string{"the caller ends", "the configuration ends", "an hour passes"}, "the caller's cause"},
		{[]string{"the configuration ends", "an hour passes"}, ErrReconfigured.Error()},
		{[]string{"an hour passes", "the caller ends", "it is released"}, "the caller's cause"},
		{[]string{"an hour passes", "it is released"}, context.Canceled.Error()},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, 0, time.Minute)
			for _, name := range of.all {
				happenings[name](p)
			}
			if got := context.Cause(p.got); got == nil || got.Error() != of.want {
				t.Errorf("%q: the cause is %v, want %s", of.all, got, of.want)
			}
		})
	}
}

// heard is a context that counts who wants to be told of its end.
type heard struct {
	context.Context
	done chan struct{}
	by   int
}

func (h *heard) Done() <-chan struct{} { return h.done }

func (h *heard) AfterFunc(func()) (stop func() bool) {
	h.by++
	return sync.OnceValue(func() bool { h.by--; return true })
}

func TestABoundedContextLeavesNothingBehind(t *testing.T) {
	for asked, look := range looks {
		t.Run(asked, func(t *testing.T) {
			caller := &heard{Context: t.Context(), done: make(chan struct{})}
			st := &state{Config: Config{MaxWait: time.Hour}}
			ctx, bounds := st.bounded(caller)
			look(ctx)
			wants := 0
			if asked == "Done" {
				wants = 1
			}
			if by := st.ending.listeners.Len(); caller.by != wants || by != wants {
				t.Errorf("the caller's context is heard by %d, the configuration's end by %d, want %d", caller.by, by, wants)
			}
			bounds.release()
			_ = ctx.Err()
			_ = ctx.Done()
			if by := st.ending.listeners.Len(); caller.by != 0 || by != 0 {
				t.Errorf("after release the caller's context is heard by %d, the configuration's end by %d", caller.by, by)
			}
		})
	}
}

// A backend may use a context from many goroutines, and beyond the call.
func TestABoundedContextIsSafeForConcurrentUse(t *testing.T) {
	for range 100 {
		caller, cancel := context.WithCancelCause(t.Context())
		st := &state{Config: Config{MaxWait: time.Minute}}
		end := st.ending.Come
		ctx, bounds := st.bounded(caller)
		var one, other <-chan struct{}
		var wg sync.WaitGroup
		for _, f := range []func(){
			func() { one = ctx.Done(); <-one },
			func() { other = ctx.Done(); <-other },
			func() { cancel(ErrAbandoned) },
			func() { end(ErrClosed) },
			bounds.release,
			bounds.release,
			func() {
				for ctx.Err() == nil {
					runtime.Gosched()
				}
				if err, cause := ctx.Err(), context.Cause(ctx); err != context.Canceled ||
					cause != ErrAbandoned && cause != ErrClosed && cause != context.Canceled {
					t.Errorf("it ended with %v, %v", err, cause)
				}
				if err, again := context.Cause(ctx), context.Cause(ctx); err != again {
					t.Errorf("the cause was %v, and then %v", err, again)
				}
			},
			func() { _ = ctx.Value(inCaller{}) },
			func() { ctx.Deadline() },
		} {
			wg.Go(f)
		}
		wg.Wait()
		if one != other {
			t.Error("Done has returned two channels")
		}
	}
}
