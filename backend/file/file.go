// Package file keeps entries in a directory, for the processes of one host: where
// several share a cache without a server, and for command-line programs whose cache
// shall outlive them.
//
//	b := file.New("/var/cache/app", file.Config{})
//	b, err := backend.Open("file:///var/cache/app?max_size=1GiB")
//
// Close, or the region that uses it, has to be called when it is not needed any more.
//
// # What is stored
//
// Each entry is a file that is called by the digest of its key, in one of 256 folders.
// It is written under another name and then renamed, so a reader finds it whole or not
// at all. Whatever else stands there, such as a file that was cut off or is another
// program's, is a miss. Stamps, and leases (internal/filelock), are files beside it.
//
// A hit reads two small files, and one more for each tag of the value, and takes no lock.
//
// # Several processes
//
// What changes the files of a key is done under the lock of its folder, so it is one
// step for all processes. Leases are free as soon as their process has died, however it
// died, and after LeaseTTL if it does not run; who waits for one looks every 5 to 50
// ms. They cost no descriptors: a backend has no more than some 130 files open.
//
// A process that is stopped in the very moment in which it has a folder locked holds
// up the others who want to change something there: after five seconds they get
// [ErrBusy]. Nobody is ever held up in reading.
//
// # When the power fails
//
// When Delete or Renew has returned nil, it has reached the disk: neither comes undone
// by a crash of the machine. That costs about as long as the disk needs for it. What
// Set stores has not: after a crash its value may be there or not, or the one that it
// replaced may be back, except for what had been deleted. Whether a value is whole is
// told by a checksum. When only processes die, nothing is lost that was stored.
//
// # Size
//
// A sweep removes what has expired, what others left unfinished, and, if the directory
// has grown over MaxSize, what was not used for longest, until it is a tenth below.
// One process does it for all: every minute, less often where it takes seconds, and as
// soon as it has stored a sixteenth of MaxSize. So the directory can grow over
// MaxSize by a sixteenth for each process that writes, and more while a sweep runs. A
// hit is noted as a use once in 16 times; what is read often is kept.
//
// The stamps of a tag take a block of 4 KiB, which counts as well. They are kept until an
// hour after the last value can have expired that carries them, or an hour if none was
// ever stored, however many there are: they are removed earlier only if those of all tags
// take more than half of MaxSize, first those that would be needed for the shortest time.
// So values that have a tag each, of their own, have half of the room. Without a TTL they
// keep their tags' stamps for a hundred years; give them one.
//
// A Set that finds the disk full fails, with what was stored before left as it was.
//
// # The directory
//
// It is made with access for its owner alone, when it is first needed. Everybody who
// can write there can change what is read. It must be on a file system of this host:
// one on a network is refused where it can be told (on Linux and macOS), because
// neither locks nor renamed files can be relied on there; those in user space (FUSE)
// cannot be told. It may be removed at any time: everything is then missed.
//
// This is tested on Linux. On Windows, where a file that is open can neither be removed
// nor replaced, calls that meet on a key may fail.
//
// # URLs
//
//	file:///var/cache/app?prefix=app&max_size=512MiB&lease_ttl=10s
//	file:cache/app
//
// The second is relative to the working directory. Options are those of [Config], each
// once, with sizes as in 512MiB, 1GB or 4096.
package file

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/filelock"
)

var _ backend.Backend = (*Backend)(nil)

// ErrConfig is wrapped by the error of a Backend that cannot work as it was
// configured.
var ErrConfig = errors.New("file: the configuration is not usable")

var (
	// ErrBusy says that another process has kept a folder of the directory locked for
	// five seconds: it was stopped in the middle of an operation, or the disk hangs.
	ErrBusy = filelock.ErrBusy

	// ErrNetwork says that the directory is on a network file system.
	ErrNetwork = filelock.ErrNetwork

	// ErrTooLarge is the Err of an item that is larger than a quarter of MaxSize, and
	// so would soon be removed again or push out everything else.
	ErrTooLarge = errors.New("file: the entry is larger than a quarter of MaxSize, so it was not stored; configure a larger MaxSize")
)

// DefaultPrefix is what entries belong to if Config.Prefix is empty.
const DefaultPrefix = "dogpile"

