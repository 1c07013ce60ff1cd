package pythontest

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

//go:embed worker.py
var script []byte

// ErrEnded is the error of a call whose worker has ended, as by [Worker.Kill].
var ErrEnded = errors.New("the Python worker has ended")

// Worker is a Python process. It is safe for concurrent use, except that methods that
// fail the test are to be called from the test's own goroutine.
type Worker struct {
	// PID is the process id.
	PID int
	// Versions are those of Python and of the packages that take part, by the names
	// python, dogpile.cache, redis, pymemcache and msgpack.
	Versions map[string]string

	t       testing.TB
	process *child.Process
	in      *os.File
	gone    chan struct{} // closed when the process has ended and all it said was read

	writing sync.Mutex

	mu        sync.Mutex // guards what follows
	last      int        // the newest id
	calls     map[int]*Call
	creations []Creation
	log       bytes.Buffer
	killed    bool
}

// Creation is what a creator told of itself.
type Creation struct {
	// Keys are those that it was to create: the original ones, not mangled. There are
	// none of a decorated function of one value.
	Keys []string
	// State is "creating", "created" or "failed". A creation of which only the first is
	// known is under way, or was ended by [Worker.Kill].
	State string
}

// message is a line from the worker.
type message struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *Exception      `json:"error"`
	Event  string          `json:"event"`
	Keys   []string        `json:"keys"`
}

// Exception is what Python raised.
type Exception struct {
	// Class is the name of its class, with the module unless that is builtins:
	// "redis.exceptions.LockNotOwnedError", "ValueError".
	Class string `json:"class"`
	// Message is what str makes of it.
	Message string `json:"message"`
}

func (e *Exception) Error() string { return e.Class + ": " + e.Message }

// Raised reports whether err is an exception whose class has the name class, with or
// without its module.
func Raised(err error, class string) bool {
	var e *Exception
	return errors.As(err, &e) && (e.Class == class || strings.HasSuffix(e.Class, "."+class))
}

// Start starts a worker, which ends with the test.
func Start(t testing.TB) *Worker {
	t.Helper()
	return StartSeveral(t, 1)[0]
}

// StartSeveral starts n workers at the same time.
func StartSeveral(t testing.TB, n int) []*Worker {
	t.Helper()
	Needed(t)
	path := filepath.Join(t.TempDir(), "worker.py")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		t.Fatal(err)
	}
	workers := make([]*Worker, n)
	hellos := make([]*Call, n)
	for i := range workers {
		w, hello, err := start(t, path)
		if err != nil {
			t.Fatalf("a Python worker does not start: %v", err)
		}
		t.Cleanup(w.end)
		workers[i], hellos[i] = w, hello
	}
	for i, hello := range hellos {
		if err := hello.into(&workers[i].Versions); err != nil {
			t.Fatalf("a Python worker does not get ready: %v", err)
		}
	}
	return workers
}

// start starts a worker. The call that it returns ends with the worker's versions.
func start(t testing.TB, path string) (*Worker, *Call, error) {
	var ours, theirs [3]*os.File // of standard input, output and error
	closeAll := func(files []*os.File) {
		for _, f := range files {
			if f != nil {
				_ = f.Close()
			}
		}
	}
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:])
			closeAll(theirs[:])
			return nil, nil, err
		}
		ours[i], theirs[i] = r, w
		if i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	// -B: nothing is written beside the modules.
	cmd := exec.Command(interpreter(), "-B", path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	process, err := child.Start(cmd)
	closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return nil, nil, err
	}
	w := &Worker{PID: process.PID, t: t, process: process, in: ours[0], gone: make(chan struct{})}
	// The worker's first line, with its versions, is the answer to a call of id 0.
	hello := newCall(w, 0)
	w.calls = map[int]*Call{0: hello}
	var reading sync.WaitGroup
	reading.Go(func() { w.readMessages(ours[1]) })
	reading.Go(func() { w.readLog(ours[2]) })
	go func() {
		<-process.Done()
		reading.Wait()
		closeAll(ours[:])
		w.endCalls()
		close(w.gone)
	}()
	return w, hello, nil
}

// Region configures a region of the worker.
func (w *Worker) Region(cfg RegionConfig) *Region {
	w.t.Helper()
	r := &Region{worker: w, name: w.newName("region")}
	if err := w.call(cfg.request(r.name)).into(nil); err != nil {
		w.t.Fatalf("a region of %s with %v: %v", cfg.Backend, cfg.Arguments, err)
	}
	return r
}

