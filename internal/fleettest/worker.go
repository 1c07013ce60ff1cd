package fleettest

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Role is what a worker does. The worker ends when it returns.
type Role func(*Worker) error

// Worker is the worker's end of the talk with its parent. It is safe for concurrent
// use.
type Worker struct {
	// Index is the worker's number, from 0 to Count-1.
	Index int
	// Count is how many workers [Start] was told to start.
	Count int

	role    string
	params  json.RawMessage
	signals chan string // what came and was not awaited yet
	waiting sync.Mutex  // held by Await

	mu  sync.Mutex
	out *os.File
}

// What goes over the pipes, a line of JSON each.
type (
	// order is what the parent sends: the first one begins the work, the others
	// are signals.
	order struct {
		Index, Count int             `json:",omitempty"`
		Params       json.RawMessage `json:",omitempty"`
		Signal       string          `json:",omitempty"`
	}
	// message is what a worker sends.
	message struct {
		Kind string          // one of the constants below
		Name string          `json:",omitempty"` // of an event
		At   int64           `json:",omitempty"` // of an event: nanoseconds since 1970
		Data json.RawMessage `json:",omitempty"`
	}
)

const (
	kindReady  = "ready"
	kindReport = "report"
	kindEvent  = "event"
	kindError  = "error" // what the role returned
)

// Roles plays the role for which this process was started and ends the process. In a
// process that runs tests it returns at once. It has to be called before anything else
// in TestMain.
func Roles(roles map[string]Role) {
	name := os.Getenv(roleVariable)
	if name == "" {
		return
	}
	flag.Parse() // for testing.Short and the like; workers are given no flags
	// What the role starts, such as a program of its own, is no worker.
	_ = os.Unsetenv(roleVariable)
	w := &Worker{role: name, out: os.Stdout, signals: make(chan string, 1000)}
	// Nobody who prints shall come between the lines for the parent.
	os.Stdout = os.Stderr
	in := bufio.NewReader(os.Stdin)
	var first order
	if err := readLine(in, &first); err != nil {
		os.Exit(1) // no parent, nobody to tell
	}
	w.Index, w.Count, w.params = first.Index, first.Count, first.Params
	go w.listen(in)
	role, err := roles[name], error(nil)
	if role == nil {
		err = fmt.Errorf("fleettest: no role %q in the Roles of this package", name)
	} else {
		err = role(w)
	}
	if err != nil {
		w.send(message{Kind: kindError, Data: toJSON(err.Error())})
		os.Exit(1)
	}
	os.Exit(0)
}

// listen takes the signals of the parent. When the parent is gone, the worker ends.
func (w *Worker) listen(in *bufio.Reader) {
	for {
		var o order
		if readLine(in, &o) != nil {
			os.Exit(1)
		}
		w.signals <- o.Signal
	}
}

// Params fills v, a pointer, with the params that were given to [Start].
func (w *Worker) Params(v any) error {
	if err := json.Unmarshal(w.params, v); err != nil {
		return fmt.Errorf("params of role %s: %w", w.role, err)
	}
	return nil
}

// Ready tells the parent that the worker is ready; see [Fleet.AwaitReady].
func (w *Worker) Ready() { w.send(message{Kind: kindReady}) }

// Await waits until the parent has sent signal and drops the signals that came before
// it. A signal that came before the call is not lost. If the parent sends none, the
// worker waits until the parent ends it.
func (w *Worker) Await(signal string) {
	w.waiting.Lock()
	defer w.waiting.Unlock()
	for got := range w.signals {
		if got == signal {
			return
		}
	}
}

// Report sends v to the parent as JSON; see [Process.Report].
func (w *Worker) Report(v any) { w.send(message{Kind: kindReport, Data: toJSON(v)}) }

// Event tells the parent that something happens now, with data as JSON, or nil. When it
// returns the parent will know of it, whatever becomes of this process: this is how
// creations are counted outside of the cache.
func (w *Worker) Event(kind string, data any) {
	at := time.Now().UnixNano()
	w.send(message{Kind: kindEvent, Name: kind, At: at, Data: toJSON(data)})
}

// Logf writes a line to the log of the test.
func (w *Worker) Logf(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// send writes one line. Once the write returns the line is in the pipe, which outlives
// this process.
func (w *Worker) send(m message) {
	line := append(toJSON(m), '\n')
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.out.Write(line); err != nil {
		os.Exit(1) // the parent is gone
	}
}

// toJSON ends the worker if v cannot be written as JSON: the mistake of a test.
func toJSON(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "fleettest: %v\n", err)
		os.Exit(1)
	}
	return text
}

// readLine reads one line of JSON. A line without an end, as a killed process may
// leave it, is an error.
func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return json.Unmarshal(line, v)
}
