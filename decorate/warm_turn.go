package decorate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

// errElsewhere ends a warming that another process does.
var errElsewhere = errors.New("another process is warming")

// takeTurn takes the turn, or returns errElsewhere. If it has to wait it returns
// errElsewhere also when another process has finished meanwhile. That nobody is known to
// have finished proves nothing: what was known before may have expired meanwhile.
func (w *warmer[P]) takeTurn(ctx context.Context) error {
	w.lease = nil
	before := ""
	if w.opts.Wait {
		err := w.insist(ctx, func() (err error) { before, err = w.turn.Finished(ctx); return err })
		if err != nil {
			return err
		}
	}
	for waited := false; ; waited = true {
		finished := ""
		err := w.insist(ctx, func() (err error) { w.lease, finished, err = w.turn.Take(ctx); return err })
		w.waiting = false
		switch {
		case err != nil:
			return err
		case w.lease != nil && waited && finished != "" && finished != before:
			w.lease.Release(ctx)
			w.lease = nil
			return errElsewhere
		case w.lease != nil:
			return nil
		case !w.opts.Wait:
			return errElsewhere
		}
		w.waiting = true
		if !waited {
			w.tell(false)
		}
		if err := w.insist(ctx, func() error { return w.await(ctx) }); err != nil {
			return err
		}
	}
}

// await waits until the turn may be free, and tells Progress meanwhile.
func (w *warmer[P]) await(ctx context.Context) error {
	free := make(chan error, 1)
	w.under.Go(func() { free <- w.turn.Wait(ctx) })
	for {
		select {
		case err := <-free:
			return err
		case <-w.ticks:
			w.tell(false)
		}
	}
}

// How often, and after how long a pause, what a backend has refused is tried again. The
// pause doubles each time: it is three seconds in all.
const (
	attempts   = 5
	firstPause = 200 * time.Millisecond
)

// insist tries again what may only have failed for a moment.
func (w *warmer[P]) insist(ctx context.Context, try func() error) error {
	pause := firstPause
	for i := 1; ; i++ {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ended(ctx)
		case errors.Is(err, region.ErrClosed), errors.Is(err, region.ErrNotConfigured), errors.Is(err, region.ErrConfig):
			return err
		case i == attempts:
			return fmt.Errorf("the backend has failed %d times: %w", i, err)
		}
		if err := w.sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// ended says why ctx has ended.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
