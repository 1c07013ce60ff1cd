package file

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dogpile-go/dogpile/internal/filelock"
)

const (
	// sweepEvery is the time from the end of one sweep to the beginning of the next,
	// in whichever process. It is longer where a sweep takes long: sweepRest times as
	// long as that took.
	sweepEvery = time.Minute
	sweepRest  = 20

	// sweepWait is how long Close waits for a sweep.
	sweepWait = 2 * time.Second

	// tempAge is when a file that is being written counts as left behind, and damageAge
	// when one that cannot be read does.
	tempAge   = 10 * time.Minute
	damageAge = time.Minute
	leaseAge  = 10 * time.Second

	// maxStamps is how many regions have their stamps kept. Without its stamps a region's
	// entries are dead, so there is room for far more than programs have. For those of
	// tags see keep.go.
	maxStamps = 1 << 16

	// atOnce is how many files are removed while a folder is locked.
	atOnce = 64

	sweepFile = "sweep"
)

// sweeper is the goroutine that sweeps, if there is one.
type sweeper struct {
	maxStamps int // of regions

	written atomic.Int64 // bytes since the last sweep, in blocks
	kick    chan struct{}

	mu      sync.Mutex // held while it starts
	started bool
	over    bool
	stop    chan struct{}
	ending  context.Context
	end     context.CancelFunc
	done    chan struct{}
}

func newSweeper() *sweeper {
	s := &sweeper{maxStamps: maxStamps, kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	s.ending, s.end = context.WithCancel(context.Background())
	return s
}

// account notes that a file of a size is written.
func (b *Backend) account(size int64) {
	s := b.sweeper
	if s.written.Add(size) >= b.maxSize/16 {
		s.hurry()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.over {
		return
	}
	s.started = true
	go b.sweepAgainAndAgain()
}

// hurry has the directory swept now, if anything has been written.
func (s *sweeper) hurry() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *sweeper) close() {
	s.mu.Lock()
	s.over = true
	started := s.started
	s.mu.Unlock()
	defer s.end()
	if !started {
		return
	}
	close(s.stop)
	late := time.NewTimer(sweepWait)
	defer late.Stop()
	select {
	case <-s.done:
	case <-late.C:
		s.end()
		<-s.done
	}
}

func (b *Backend) sweepAgainAndAgain() {
	s := b.sweeper
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.kick:
			b.sweep(s.ending, true)
		case <-timer.C:
			b.sweep(s.ending, false)
		case <-s.stop:
			// A program that runs for a moment only would never sweep otherwise.
			select {
			case <-s.kick:
				b.sweep(s.ending, true)
			case <-timer.C:
				b.sweep(s.ending, false)
			default:
			}
			return
		}
		timer.Reset(sweepEvery)
	}
}

// sweep removes what need not be kept, unless another process is at it. If it is not
// urgent it does so only if it is due: the time of the sweep file is when. It reports
// whether it has swept.
func (b *Backend) sweep(ctx context.Context, urgent bool) bool {
	path := b.space.Alone(sweepFile)
	began := time.Now()
	if !urgent {
		info, err := os.Lstat(path)
		if err == nil && info.ModTime().After(began) && info.ModTime().Before(began.Add(24*time.Hour)) {
			return false
		}
	}
	leave := b.space.TryAlone(sweepFile)
	if leave == nil {
		return false
	}
	defer leave()
	b.sweeper.written.Store(0)
	b.space.SweepProcesses()
	var all inventory
	for shard := range filelock.Shards {
		if ctx.Err() != nil {
			return false
		}
		b.sweepFolder(ctx, shard, &all)
	}
	// The stamps of tags are not to push out every value: beyond half of the room those
	// go first that are needed no longer than others, and the values that carry them die.
	if over := int64(len(all.tags))*blockSize - b.maxSize/2; over > 0 {
		over += b.maxSize / 20
		b.evict(ctx, tagSuffix, all.tags, over)
		all.total -= over
	}
	if over := all.total - b.maxSize; over > 0 {
		b.evict(ctx, valueSuffix, all.values, over+b.maxSize/10)
	}
	if over := len(all.stamps) - b.sweeper.maxStamps; over > 0 {
		b.evict(ctx, stampSuffix, all.stamps, int64(over+b.sweeper.maxStamps/10)*blockSize)
	}
	next := time.Now().Add(max(sweepEvery, sweepRest*time.Since(began)))
	_ = os.Chtimes(path, next, next) // or others will sweep earlier
	return true
}

