// Package child starts processes that do not outlive the process that started
// them, however it ends: the servers and the workers of tests.
//
// On Linux the kernel itself kills such a child when its parent dies, SIGKILL
// included. Elsewhere a parent that is killed leaves its children behind.
package child

import (
	"os"
	"os/exec"
	"runtime"
)

// Process is a child that was started. Its methods are safe for concurrent use.
type Process struct {
	// PID is the id of the process.
	PID int

	process *os.Process
	done    chan struct{}
	err     error // what Wait returned; to be read after done
}

// Start starts cmd. The child is waited for without further ado: see
// [Process.Done]. cmd must not be touched any more afterwards, and its standard
// streams must be files or nil, so that no other goroutine is needed.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	dieWithParent(cmd)
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread dies that started the child,
		// not the process. Go ends a thread when a goroutine that is locked to it
		// returns, which may be any goroutine of the program, so the thread has to
		// be kept from all others for as long as the child lives. This goroutine
		// waits for the child anyway.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.PID, p.process = cmd.Process.Pid, cmd.Process
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Done is closed when the process has ended and has been waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether the process has not ended yet. A process that is stopped
// by [Process.Stop] is running.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits until the process has ended and returns what [exec.Cmd.Wait] does.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Kill ends the process with SIGKILL and waits until it is gone. It does nothing
// to a process that has ended.
func (p *Process) Kill() {
	_ = p.process.Kill() // it fails only if the process has ended
	<-p.done
}
