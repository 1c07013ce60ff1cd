package region

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/warming"
	"github.com/dogpile-go/dogpile/lock"
)

// turnMark stands behind a region's name in the keys of its turns. No region has a name
// with it, nor does one get such a name from proxy.Prefix, so no user has such a key.
const turnMark = "!warm"

// turnKept is how long it is known that a turn was finished: much longer than those
// who wait for it need to look.
const turnKept = time.Hour

// turn is the right to warm one function under one name. It is a lease of the backend:
// who shares what is stored shares it, and nobody else does, so that Config.Mutex has
// no part in it. Under the key of the lease stands a random text, which is replaced
// when the work is done. Those who have waited so tell a colleague that has finished
// from one that has died.
type turn struct {
	region *Region
	key    backend.Key
}

func newTurn(r *Region, namespace, name string) *turn {
	return &turn{r, backend.Key{Region: r.name + turnMark, Name: namespace + " " + strconv.Quote(name)}}
}

// do calls f with the backend in use.
func (t *turn) do(f func(st *state) error) (err error) {
	st, err := t.region.enter()
	if err != nil {
		return err
	}
	defer st.leave()
	if err = caught(func() error { return f(st) }); err != nil {
		err = t.region.fail(fmt.Errorf("the turn to warm: %w", err))
	}
	return err
}

// caught calls f and returns its panic as an error.
func caught(f func() error) (err error) {
	defer recovered(&err)
	return f()
}

func (t *turn) Finished(ctx context.Context) (finished string, err error) {
	err = t.do(func(st *state) error {
		ctx, bounds := st.bounded(ctx)
		defer bounds.release()
		found, err := st.backend.Get(ctx, t.key, nil)
		finished = finishedIn(found.Entry)
		return err
	})
	return finished, err
}

func (t *turn) Take(ctx context.Context) (l warming.Lease, finished string, err error) {
	err = t.do(func(st *state) error {
		ctx, bounds := st.bounded(ctx)
		defer bounds.release()
		grants, _, err := st.backend.Acquire(ctx, []backend.Key{t.key}, nil)
		switch {
		case err != nil:
			return err
		case len(grants) != 1:
			return errors.New("the backend answered for another number of keys than it was asked for")
		case grants[0].Lease != nil:
			l, finished = &turnLease{st, t.key, grants[0].Lease}, finishedIn(grants[0].Entry)
		}
		return nil
	})
	return l, finished, err
}

// turnWait is how long the region is kept from closing by who waits for a turn.
const turnWait = 2 * time.Second

// Wait may return early, as Wait of a backend may: a warming takes hours perhaps, for
// which Close and Reconfigure should not wait.
func (t *turn) Wait(ctx context.Context) error {
	return t.do(func(st *state) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer st.ending.After(cancel)()
		short, stop := context.WithTimeout(ctx, turnWait)
		defer stop()
		err := st.backend.Wait(short, []backend.Key{t.key})
		if short.Err() != nil && ctx.Err() == nil {
			return nil
		}
		return err
	})
}

// finishedIn returns the text of an entry. One that is not ours or cannot be read is as
// good as any: it only has to change.
func finishedIn(e *backend.Entry) string {
	if e == nil {
		return ""
	}
	if text, ok := e.Value.(*string); ok && text != nil {
		return *text
	}
	return string(e.Data)
}

// turnLease is a turn that was taken.
type turnLease struct {
	st    *state
	key   backend.Key
	lease lock.Lease
}

func (l *turnLease) Lost() <-chan struct{} { return l.lease.Lost() }

func (l *turnLease) Finish(ctx context.Context) {
	text := rand.Text()
	e := &backend.Entry{Data: []byte(text)}
	if !l.st.bytes {
		e = &backend.Entry{Value: &text, Created: l.st.now()}
	}
	items := []backend.Item{{Key: l.key, Entry: e, TTL: turnKept, Lease: l.lease}}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	err := caught(func() error {
		_, err := l.st.backend.Set(ctx, items, nil)
		return err
	})
	if err != nil || items[0].Err != nil {
		l.Release(ctx) // who waits then walks the list again, and finds everything there
	}
}

// Release ends the lease. One that cannot be given back expires.
func (l *turnLease) Release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	err := caught(func() error { return l.lease.Release(ctx) })
	if err != nil && !errors.Is(err, backend.ErrClosed) {
		l.st.failed("release", l.key.Name, err)
	}
}
