package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

// workerArgument makes this program one process of the fleet.
const workerArgument = "worker"

// work is the main function of a worker.
func work(stdin io.Reader, stdout io.Writer) int {
	signal.Ignore(os.Interrupt) // Ctrl-C is for the parent, who then ends this one
	w := &worker{out: json.NewEncoder(stdout)}
	if err := w.run(json.NewDecoder(stdin)); err != nil {
		w.tell(message{Kind: failed, Error: err.Error()})
		return 1
	}
	return 0
}

// worker is one process of the fleet.
type worker struct {
	order
	start

	mu  sync.Mutex
	out *json.Encoder
}

func (w *worker) run(in *json.Decoder) (err error) {
	if err := in.Decode(&w.order); err != nil {
		return err
	}
	if err := configure(w.Redis, w.Takes); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, Herd.Close()) }()
	// A look connects, so that what is measured is the herd and not the network.
	if _, _, err := region.Get[string](context.Background(), Herd, w.Key); err != nil {
		return err
	}
	w.tell(message{Kind: ready})

	if err := in.Decode(&w.start); err != nil {
		return err
	}
	parentGone := make(chan struct{})
	go func() {
		_ = in.Decode(new(start)) // nothing more comes
		close(parentGone)
	}()
	answered := make(chan struct{})
	go func() {
		w.tell(message{Kind: done, Answers: w.askAll()})
		close(answered)
	}()
	select {
	case <-parentGone:
		os.Exit(1) // with all the callers
	case <-answered:
	}
	<-parentGone // it wants to count commands first, and Close sends some
	return nil
}

// askAll lets all callers ask at the same moment and tells how many of them wait
// until the last one has its answer.
func (w *worker) askAll() *answers {
	var asking sync.WaitGroup
	var waits atomic.Int64
	began := make(chan struct{})
	at := make([]time.Duration, w.Callers)
	values := make([]string, w.Callers)
	errs := make([]error, w.Callers)
	for i := range w.Callers {
		asking.Go(func() {
			<-began
			waits.Add(1)
			values[i], errs[i] = get(context.Background(), w.Key, w.create)
			at[i] = w.now()
			waits.Add(-1)
		})
	}
	time.Sleep(time.Until(w.At))
	close(began)

	all := make(chan struct{})
	go func() { asking.Wait(); close(all) }()
	for often := time.Tick(100 * time.Millisecond); ; {
		select {
		case <-often:
			w.tell(message{Kind: waiting, At: w.now(), Waiting: int(waits.Load())})
		case <-all:
			return collect(at, values, errs)
		}
	}
}

// create stands for a slow query.
func (w *worker) create(ctx context.Context) (string, error) {
	w.tell(message{Kind: creating, At: w.now()})
	select {
	case <-time.After(w.Takes):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	w.tell(message{Kind: created, At: w.now()})
	return fmt.Sprintf("created by process %d after %v", os.Getpid(), w.now()), nil
}

// now returns the time since the start by the clock that all processes share.
func (w *worker) now() time.Duration { return time.Since(w.At) }

// tell writes a message. When it returns the parent can read it, whatever becomes
// of this process.
func (w *worker) tell(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.out.Encode(m); err != nil {
		os.Exit(1) // the parent is gone
	}
}

func collect(at []time.Duration, values []string, errs []error) *answers {
	a := &answers{At: at, Values: map[string]int{}, Errors: map[string]int{}}
	for i, err := range errs {
		if err != nil {
			a.Errors[err.Error()]++
		} else {
			a.Values[values[i]]++
		}
	}
	return a
}
