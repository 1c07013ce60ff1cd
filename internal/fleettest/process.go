package fleettest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

// Process is the parent's end of the talk with one worker.
type Process struct {
	// PID is the process id.
	PID int
	// Index is the worker's number.
	Index int

	fleet   *Fleet
	process *child.Process
	in      *os.File
	gone    chan struct{} // closed when the process has ended and all it said was read

	// Under fleet.mu:
	ready   bool
	reports []json.RawMessage
	failure string // the error that the role returned
	killed  bool
	judged  bool
}

func start(f *Fleet, index int) (*Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var ours, theirs [3]*os.File // of standard input, output and error
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:], theirs[:])
			return nil, err
		}
		ours[i], theirs[i] = r, w
		if i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVariable+"="+f.role)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	process, err := child.Start(cmd)
	closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return nil, err
	}
	p := &Process{PID: process.PID, Index: index, fleet: f, process: process, in: ours[0], gone: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() { p.readMessages(ours[1]) })
	reading.Go(func() { p.readLog(ours[2]) })
	go func() {
		<-process.Done()
		reading.Wait()
		closeAll(ours[:])
		f.tell(func() { close(p.gone) })
	}()
	return p, nil
}

func closeAll(lists ...[]*os.File) {
	for _, list := range lists {
		for _, file := range list {
			if file != nil {
				_ = file.Close()
			}
		}
	}
}

func (p *Process) readMessages(out *os.File) {
	r := bufio.NewReader(out)
	for {
		var m message
		if err := readLine(r, &m); err != nil {
			// The end, or a line that a killed worker did not finish. Whatever else
			// it is, the worker must not be left to wait for somebody who reads.
			if err != io.EOF {
				p.fleet.t.Logf("worker %d: its last message is incomplete: %v", p.Index, err)
			}
			_, _ = io.Copy(io.Discard, r)
			return
		}
		p.fleet.tell(func() { p.take(m) })
	}
}

// take notes a message. Whoever calls it holds fleet.mu.
func (p *Process) take(m message) {
	switch m.Kind {
	case kindReady:
		p.ready = true
	case kindReport:
		p.reports = append(p.reports, m.Data)
	case kindError:
		_ = json.Unmarshal(m.Data, &p.failure)
	case kindEvent:
		p.fleet.events = append(p.fleet.events, Event{p.Index, m.Name, time.Unix(0, m.At), m.Data})
	}
}

func (p *Process) readLog(out *os.File) {
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if line = strings.TrimRight(line, "\n"); line != "" {
			p.fleet.t.Logf("worker %d: %s", p.Index, line)
		}
		if strings.Contains(line, "WARNING: DATA RACE") {
			p.fleet.t.Errorf("worker %d has a data race", p.Index)
		}
		if err != nil {
			return
		}
	}
}

// AwaitReady waits until the worker has called [Worker.Ready].
func (p *Process) AwaitReady() {
	p.fleet.t.Helper()
	p.fleet.await(func() bool {
		p.fleet.mu.Lock()
		defer p.fleet.mu.Unlock()
		return p.ready
	}, p.ended, func() { p.fatal("is not ready") })
}

// Send sends signal to the worker; see [Worker.Await]. A worker that has ended does not
// get it.
func (p *Process) Send(signal string) { p.order(order{Signal: signal}) }

func (p *Process) order(o order) {
	// It fails only if the worker has ended, which whoever waits for it will find.
	_, _ = p.in.Write(append(toJSON(o), '\n'))
}

// Report waits for the next [Worker.Report] and fills v, a pointer, with it.
func (p *Process) Report(v any) {
	p.fleet.t.Helper()
	var report json.RawMessage
	p.fleet.await(func() bool {
		p.fleet.mu.Lock()
		defer p.fleet.mu.Unlock()
		if len(p.reports) == 0 {
			return false
		}
		report, p.reports = p.reports[0], p.reports[1:]
		return true
	}, p.ended, func() { p.fatal("makes no report") })
	if err := json.Unmarshal(report, v); err != nil {
		p.fleet.t.Fatalf("a report of worker %d: %v", p.Index, err)
	}
}

// Stop halts the worker with SIGSTOP. When it returns, no thread of the worker runs any
// more (on Linux).
func (p *Process) Stop() {
	p.fleet.t.Helper()
	if err := p.process.Stop(); err != nil {
		p.fatal("cannot be stopped: " + err.Error())
	}
}

// Continue lets the worker go on after [Process.Stop].
func (p *Process) Continue() {
	p.fleet.t.Helper()
	if err := p.process.Continue(); err != nil {
		p.fatal("cannot be continued: " + err.Error())
	}
}

// Kill ends the worker with SIGKILL. When it returns, the process is gone and all that
// it said has been read.
func (p *Process) Kill() { p.kill() }

func (p *Process) kill() {
	p.fleet.mu.Lock()
	// One that has ended was not killed, and how it ended still counts.
	p.killed = p.killed || p.process.Running()
	p.fleet.mu.Unlock()
	p.process.Kill()
	<-p.gone
}

// Wait waits until the worker has ended by itself, or by [Process.Kill].
func (p *Process) Wait() {
	p.fleet.t.Helper()
	p.fleet.await(p.ended, func() bool { return false }, func() { p.fatal("does not end") })
	p.judge()
}

func (p *Process) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// judge fails the test, once, if the worker has ended badly.
func (p *Process) judge() {
	p.fleet.t.Helper()
	p.fleet.mu.Lock()
	failure, skip := p.failure, p.judged
	p.judged = true
	killed := p.killed
	p.fleet.mu.Unlock()
	err := p.process.Wait()
	var exit *exec.ExitError
	switch {
	case skip:
	case failure != "":
		p.fleet.t.Errorf("worker %d, role %s: %s", p.Index, p.fleet.role, failure)
	case killed && errors.As(err, &exit) && !exit.Exited():
	case err != nil:
		p.fleet.t.Errorf("worker %d, role %s, ended badly: %v", p.Index, p.fleet.role, err)
	}
}

// fatal ends the test. A worker that has ended says first what it ended of.
func (p *Process) fatal(what string) {
	p.fleet.t.Helper()
	if p.ended() {
		p.judge()
		what += ", it has ended"
	}
	p.fleet.t.Fatalf("worker %d, role %s, %s", p.Index, p.fleet.role, what)
}
