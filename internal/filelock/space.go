// Package filelock is what processes of one host share through a directory: short
// locks under which files of one key are changed together, and leases that last while
// a value is created.
//
// # What stands in the directory
//
//	3f/lock      is locked while files in the folder 3f are changed
//	3f/….l       a lease: which process holds it, and its token
//	3f/….t       a file that is being written
//	process/…    one for each process that has had a lease, locked for as long as it lives
//
// Names are digests of keys, so no key can name anything outside of the directory, and
// file systems that ignore case do no harm. Owners of a [Space] keep files of their own
// beside the leases, under the same locks.
//
// # Leases
//
// A lease is a file that names a process, and is worth something while that process
// lives: while it has its file in process/ locked. The kernel drops that lock at the
// moment in which the process ends, however it ends, and with it all leases, which so
// cost no descriptor each. A process that does not run, because it was stopped or the
// machine slept, does not touch its file any more, and loses its leases after a time.
//
// Every change of a lease happens under the lock of its folder. Whoever does something
// under a lease compares the token there, under that lock; so it does not matter that
// the holder learns late that others have taken it for dead.
package filelock

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	// Shards is how many folders share the keys; they are numbered from 0.
	Shards = 256

	// width is how many operations of one process that read, and as many others, use
	// files at once. Those that read need one descriptor each and the others at most
	// three, so a limit of 256 open files leaves room for others.
	width = 32

	// patience is how long an operation waits for the lock of a folder. Whoever has
	// it does next to nothing under it, unless it is stopped in the middle.
	patience = 5 * time.Second

	// The intervals at which a lock is tried again.
	firstTry = 50 * time.Microsecond
	lastTry  = 5 * time.Millisecond

	lockName = "lock"
)

var (
	// ErrBusy says that another process has had a folder locked for five seconds.
	ErrBusy = errors.New("another process keeps a folder of the directory locked; is it stopped, or is the disk?")

	// ErrNetwork says that the directory is on a network file system, whose locks
	// cannot be relied on.
	ErrNetwork = errors.New("the directory is on a network file system, where neither locks nor renamed files can be relied on; choose one on a disk of this host, or a server such as Redis")
)

// Space is a directory as one of its users sees it. Open it with [NewSpace]. All
// methods are safe for concurrent use.
type Space struct {
	dir    string
	prefix string
	closed error // what methods return after Close

	ready   atomic.Bool // the directory was found to be usable
	opening sync.Mutex

	reads  chan struct{}         // has one for each operation under way that only reads
	writes chan struct{}         // and for each other one, so that no read waits for a disk
	mine   [Shards]chan struct{} // has one for a folder that is locked by this Space
	over   atomic.Bool
	ending context.Context // ends with Close
	end    context.CancelFunc
}

// Name is what the files of one key are called: a digest.
type Name [sha256.Size]byte

// NewSpace returns the space of dir, whose names are those of prefix. It does not look
// at the directory, which is made when it is needed. closed is the error of its methods
// after Close.
//
// It returns an error that goes on after "the directory" if there can be none of that
// name.
func NewSpace(dir, prefix string, closed error) (*Space, error) {
	switch {
	case dir == "":
		return nil, errors.New("is not given; name one, such as /var/cache/app")
	case strings.ContainsRune(dir, 0):
		return nil, fmt.Errorf("%q has a NUL in its name", dir)
	}
	abs, err := filepath.Abs(dir) // the program may change its working directory
	if err != nil {
		return nil, fmt.Errorf("%q cannot be made absolute: %w", dir, err)
	}
	s := &Space{dir: abs, prefix: prefix, closed: closed, reads: make(chan struct{}, width), writes: make(chan struct{}, width)}
	for i := range s.mine {
		s.mine[i] = make(chan struct{}, 1)
	}
	s.ending, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Dir returns the directory as an absolute path.
func (s *Space) Dir() string { return s.dir }

// Ending ends with Close.
func (s *Space) Ending() context.Context { return s.ending }

// NameOf returns the name of a key in two parts. Different kinds, first parts or second
// parts make different names.
func (s *Space) NameOf(kind byte, first, second string) Name {
	var stack [512]byte
	b := append(stack[:0], kind)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.prefix)))
	b = append(b, s.prefix...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(first)))
	b = append(b, first...)
	b = append(b, second...)
	return sha256.Sum256(b)
}

// Shard is the number of the folder in which the files of n stand.
func (n Name) Shard() int { return int(n[0]) }

// Path returns the path of the file of name with a suffix such as ".l".
func (s *Space) Path(name Name, suffix string) string {
	b := make([]byte, 0, len(s.dir)+1+2+1+2*len(name)+len(suffix))
	b = append(b, s.dir...)
	b = append(b, filepath.Separator)
	b = hex.AppendEncode(b, name[:1])
	b = append(b, filepath.Separator)
	b = hex.AppendEncode(b, name[1:])
	b = append(b, suffix...)
	return string(b)
}

// ParseName is the reverse of Path, of what stands in a folder before the suffix.
func ParseName(shard int, text string) (name Name, ok bool) {
	if len(text) != 2*(len(name)-1) {
		return Name{}, false
	}
	name[0] = byte(shard)
	_, err := hex.Decode(name[1:], []byte(text))
	return name, err == nil
}

