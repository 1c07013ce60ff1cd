//go:build linux || darwin

package file_test

import "syscall"

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

func limitFiles(n uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n})
}

func limitSizes(n uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
}
