package decorate

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/internal/warming"
	"github.com/dogpile-go/dogpile/region"
)

// longestGather is how long the first argument of a batch waits for others, beside the
// time that the iterator takes for the next one.
const longestGather = 100 * time.Millisecond

// warmer is one call of Warm. What it does is done by the goroutine that has called
// Warm, apart from the creations and from waiting for another process.
type warmer[P any] struct {
	opts   WarmOptions
	source warming.Source[P]
	turn   warming.Turn
	began  time.Time

	lease   warming.Lease // nil: it is not our turn
	waiting bool          // for another process
	pace    pace
	ticks   <-chan time.Time // when Progress is to be told; nil: never

	batch   []warming.Item[P] // gathered, and not looked up yet
	known   map[string]bool   // the keys in batch and in lacking
	since   time.Time         // when the first one of batch came
	lacking []warming.Item[P] // looked up, and to be created

	active int           // creations of which the end has not been heard
	ends   chan struct{} // gets one for each that has ended, and never blocks
	under  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	report   WarmReport
	failures []WarmFailure
	dropped  bool  // a creation has come to nothing because the context had ended
	closed   error // the region has been closed
}

func (w *warmer[P]) run(ctx context.Context, args iter.Seq[P]) (WarmReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	finished := false
	defer func() {
		// In this order also when args or Progress panics.
		cancel()
		w.under.Wait()
		if w.lease != nil && finished {
			w.lease.Finish(ctx)
		} else if w.lease != nil {
			w.lease.Release(ctx)
		}
	}()
	w.pace.rate = w.opts.Rate
	w.ends = make(chan struct{}, w.opts.Concurrency)
	if w.opts.Progress != nil {
		ticker := time.NewTicker(w.opts.ProgressEvery)
		defer ticker.Stop()
		w.ticks = ticker.C
	}

	cause := w.takeTurn(ctx)
	if cause == nil {
		cause = w.walk(ctx, args)
	}
	w.settle()
	switch {
	case errors.Is(cause, errElsewhere):
		w.waiting, cause = true, nil
	case cause == nil && w.dropped:
		cause = ended(ctx)
	case cause == nil && w.closed != nil:
		cause = w.closed
	case cause == nil:
		finished = true
	}

	report := w.tell(true)
	if cause == nil && report.Failed == 0 {
		return report, nil
	}
	return report, &WarmError{Report: report, Failures: w.failures, Cause: cause}
}

// walk goes through the arguments. It returns why it has not come to their end.
func (w *warmer[P]) walk(ctx context.Context, args iter.Seq[P]) error {
	w.known = make(map[string]bool)
	for arg := range args {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		w.gather(arg)
		slow := len(w.batch) > 0 && time.Since(w.since) >= longestGather
		if slow || len(w.batch) >= w.opts.BatchSize {
			if err := w.flush(ctx, slow); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return ended(ctx) // it may be why args has come to its end
	}
	return w.flush(ctx, true)
}

// gather puts an argument into the batch.
func (w *warmer[P]) gather(arg P) {
	if len(w.batch) == 0 {
		w.since = time.Now()
	}
	key, err := w.source.Key(arg)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Seen++
	switch {
	case err != nil:
		w.fail(WarmFailure{Arg: arg, Err: err})
	case w.known[key]:
		w.report.Present++
	default:
		w.known[key] = true
		w.batch = append(w.batch, warming.Item[P]{Arg: arg, Key: key})
	}
}

// flush looks up the batch and has created what is missing. What is too little for a
// batch of creations is kept for the next one, unless all is true.
func (w *warmer[P]) flush(ctx context.Context, all bool) error {
	if err := w.check(ctx); err != nil {
		return err
	}
	if len(w.batch) > 0 {
		var there []bool
		err := w.insist(ctx, func() (err error) { there, err = w.source.Look(ctx, w.batch); return err })
		if err != nil {
			return err
		}
		w.mu.Lock()
		for i, is := range there {
			if is {
				w.report.Present++
			} else {
				w.lacking = append(w.lacking, w.batch[i])
			}
		}
		w.mu.Unlock()
		clear(w.batch) // nothing is to be kept alive
		w.batch = w.batch[:0]
		clear(w.known)
	}
	size := 1
	if w.source.Batch() {
		size = w.pace.most(w.opts.BatchSize)
	}
	for len(w.lacking) >= size || all && len(w.lacking) > 0 {
		n := min(size, len(w.lacking))
		if err := w.create(ctx, w.lacking[:n:n]); err != nil {
			return err
		}
		w.lacking = w.lacking[n:]
	}
	for i := range w.lacking {
		w.known[w.lacking[i].Key] = true
	}
	return nil
}

// create starts the creation of items as soon as it may begin.
func (w *warmer[P]) create(ctx context.Context, items []warming.Item[P]) error {
	for w.active == w.opts.Concurrency {
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-w.ticks:
			w.tell(false)
		case <-w.ends:
			w.active--
		}
	}
	// Not before: what has waited for others to end would begin together with the next.
	if wait := w.pace.reserve(len(items)); wait > 0 {
		if err := w.sleep(ctx, wait); err != nil {
			return err
		}
	}
	if err := w.check(ctx); err != nil {
		return err
	}
	w.active++
	w.under.Go(func() {
		defer func() { w.ends <- struct{}{} }()
		returned := false
		defer func() {
			if !returned { // what the caller's own functions have ended with runtime.Goexit
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, item := range items {
					w.fail(WarmFailure{Arg: item.Arg, Key: item.Key, Err: region.ErrCreatorExited})
				}
			}
		}()
		results := w.source.Create(ctx, items)
		returned = true
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, result := range results {
			switch {
			case result.Err != nil && ctx.Err() != nil:
				w.dropped = true
			case errors.Is(result.Err, region.ErrClosed):
				w.closed = result.Err
			case result.Err != nil:
				w.fail(WarmFailure{Arg: items[i].Arg, Key: items[i].Key, Err: result.Err})
			case result.Outcome == warming.Created:
				w.report.Created++
			case result.Outcome == warming.NotFound:
				w.report.NotFound++
			default:
				w.report.Present++
			}
		}
	})
	return nil
}

// fail counts a failure. w.mu is held.
func (w *warmer[P]) fail(f WarmFailure) {
	w.report.Failed++
	if len(w.failures) < w.opts.MaxErrors {
		w.failures = append(w.failures, f)
	}
}

// check tells Progress if it is time, and makes sure that neither ctx nor the region's use
// has ended and that it is still this process's turn.
func (w *warmer[P]) check(ctx context.Context) error {
	select {
	case <-w.ticks:
		w.tell(false)
	default:
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed != nil {
		return closed
	}
	select {
	case <-w.lease.Lost():
		return w.takeTurn(ctx)
	default:
		return nil
	}
}

// sleep waits for d, and tells Progress meanwhile.
func (w *warmer[P]) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-w.ticks:
			w.tell(false)
		case <-timer.C:
			return nil
		}
	}
}

// settle waits for the creations under way, and tells Progress meanwhile.
func (w *warmer[P]) settle() {
	for w.active > 0 {
		select {
		case <-w.ends:
			w.active--
		case <-w.ticks:
			w.tell(false)
		}
	}
}

// tell tells Progress how far the warming is.
func (w *warmer[P]) tell(done bool) WarmReport {
	w.mu.Lock()
	report := w.report
	w.mu.Unlock()
	report.Elapsed = time.Since(w.began)
	report.Elsewhere, report.Done = w.waiting, done
	if w.opts.Progress != nil {
		w.opts.Progress(report)
	}
	return report
}