// inventory is what a sweep has found and left.
type inventory struct {
	total  int64 // bytes, in blocks
	values []used
	stamps []used
	tags   []used
}

// used is a file that may be evicted.
type used struct {
	at   int64 // when it was last written or used, or until when it is needed
	size int64 // in blocks
}

// victim is a file that is to be removed if it still is the one that was looked at.
type victim struct {
	path string
	info os.FileInfo
}

// sweepFolder removes from a folder what is of no use, and counts the rest.
func (b *Backend) sweepFolder(ctx context.Context, shard int, all *inventory) {
	var victims []victim
	b.walk(shard, func(kind string, name filelock.Name, v victim) {
		age := time.Since(v.info.ModTime())
		size := blocks(v.info.Size())
		switch kind {
		case valueSuffix:
			if expired(v.path, age) {
				victims = append(victims, v)
				return
			}
			all.values = append(all.values, used{v.info.ModTime().UnixNano(), size})
		case stampSuffix:
			all.stamps = append(all.stamps, used{v.info.ModTime().UnixNano(), size})
		case tagSuffix:
			if age > tagSlack {
				victims = append(victims, v)
				return
			}
			all.tags = append(all.tags, used{v.info.ModTime().UnixNano(), size})
		case tempSuffix:
			if age > tempAge {
				_ = os.Remove(v.path)
				return
			}
		case leaseSuffix:
			if age > leaseAge {
				_ = b.space.Locked(ctx, shard, func() error { b.member.SweepLeaseLocked(name); return nil })
			}
			return
		}
		all.total += size
	})
	// A file that was just replaced, twice, can look like the one that it replaced.
	b.remove(ctx, shard, victims, func(v victim) bool {
		return strings.HasSuffix(v.path, tagSuffix) || expired(v.path, time.Since(v.info.ModTime()))
	})
}

// expired reports whether the value at path is of no use any more.
func expired(path string, age time.Duration) bool {
	var begin [headerSize]byte
	n, err := filelock.Read(path, begin[:])
	if err != nil {
		return false
	}
	h, ok := parseHeader(begin[:n])
	if !ok {
		return age > damageAge
	}
	return h.dead()
}

// remove removes those victims that have not been replaced since and are still to go.
func (b *Backend) remove(ctx context.Context, shard int, victims []victim, still func(victim) bool) {
	for some := range slices.Chunk(victims, atOnce) {
		_ = b.space.Locked(ctx, shard, func() error {
			for _, v := range some {
				info, err := os.Lstat(v.path)
				if err == nil && os.SameFile(info, v.info) && info.ModTime().Equal(v.info.ModTime()) && still(v) {
					_ = os.Remove(v.path) // what cannot be removed is for the next sweep
				}
			}
			return nil
		})
	}
}

// evict removes the files of a kind that were not used for longest, until so many bytes
// are freed. files are all there are.
func (b *Backend) evict(ctx context.Context, suffix string, files []used, bytes int64) {
	slices.SortFunc(files, func(a, b used) int { return int(min(max(a.at-b.at, -1), 1)) })
	var last, sum int64
	for _, f := range files {
		last, sum = f.at, sum+f.size
		if sum >= bytes {
			break
		}
	}
	for shard := range filelock.Shards {
		if ctx.Err() != nil || bytes <= 0 {
			return
		}
		var victims []victim
		b.walk(shard, func(kind string, _ filelock.Name, v victim) {
			if kind == suffix && v.info.ModTime().UnixNano() <= last && bytes > 0 {
				victims = append(victims, v)
				bytes -= blocks(v.info.Size())
			}
		})
		b.remove(ctx, shard, victims, func(victim) bool { return true })
	}
}

// walk calls f for every file of ours in a folder.
func (b *Backend) walk(shard int, f func(kind string, name filelock.Name, v victim)) {
	folder := b.space.Folder(shard)
	dir, err := os.Open(folder)
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()
	for {
		entries, err := dir.Readdirnames(1000)
		for _, entry := range entries {
			i := strings.LastIndexByte(entry, '.')
			if i < 0 {
				continue
			}
			kind := entry[i:]
			name, ok := filelock.ParseName(shard, entry[:i])
			if !ok && kind != tempSuffix {
				continue
			}
			path := folder + string(os.PathSeparator) + entry
			info, err := os.Lstat(path)
			if err == nil && info.Mode().IsRegular() {
				f(kind, name, victim{path, info})
			}
		}
		if err != nil {
			return // the end, or what the next sweep may read
		}
	}
}