const (
	defaultMaxSize   = 1 << 30
	leastMaxSize     = 1 << 20
	defaultLeaseTTL  = 10 * time.Second
	shortestLeaseTTL = 100 * time.Millisecond
)

// Config says how a Backend works. The zero value is good.
type Config struct {
	// Prefix is what all entries, stamps and leases belong to, so that several
	// applications can share a directory. Defaults to "dogpile".
	Prefix string

	// MaxSize is how many bytes the directory may have on the disk, whatever the
	// prefixes, where a file counts in blocks of 4 KiB. Backends that share a
	// directory should have the same one. At least 1 MiB. Defaults to 1 GiB.
	MaxSize int64

	// LeaseTTL is how long others wait for a process that holds leases and does not
	// run. They do not wait for one that has died, and it does not limit creators.
	// Backends that share a directory should have the same one. At least 100
	// milliseconds; some seconds are sensible. Defaults to 10 seconds.
	LeaseTTL time.Duration
}

// Backend is a backend.Backend of bytes. Open it with [New] or with a URL. All methods
// are safe for concurrent use.
type Backend struct {
	broken  error // what is wrong with the configuration
	space   *filelock.Space
	member  *filelock.Member
	maxSize int64

	sweeper *sweeper
	closed  atomic.Bool
}

// New returns a Backend on dir, which is made when it is first needed.
//
// A directory or Config that cannot work makes a Backend whose every call returns an
// error that wraps [ErrConfig] and says what is wrong; Err returns it, and a region
// refuses such a backend when it is configured.
func New(dir string, cfg Config) *Backend {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	switch {
	case cfg.MaxSize == 0:
		cfg.MaxSize = defaultMaxSize
	case cfg.MaxSize < leastMaxSize:
		return broken("MaxSize is %d bytes; 1 MiB is the least", cfg.MaxSize)
	}
	switch {
	case cfg.LeaseTTL == 0:
		cfg.LeaseTTL = defaultLeaseTTL
	case cfg.LeaseTTL < shortestLeaseTTL:
		return broken("LeaseTTL is %v; %v is the least, and some seconds are sensible", cfg.LeaseTTL, shortestLeaseTTL)
	}
	space, err := filelock.NewSpace(dir, cfg.Prefix, backend.ErrClosed)
	if err != nil {
		return broken("the directory %w", err)
	}
	return &Backend{
		space:   space,
		member:  filelock.Join(space, cfg.LeaseTTL),
		maxSize: cfg.MaxSize,
		sweeper: newSweeper(),
	}
}

func broken(format string, args ...any) *Backend {
	return &Backend{broken: fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)}
}

// Err returns what is wrong with the configuration, or nil.
func (b *Backend) Err() error { return b.broken }

// Ping makes the directory and tries whether files can be written there, for those who
// would rather not start without it. Its errors are [ErrConfig], [ErrNetwork],
// [ErrBusy], [backend.ErrClosed], and those of the file system.
func (b *Backend) Ping(ctx context.Context) error {
	if err := b.usable(); err != nil {
		return err
	}
	return explained(ctx, b.space.Locked(ctx, 0, func() error { return nil }))
}

// Bytes reports true: entries are kept as bytes.
func (b *Backend) Bytes() bool { return true }

// Wait is Wait of [backend.Backend].
func (b *Backend) Wait(ctx context.Context, keys []backend.Key) error {
	if err := b.usable(); err != nil {
		return err
	}
	return explained(ctx, b.member.Wait(ctx, b.namesOf(keys)...))
}

// Close ends the leases of this backend, and waits for a sweep that is under way for
// two seconds at the most.
func (b *Backend) Close() error {
	if b.broken != nil || b.closed.Swap(true) {
		return nil
	}
	b.sweeper.close()
	b.member.Close()
	return nil
}

// usable returns what is wrong with the backend as a whole.
func (b *Backend) usable() error {
	switch {
	case b.broken != nil:
		return b.broken
	case b.closed.Load():
		return backend.ErrClosed
	}
	return nil
}

// explained makes an error of the file system say whose it is.
func explained(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, backend.ErrClosed) || ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("file: %w", err)
}
