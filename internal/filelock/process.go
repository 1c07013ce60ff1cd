package filelock

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	processes = "process"

	// idSize and nonceSize are the lengths of the two parts of a token.
	idSize    = 16
	nonceSize = 16
	tokenSize = idSize + 1 + nonceSize

	// longest is the size up to which the file of a process may grow.
	longest = 64 << 10
)

// process is the file by which others know that this one lives.
type process struct {
	id   string
	path string
	lock *flock.Flock
	read int64 // the size of the file at the last look; see ring
}

// newProcess makes a process of a new name.
func (s *Space) newProcess() (*process, error) {
	for tries := 0; ; tries++ {
		id := strings.ToLower(rand.Text()[:idSize])
		p := &process{id: id, path: s.processPath(id)}
		var err error
		p.lock, err = tryFlock(p.path)
		switch {
		case p.lock != nil:
			return p, nil
		case tries == 10:
			if err == nil {
				err = ErrBusy
			}
			return nil, err
		case errors.Is(err, fs.ErrNotExist):
			err = os.MkdirAll(filepath.Dir(p.path), 0o700)
		}
		// Somebody who cleans up may just have found the file to be nobody's.
		if err != nil {
			return nil, err
		}
	}
}

func (s *Space) processPath(id string) string { return filepath.Join(s.dir, processes, id) }

// touch tells others that this process runs.
func (p *process) touch() {
	now := time.Now()
	_ = os.Chtimes(p.path, now, now) // if it cannot be told the leases get lost, which is found
}

// rang reports whether somebody has called ring since the last time.
func (p *process) rang() bool {
	info, err := p.lock.Stat()
	if err != nil {
		return true
	}
	size := info.Size()
	if size > longest {
		// What is rung between the look and this is lost, but those who ring have
		// ended a lease before, and leases are looked at now.
		if os.Truncate(p.path, 0) == nil {
			size = 0
		}
		p.read = size
		return true
	}
	changed := size != p.read
	p.read = size
	return changed
}

// leave removes the file, so that others know this process to be dead.
func (p *process) leave() {
	_ = os.Remove(p.path)
	unlock(p.lock)
}

// ring tells another process that one of its leases was ended: its file becomes longer.
// If that fails the holder finds it when it looks at its leases, every second.
func (s *Space) ring(id string) {
	f, err := os.OpenFile(s.processPath(id), os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	_, _ = f.Write([]byte{'.'})
	_ = f.Close()
}

// alive reports whether the process id lives, and has run within ttl.
func (s *Space) alive(id string, ttl time.Duration) (bool, error) {
	path := s.processPath(id)
	// Shared, so that two who ask do not take each other for the process.
	l := flock.New(path, flock.SetFlag(os.O_RDONLY|syscall.O_NONBLOCK))
	dead, err := l.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return true, err
	case dead:
		_ = os.Remove(path) // names are not used twice
		unlock(l)
		return false, nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist), nil
	}
	since := time.Since(info.ModTime())
	return since < ttl, nil
}

// SweepProcesses removes the files of processes that are dead.
func (s *Space) SweepProcesses() {
	entries, err := os.ReadDir(filepath.Join(s.dir, processes))
	if err != nil {
		return
	}
	for _, entry := range entries {
		if validID(entry.Name()) && s.ending.Err() == nil {
			_, _ = s.alive(entry.Name(), time.Hour)
		}
	}
}

func validID(id string) bool {
	if len(id) != idSize {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
