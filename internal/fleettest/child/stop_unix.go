//go:build unix

package child

import "syscall"

// Stop halts the process with SIGSTOP: it keeps its connections and does nothing
// until [Process.Continue]. On Linux it has come to a halt when Stop returns. The
// error is [os.ErrProcessDone] if the process has ended.
func (p *Process) Stop() error {
	if err := p.process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return p.awaitStop()
}

// Continue lets a process go on that was halted by [Process.Stop].
func (p *Process) Continue() error { return p.process.Signal(syscall.SIGCONT) }
