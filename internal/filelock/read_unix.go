//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package filelock

import (
	"io/fs"
	"syscall"
)

// Read reads the beginning of the file at path into buf, with as few system calls as
// that takes. What is no regular file reads as if it were empty: a pipe that somebody
// put there must not make anybody wait.
func Read(path string, buf []byte) (int, error) {
	var fd int
	for {
		var err error
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err == nil {
			break
		}
		switch err {
		case syscall.EINTR:
			continue
		case syscall.ELOOP, syscall.EMLINK, syscall.ENXIO: // a link, or a socket
			return 0, nil
		}
		return 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = syscall.Close(fd) }()
	for {
		n, err := syscall.Read(fd, buf)
		switch err {
		case nil:
			return n, nil // of a regular file less than was asked for is all there is
		case syscall.EINTR:
			continue
		case syscall.EAGAIN, syscall.EISDIR:
			return 0, nil
		}
		return 0, &fs.PathError{Op: "read", Path: path, Err: err}
	}
}
