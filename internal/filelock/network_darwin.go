package filelock

import "syscall"

// local is MNT_LOCAL of sys/mount.h.
const local = 0x1000

// onNetwork reports whether dir is on a file system that other hosts share. What
// cannot be told counts as local.
func onNetwork(dir string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && s.Flags&local == 0
}
