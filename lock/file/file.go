// Package file is the Locker of the processes of one host: leases kept in a directory,
// with the locks of files that github.com/gofrs/flock takes.
//
//	l := file.New("/var/lock/app", file.Config{})
//
// It is for regions whose values are kept elsewhere, such as in the memory of each
// process, and for work of one's own that only one process should do. A region on
// backend/file needs none: its backend brings leases, which guard publication as well.
//
// # How a lease ends
//
// A lease lasts until it is released or voided, or its Locker is closed. If the process
// dies, however it dies, the kernel drops the lock of the file by which others see that
// it lives, and its leases are free from then on; who waits for one looks every 5 to 50
// ms. The leases of a process that does not run, because it was stopped or the machine
// slept, are free after LeaseTTL. Leases cost no descriptors: a Locker has one file open.
//
// A holder is told by Lost within some 20 ms after its lease was voided, and within a
// second after files were removed by hand.
//
// # The directory
//
// It is made with access for its owner alone, when it is first needed. Everybody who
// can write there can void leases. It may be one that backend/file uses. It must be on a
// file system of this host: one on a network is refused where it can be told (on Linux
// and macOS), because neither locks nor renamed files can be relied on there; those in
// user space (FUSE) cannot be told. It may be removed at any time, which ends all
// leases.
//
// Files of locks that are no longer held are removed, those of processes that died when
// somebody takes the lease of the same key; 256 folders with an empty file each remain.
package file

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/internal/filelock"
	"github.com/dogpile-go/dogpile/lock"
)

var _ lock.Locker = (*Locker)(nil)

// ErrConfig is wrapped by the error of a Locker that cannot work as it was configured.
var ErrConfig = errors.New("file: the configuration of the locker is not usable")

var (
	// ErrBusy says that another process has kept a folder of the directory locked for
	// five seconds: it was stopped in the middle of an operation, or the disk hangs.
	ErrBusy = filelock.ErrBusy

	// ErrNetwork says that the directory is on a network file system.
	ErrNetwork = filelock.ErrNetwork
)

// DefaultPrefix is what keys belong to if Config.Prefix is empty.
const DefaultPrefix = "dogpile"

const (
	defaultLeaseTTL  = 10 * time.Second
	shortestLeaseTTL = 100 * time.Millisecond

	// kind tells the names of locks from those of other files.
	kind = 'm'
)

// Config says how a Locker works. The zero value is good.
type Config struct {
	// Prefix is what all keys belong to, so that several applications can share a
	// directory. Lockers that exclude each other have the same one. Defaults to
	// "dogpile".
	Prefix string

	// LeaseTTL is how long others wait for a process that holds leases and does not
	// run. They do not wait for one that has died, and it does not limit how long
	// leases are held. At least 100 milliseconds; some seconds are sensible. Lockers
	// that exclude each other should have the same one. Defaults to 10 seconds.
	LeaseTTL time.Duration
}

// Locker grants leases to the processes of a host. Open it with [New]. All methods are
// safe for concurrent use.
type Locker struct {
	broken error // what is wrong with the configuration
	space  *filelock.Space
	member *filelock.Member
	closed atomic.Bool
}

// New returns a Locker on dir, which is made when it is first needed.
//
// A directory or Config that cannot work makes a Locker whose every call returns an
// error that wraps [ErrConfig] and says what is wrong; Err returns it.
func New(dir string, cfg Config) *Locker {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	switch {
	case cfg.LeaseTTL == 0:
		cfg.LeaseTTL = defaultLeaseTTL
	case cfg.LeaseTTL < shortestLeaseTTL:
		return &Locker{broken: fmt.Errorf("%w: LeaseTTL is %v; %v is the least, and some seconds are sensible", ErrConfig, cfg.LeaseTTL, shortestLeaseTTL)}
	}
	space, err := filelock.NewSpace(dir, cfg.Prefix, lock.ErrClosed)
	if err != nil {
		return &Locker{broken: fmt.Errorf("%w: the directory %w", ErrConfig, err)}
	}
	return &Locker{space: space, member: filelock.Join(space, cfg.LeaseTTL)}
}

// Err returns what is wrong with the configuration, or nil.
func (l *Locker) Err() error { return l.broken }

// TryAcquire is TryAcquire of [lock.Locker]. Its errors beside [lock.ErrHeld] and
// [lock.ErrClosed] are [ErrConfig], [ErrBusy], [ErrNetwork], the cause of ctx, and
// those of the file system. After an error nothing is held.
func (l *Locker) TryAcquire(ctx context.Context, key string) (lock.Lease, error) {
	if l.broken != nil {
		return nil, l.broken
	}
	name := l.nameOf(key)
	var lease *filelock.Lease
	err := l.space.Locked(ctx, name.Shard(), func() (err error) {
		lease, err = l.member.TakeLocked(name, key)
		return err
	})
	if err != nil {
		return nil, explained(ctx, err)
	}
	return lease, nil
}

// Wait is Wait of [lock.Locker].
func (l *Locker) Wait(ctx context.Context, keys ...string) error {
	if l.broken != nil {
		return l.broken
	}
	return explained(ctx, l.member.Wait(ctx, l.namesOf(keys)...))
}

// Void is Void of [lock.Locker].
func (l *Locker) Void(ctx context.Context, keys ...string) error {
	if l.broken != nil {
		return l.broken
	}
	if l.closed.Load() {
		return lock.ErrClosed
	}
	names := l.namesOf(keys)
	return explained(ctx, filelock.ByShard(names, func(shard int, places []int) error {
		return l.space.Locked(ctx, shard, func() error {
			for _, i := range places {
				if err := l.member.VoidLocked(names[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}))
}

// Close is Close of [lock.Locker]. It returns nil when nothing of the Locker is left:
// no goroutine, no open file, and no lease.
func (l *Locker) Close() error {
	if l.broken != nil || l.closed.Swap(true) {
		return nil
	}
	l.member.Close()
	return nil
}

func (l *Locker) nameOf(key string) filelock.Name { return l.space.NameOf(kind, "", key) }

func (l *Locker) namesOf(keys []string) []filelock.Name {
	names := make([]filelock.Name, len(keys))
	for i, key := range keys {
		names[i] = l.nameOf(key)
	}
	return names
}

// explained makes an error of the file system say whose it is.
func explained(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, lock.ErrHeld) || errors.Is(err, lock.ErrClosed) ||
		ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("file: %w", err)
}
