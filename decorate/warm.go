package decorate

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/dogpile-go/dogpile/internal/warming"
	"github.com/dogpile-go/dogpile/region"
)

// Warmable is a wrapped function that [Warm] can warm for arguments P:
//
//	*Func0[V]           P is region.Args0
//	*Func[A, V]         P is A
//	*Func2[A, B, V]     P is region.Args2[A, B], and so on to Func4
//	*MultiFunc[K, V]    P is K; the function is called for many at once
type Warmable[P any] interface {
	warming() (source warming.Source[P], ok bool)
}

// WarmOptions say how [Warm] goes about it. The zero value is good for most.
type WarmOptions struct {
	// Name tells apart several lists for one function, such as of two cron jobs: of
	// those who warm one function under one name, one process works at a time. A
	// function with [region.WithKey] needs one, and shares it with all others of its
	// region that have that. Defaults to "".
	Name string

	// Concurrency is how many calls of the function may be under way at the same
	// time. Defaults to 4.
	Concurrency int

	// Rate is how many values may be created per second. Values that are there
	// already do not count; each one of a batch of a [MultiFunc] does, and batches
	// are kept to what one second allows. Defaults to 0: no limit.
	Rate float64

	// BatchSize is how many keys are looked up in one round trip, and how many
	// arguments a [MultiFunc] is given in one call at most. If arguments come slowly
	// they do not wait for a full batch, but for the next one, or the end: Warm cannot
	// do anything while the iterator does not return. Defaults to 256.
	BatchSize int

	// MaxErrors is how many failures [WarmError] keeps; more are only counted.
	// Defaults to 10.
	MaxErrors int

	// Progress is told how far the warming is: every ProgressEvery, also while it waits
	// for another process, when it begins to do so, and, with Done, once at the end. It is called by
	// the goroutine that has called Warm, one call at a time, so not while that is
	// busy with the caller's iterator, and the warming does not go on without it.
	// Defaults to nil: nobody is told.
	Progress func(WarmReport)

	// ProgressEvery is the time between two calls of Progress. Defaults to one
	// second.
	ProgressEvery time.Duration

	// Wait makes Warm wait while another process of the fleet is warming the same,
	// until that is done, or dies and this one takes over. Defaults to false: Warm
	// returns at once.
	Wait bool
}

// WarmReport says how far a warming is, or has come. Its String is a line for a log.
type WarmReport struct {
	// Seen are the arguments that the iterator has given so far. If the warming
	// ended early, some of them may be in none of the other numbers.
	Seen int64

	// Present are those for which there was a fresh value, or a remembered "not
	// found", or which had come just before.
	Present int64

	// Created are those for which this process has called the function. What the
	// backend then failed to store is counted all the same; the region's observer is
	// told.
	Created int64

	// NotFound are those for which the function has said that there is no value:
	// by [region.ErrNotFound], or, with [region.AllowMissing], by leaving them out.
	NotFound int64

	// Failed are those for which it has failed.
	Failed int64

	// Elapsed is the time since Warm was called.
	Elapsed time.Duration

	// Elsewhere says that another process is warming, or has done so while this one
	// waited.
	Elsewhere bool

	// Done says that this is the last report.
	Done bool
}

// String returns the report in words, for example
//
//	1200 seen: 700 present, 498 created, 2 failed, in 3.2s
func (r WarmReport) String() string {
	s := fmt.Sprintf("%d seen: %d present, %d created, ", r.Seen, r.Present, r.Created)
	if r.NotFound > 0 {
		s += fmt.Sprintf("%d not found, ", r.NotFound)
	}
	s += fmt.Sprintf("%d failed, in %v", r.Failed, r.Elapsed.Round(100*time.Millisecond))
	switch {
	case r.Elsewhere && r.Done:
		s += "; another process does it"
	case r.Elsewhere:
		s += "; waiting for another process"
	}
	return s
}

