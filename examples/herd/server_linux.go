package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the process when this one is gone, however
// that happens.
func dieWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
