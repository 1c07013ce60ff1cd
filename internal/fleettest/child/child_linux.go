package child

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// awaitStop returns when every thread of the process stands still, which is a
// moment after the signal was sent, because the kernel offers no event for it to
// anybody but a tracer or whoever waits for the process.
func (p *Process) awaitStop() error {
	pattern := fmt.Sprintf("/proc/%d/task/*/stat", p.PID)
	deadline := time.Now().Add(10 * time.Second)
	for p.Running() {
		if threads, _ := filepath.Glob(pattern); stopped(threads) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not stop within 10 seconds", p.PID)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return os.ErrProcessDone
}

func stopped(threads []string) bool {
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // the thread has ended
		}
		// The state follows the name, which is in parentheses and may hold any byte.
		if end := bytes.LastIndexByte(stat, ')'); end < 0 || end+2 >= len(stat) || stat[end+2] != 'T' {
			return false
		}
	}
	return len(threads) > 0
}