// Warm creates the values of args that are missing, before anybody asks for them: when
// a service starts, or in a cron job.
//
//	report, err := decorate.Warm(ctx, getUser, slices.Values(ids), decorate.WarmOptions{
//		Rate:     50,
//		Progress: func(r decorate.WarmReport) { log.Print("warming users: ", r) },
//	})
//
// What is fresh is left alone, also if it comes from somebody else meanwhile. What is
// missing, dead or stale is created as a call creates it, once in the whole fleet and
// with its tags; Config.Refresh has no part in it, and a creator finds nothing in
// Creation.Stale. A value that fails does not keep the others from being created.
//
// One process of all that share the backend works at a time. In the others Warm
// returns at once, with a report that says Elsewhere and without an error, or waits
// for the first one, with WarmOptions.Wait. If that dies, or its context ends, one of
// those that wait takes over and creates what is missing still. A process that comes
// when another one has finished goes through args itself, which takes a round trip
// for each BatchSize of them. A backend in memory is shared by nobody, so there every
// process warms its own.
//
// For a region that is disabled Warm does nothing, because nothing would be kept. One that
// is disabled meanwhile ends the warming, with an error.
//
// Warm goes through args once, on the goroutine that has called it, and keeps none of
// them, so there may be any number. They are looked up while they come, but not before the
// next one has come or the iterator has ended. One that may block should obey ctx itself:
// Warm cannot interrupt it. One that fails should cancel ctx, best with the error as the
// cause, or what it has given so far is taken for all there is. If it panics, or Progress
// or a function that makes keys or tags does, so does Warm, when all it has started has
// ended.
//
// The error is a [*WarmError] if some values could not be created, or if the warming
// ended early: because ctx ended, or because the backend failed. What cannot be looked up
// is tried again for some seconds, and then the warming ends, rather than that it calls
// the function for every argument and cannot keep what that returns. An error that
// wraps [region.ErrConfig], [region.ErrNotConfigured] or [region.ErrClosed] says that
// nothing was begun, unless it is a WarmError.
//
// When Warm has returned, no goroutine of it is left. A function that ignores that its
// context has ended may still be running; see [region.Region.Close].
func Warm[P any](ctx context.Context, f Warmable[P], args iter.Seq[P], opts WarmOptions) (WarmReport, error) {
	opts, err := opts.settled()
	if err != nil {
		return WarmReport{Done: true}, err
	}
	if args == nil {
		return WarmReport{Done: true}, fmt.Errorf("%w: warm: args is nil; pass for example slices.Values(ids)", region.ErrConfig)
	}
	if f == nil {
		return WarmReport{Done: true}, fmt.Errorf("%w: warm: %w", region.ErrConfig, errNotWrapped)
	}
	source, ok := f.warming()
	if !ok {
		return WarmReport{Done: true}, fmt.Errorf("%w: warm: %w", region.ErrConfig, errNotWrapped)
	}
	turn, err := source.Turn(opts.Name)
	if err != nil {
		return WarmReport{Done: true}, err
	}
	if turn == nil {
		report := WarmReport{Done: true}
		if opts.Progress != nil {
			opts.Progress(report)
		}
		return report, nil
	}
	w := &warmer[P]{opts: opts, source: source, turn: turn, began: time.Now()}
	return w.run(ctx, args)
}

// Defaults of WarmOptions, where zero stands for them.
const (
	defaultConcurrency   = 4
	defaultBatchSize     = 256
	defaultMaxErrors     = 10
	defaultProgressEvery = time.Second
)

// settled returns the options with their defaults filled in, or an error.
func (o WarmOptions) settled() (WarmOptions, error) {
	for _, number := range []struct {
		field string
		wrong bool
		value any
	}{
		{"Concurrency", o.Concurrency < 0, o.Concurrency},
		{"Rate", !(o.Rate >= 0) || math.IsInf(o.Rate, 0), o.Rate},
		{"BatchSize", o.BatchSize < 0, o.BatchSize},
		{"MaxErrors", o.MaxErrors < 0, o.MaxErrors},
		{"ProgressEvery", o.ProgressEvery < 0, o.ProgressEvery},
	} {
		if number.wrong {
			return o, fmt.Errorf("%w: warm: WarmOptions.%s is %v; leave it 0 for the default", region.ErrConfig, number.field, number.value)
		}
	}
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.BatchSize == 0 {
		o.BatchSize = defaultBatchSize
	}
	if o.MaxErrors == 0 {
		o.MaxErrors = defaultMaxErrors
	}
	if o.ProgressEvery == 0 {
		o.ProgressEvery = defaultProgressEvery
	}
	return o, nil
}