// AtLeast reports whether the version of dogpile.cache is the given one, such as "1.5",
// or a newer one.
func (w *Worker) AtLeast(version string) bool {
	have, want := strings.Split(w.Versions["dogpile.cache"], "."), strings.Split(version, ".")
	for i, part := range want {
		if i >= len(have) {
			return false
		}
		h, _ := strconv.Atoi(have[i])
		n, _ := strconv.Atoi(part)
		if h != n {
			return h > n
		}
	}
	return true
}

// Creations returns what the creators of the worker have told so far, those of calls
// that have not ended and of a worker that was killed as well. All that a creator told
// before its call ended is among it.
func (w *Worker) Creations() []Creation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Creation(nil), w.creations...)
}

// Created returns how many creators of key have begun; see [Worker.Creations].
func (w *Worker) Created(key string) int {
	n := 0
	for _, c := range w.Creations() {
		for _, k := range c.Keys {
			if c.State == "creating" && k == key {
				n++
			}
		}
	}
	return n
}

// Stop halts the worker with SIGSTOP until [Worker.Continue].
func (w *Worker) Stop() {
	w.t.Helper()
	if err := w.process.Stop(); err != nil {
		w.t.Fatalf("the Python worker cannot be stopped: %v", err)
	}
}

// Continue lets the worker go on after [Worker.Stop].
func (w *Worker) Continue() {
	w.t.Helper()
	if err := w.process.Continue(); err != nil {
		w.t.Fatalf("the Python worker cannot be continued: %v", err)
	}
}

// Kill ends the worker with SIGKILL. When it returns, the process is gone, all that it
// said has been read, and its calls have ended with [ErrEnded].
func (w *Worker) Kill() {
	w.mu.Lock()
	w.killed = true
	w.mu.Unlock()
	w.process.Kill()
	<-w.gone
}

// end ends the worker with its test.
func (w *Worker) end() {
	select {
	case <-w.gone:
		w.mu.Lock()
		if !w.killed {
			w.t.Errorf("the Python worker ended by itself: %v", w.process.Wait())
		}
		w.mu.Unlock()
	default:
		w.Kill()
	}
	if w.t.Failed() && w.log.Len() > 0 {
		w.t.Logf("Python worker %d wrote:\n%s", w.PID, w.log.String())
	}
}

// call sends a request.
func (w *Worker) call(q request) *Call {
	w.mu.Lock()
	w.last++
	c := newCall(w, w.last)
	w.calls[c.id] = c
	w.mu.Unlock()
	q["id"] = c.id
	if err := w.write(q); err != nil {
		c.end(message{}, err)
	}
	return c
}

func (w *Worker) write(q request) error {
	line, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("a request for Python: %w", err)
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	select {
	case <-w.gone:
		return ErrEnded
	default:
	}
	if _, err = w.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return nil
}

func (w *Worker) newName(kind string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	return kind + strconv.Itoa(w.last)
}

func (w *Worker) readMessages(out *os.File) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		var m message
		if err == nil {
			err = json.Unmarshal(line, &m)
		}
		if err != nil {
			// The end, or a line that a killed worker did not finish. Whatever it is,
			// the worker must not be left to wait for somebody who reads.
			_, _ = io.Copy(io.Discard, lines)
			return
		}
		w.take(m)
	}
}

func (w *Worker) take(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.calls[m.ID]
	if m.Event != "" {
		w.creations = append(w.creations, Creation{Keys: m.Keys, State: m.Event})
		if c != nil && m.Event == "creating" {
			c.began()
		}
		return
	}
	if c != nil {
		delete(w.calls, m.ID)
		c.end(m, nil)
	}
}

// endCalls ends the calls of a worker that is gone.
func (w *Worker) endCalls() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, c := range w.calls {
		delete(w.calls, id)
		c.end(message{}, ErrEnded)
	}
}

// logged is how much of what a worker writes is kept.
const logged = 64 << 10

func (w *Worker) readLog(out *os.File) {
	buffer := make([]byte, 4096)
	for {
		n, err := out.Read(buffer)
		w.mu.Lock()
		w.log.Write(buffer[:n])
		w.log.Next(max(0, w.log.Len()-logged))
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// late is a channel that tells when patience has come to its end.
func late() (<-chan time.Time, func() bool) {
	timer := time.NewTimer(Patience)
	return timer.C, timer.Stop
}
