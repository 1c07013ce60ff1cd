//go:build !linux

package main

import "os/exec"

// dieWithParent does nothing where only Linux could: a herd that is itself killed
// with SIGKILL leaves its server behind.
func dieWithParent(*exec.Cmd) {}