// Folder returns the path of a folder.
func (s *Space) Folder(shard int) string {
	return filepath.Join(s.dir, hex.EncodeToString([]byte{byte(shard)}))
}

// NewTemp creates a file in a folder, which is to be renamed or removed soon: others
// remove it when it is old.
func (s *Space) NewTemp(shard int) (*os.File, error) {
	path := filepath.Join(s.Folder(shard), strings.ToLower(rand.Text())+".t")
	for tries := 0; ; tries++ {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if tries > 0 || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if err := os.MkdirAll(s.Folder(shard), 0o700); err != nil {
			return nil, err
		}
	}
}

// Read runs f, which may have one file open at a time. It waits while too many such
// operations are under way. It fails if ctx has ended, after Close, and if the directory
// cannot be used.
func (s *Space) Read(ctx context.Context, f func() error) error {
	if err := s.enter(ctx, s.reads); err != nil {
		return err
	}
	defer func() { <-s.reads }()
	return f()
}

// Write is Read for operations that take longer, with up to three files open.
func (s *Space) Write(ctx context.Context, f func() error) error {
	if err := s.enter(ctx, s.writes); err != nil {
		return err
	}
	defer func() { <-s.writes }()
	return f()
}

// enter takes one of slots, which has to be given back if it returns nil.
func (s *Space) enter(ctx context.Context, slots chan struct{}) error {
	if s.over.Load() {
		return s.closed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case slots <- struct{}{}:
	default:
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ending.Done():
			return s.closed
		}
	}
	var err error
	switch {
	case s.over.Load():
		err = s.closed
	case !s.ready.Load():
		err = s.open()
	}
	if err != nil {
		<-slots
	}
	return err
}

// open makes the directory and looks where it is.
func (s *Space) open() error {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.ready.Load() {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("the directory cannot be made: %w", err)
	}
	if onNetwork(s.dir) {
		return fmt.Errorf("%w: %s", ErrNetwork, s.dir)
	}
	s.ready.Store(true)
	return nil
}

// Locked is Write of an f that runs while nobody else, in any process, runs anything
// under the lock of the same folder. It waits for the lock until ctx ends, and five
// seconds at the longest.
func (s *Space) Locked(ctx context.Context, shard int, f func() error) error {
	if s.over.Load() {
		return s.closed
	}
	began := time.Now()
	select {
	case s.mine[shard] <- struct{}{}:
	default:
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case s.mine[shard] <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ending.Done():
			return s.closed
		case <-late.C:
			return fmt.Errorf("%w (%s)", ErrBusy, s.Folder(shard))
		}
	}
	defer func() { <-s.mine[shard] }()
	return s.Write(ctx, func() error { return s.locked(ctx, shard, began, s.ending.Done(), f) })
}

// locked is Locked without its part in this process. It gives up when quit is closed.
func (s *Space) locked(ctx context.Context, shard int, began time.Time, quit <-chan struct{}, f func() error) error {
	l, err := s.flock(ctx, filepath.Join(s.Folder(shard), lockName), began, quit)
	if err != nil {
		return err
	}
	defer unlock(l)
	return f()
}

// flock locks the file at path, in a folder that may have to be made.
func (s *Space) flock(ctx context.Context, path string, began time.Time, quit <-chan struct{}) (*flock.Flock, error) {
	wait := firstTry
	for missing := 0; ; {
		l, err := tryFlock(path)
		switch {
		case l != nil:
			return l, nil
		case errors.Is(err, fs.ErrNotExist) && missing < 3:
			missing++
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		case time.Since(began) > patience:
			return nil, fmt.Errorf("%w (%s)", ErrBusy, filepath.Dir(path))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-quit:
			timer.Stop()
			return nil, s.closed
		}
		wait = min(2*wait, lastTry)
	}
}

// Alone returns the path of the file that TryAlone locks.
func (s *Space) Alone(name string) string { return filepath.Join(s.dir, name) }

// TryAlone locks a file in the directory, so that one process does something for all.
// It returns what unlocks it, or nil if another process has it locked or it cannot be.
func (s *Space) TryAlone(name string) (leave func()) {
	l, err := tryFlock(s.Alone(name))
	if err != nil || l == nil {
		return nil
	}
	return func() { unlock(l) }
}

// tryFlock locks the file at path, or returns nil if somebody else has locked it. Who
// cleans up may remove the file between its opening and its locking, and others then
// lock another one: the lock counts only if the file still stands there.
func tryFlock(path string) (*flock.Flock, error) {
	l := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDONLY|syscall.O_NONBLOCK))
	ok, err := l.TryLock()
	if err != nil || !ok {
		return nil, err
	}
	if !standsAt(l, path) {
		unlock(l)
		return nil, nil
	}
	return l, nil
}

// standsAt reports whether the locked file is the one at path.
func standsAt(l *flock.Flock, path string) bool {
	ours, err := l.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, there)
}

// unlock drops a lock. An error would say that there is none.
func unlock(l *flock.Flock) { _ = l.Close() }

// Close lets all operations that are under way come to their end; others fail. A second
// Close must not be called.
func (s *Space) Close() {
	s.over.Store(true)
	s.end()
	for range width {
		s.reads <- struct{}{}
		s.writes <- struct{}{}
	}
}
