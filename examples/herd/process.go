package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is a worker as the parent sees it.
type process struct {
	number int // from 1
	pid    int

	command *exec.Cmd
	stdin   io.WriteCloser
	orders  *json.Encoder
	gone    chan struct{} // closed when it has ended

	ready   bool
	waiting int           // callers, at last report
	answers *answers      // nil until all callers have one
	ended   time.Duration // when it was killed or found dead, from the start; 0 while it lives
}

// event is a message of a process, or its end.
type event struct {
	from *process
	message
}

// spawn starts this program again as a worker. What it says goes to events until
// over is closed.
func spawn(number int, o order, stderr io.Writer, events chan<- event, over <-chan struct{}) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{number: number, command: exec.Command(program, workerArgument), gone: make(chan struct{})}
	p.command.Stderr = stderr
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	p.pid = p.command.Process.Pid
	go func() {
		in := json.NewDecoder(stdout)
		send := func(m message) {
			select {
			case events <- event{p, m}:
			case <-over:
			}
		}
		for {
			var m message
			if in.Decode(&m) != nil {
				break // it has ended, perhaps in the middle of a line
			}
			send(m)
		}
		_ = p.command.Wait() // how it ended is no news: it was killed, or it said why
		close(p.gone)
		send(message{Kind: ended})
	}()
	p.orders = json.NewEncoder(p.stdin)
	_ = p.orders.Encode(o) // if it cannot be written, the end of the process is told
	return p, nil
}

func (p *process) String() string { return fmt.Sprintf("process %d (pid %d)", p.number, p.pid) }

// kill sends SIGKILL.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it fails only if the process has ended
}

// stop tells the process to end and waits until it has.
func (p *process) stop() {
	_ = p.stdin.Close()
	select {
	case <-p.gone:
	case <-time.After(15 * time.Second):
		p.kill()
		<-p.gone
	}
}
