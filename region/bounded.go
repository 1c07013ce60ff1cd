package region

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// bounded is the context of one call: the caller's, with an end of its own for
// callers who have set none, so that no call hangs, and with the end of the
// configuration.
//
// It could be put together from package context, and is, but only when somebody
// waits for it or it has ended. A backend that answers at once asks when the call
// ends and whether it has, but never for Done, and so a hit makes no timer.
//
// If nobody looks until there are several reasons to have ended, the caller's comes
// before the configuration's, and that before MaxWait.
type bounded struct {
	caller   context.Context
	st       *state
	deadline time.Time // MaxWait's
	own      bool      // the deadline counts: the caller has none that is nearer

	whole    atomic.Pointer[wholeContext] // nil until it is needed
	released atomic.Bool

	making sync.Mutex // held while whole is made, and by release
}

// wholeContext does all that is asked of a context, for as long as free has not
// been called.
type wholeContext struct {
	context.Context
	free func()
}

var _ context.Context = (*bounded)(nil)

// bounded returns the context of a call, as what it is and as what has to be released.
func (st *state) bounded(caller context.Context) (context.Context, *bounded) {
	b := &bounded{caller: caller, st: st}
	if st.MaxWait != Forever {
		b.deadline = time.Now().Add(st.MaxWait)
		nearest, ok := caller.Deadline()
		b.own = !ok || !nearest.Before(b.deadline)
	}
	return b, b
}

// release frees what the context has needed, and ends it.
func (b *bounded) release() {
	b.making.Lock()
	b.released.Store(true)
	whole := b.whole.Load()
	b.making.Unlock()
	if whole != nil {
		whole.free()
	}
}

func (b *bounded) Deadline() (time.Time, bool) {
	if b.own {
		return b.deadline, true
	}
	return b.caller.Deadline()
}

func (b *bounded) Done() <-chan struct{} { return b.make().Done() }

// Err makes the whole context as soon as there is an error, so that the error
// stays what it is, and context.Cause finds its cause by way of Value.
func (b *bounded) Err() error {
	if whole := b.whole.Load(); whole != nil {
		return whole.Err()
	}
	if b.caller.Err() == nil && b.st.ending.Err() == nil && !b.released.Load() &&
		(!b.own || time.Until(b.deadline) > 0) {
		return nil
	}
	return b.make().Err()
}

func (b *bounded) Value(key any) any {
	if whole := b.whole.Load(); whole != nil {
		return whole.Value(key)
	}
	return b.caller.Value(key)
}

// make returns the whole context, and makes it the first time.
func (b *bounded) make() *wholeContext {
	if whole := b.whole.Load(); whole != nil {
		return whole
	}
	b.making.Lock()
	defer b.making.Unlock()
	if b.whole.Load() == nil {
		b.whole.Store(b.assemble())
	}
	return b.whole.Load()
}

func (b *bounded) assemble() *wholeContext {
	ctx, cancel := context.WithCancelCause(b.caller)
	if b.released.Load() {
		cancel(nil)
		return &wholeContext{ctx, func() {}}
	}
	stop := b.st.ending.After(cancel)
	if !b.own {
		return &wholeContext{ctx, func() { stop(); cancel(nil) }}
	}
	ctx, stopTimer := context.WithDeadlineCause(ctx, b.deadline, b.st.waited)
	return &wholeContext{ctx, func() { stopTimer(); stop(); cancel(nil) }}
}
