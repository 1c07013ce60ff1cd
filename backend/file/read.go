package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/filelock"
)

const (
	// shortFile is the size up to which a file is read with one call, into a buffer
	// that is used again.
	shortFile = 32 << 10

	// noted is one in how many hits is noted as a use of the file.
	noted = 16

	// recent is how long a use that was noted is good for.
	recent = time.Minute
)

var buffers = sync.Pool{New: func() any { return new([shortFile]byte) }}

// Get is Get of [backend.Backend].
func (b *Backend) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	if err := b.usable(); err != nil {
		return backend.Found{}, err
	}
	var found backend.Found
	err := b.space.Read(ctx, func() (err error) {
		if found.Entry, err = b.read(b.nameOf(key)); err != nil {
			return err
		}
		found.Stamps, err = b.readStamps(ctx, b.stampsOf(guards))
		return err
	})
	if err != nil {
		return backend.Found{}, explained(ctx, err)
	}
	return found, nil
}

// GetMulti is GetMulti of [backend.Backend].
func (b *Backend) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if err := b.usable(); err != nil {
		return nil, nil, err
	}
	entries := make([]*backend.Entry, len(keys))
	var stamps []backend.Stamps
	err := b.space.Read(ctx, func() (err error) {
		for i, key := range keys {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if entries[i], err = b.read(b.nameOf(key)); err != nil {
				return err
			}
		}
		stamps, err = b.readStamps(ctx, b.stampsOf(guards))
		return err
	})
	if err != nil {
		return nil, nil, explained(ctx, err)
	}
	return entries, stamps, nil
}

// read returns the entry that is stored under name, or nil. It needs no lock: whatever
// stands there was put there in one step.
func (b *Backend) read(name filelock.Name) (*backend.Entry, error) {
	path := b.space.Path(name, valueSuffix)
	buffer := buffers.Get().(*[shortFile]byte)
	defer buffers.Put(buffer)
	n, err := filelock.Read(path, buffer[:])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	file := buffer[:n]
	h, ok := parseHeader(file)
	if !ok || h.dead() {
		return nil, nil
	}
	var data []byte
	if n < shortFile {
		if !h.intact(file) {
			return nil, nil
		}
		data = append(make([]byte, 0, h.size), file[headerSize:]...)
	} else {
		if h, file, err = readLong(path, b.maxSize/4); file == nil {
			return nil, err
		}
		if !h.intact(file) || h.dead() {
			return nil, nil
		}
		data = file[headerSize:]
	}
	if rand.Uint32()%noted == 0 {
		use(path)
	}
	return &backend.Entry{Data: data}, nil
}

// readLong reads a file of most bytes at most, or returns nil if there is none. By now
// it may be another one than the one whose beginning was read.
func readLong(path string, most int64) (header, []byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return header{}, nil, nil
	}
	if err != nil {
		return header{}, nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return header{}, nil, err
	}
	var begin [headerSize]byte
	_, err = io.ReadFull(f, begin[:])
	h, ok := parseHeader(begin[:])
	// What the header says is believed only if there is as much to read.
	if err != nil || !ok || !info.Mode().IsRegular() || info.Size() != headerSize+h.size || blocks(info.Size()) > most {
		return header{}, nil, ignoreEnd(err)
	}
	file := make([]byte, headerSize+h.size)
	copy(file, begin[:])
	if _, err := io.ReadFull(f, file[headerSize:]); err != nil {
		return header{}, nil, ignoreEnd(err)
	}
	return h, file, nil
}

// ignoreEnd makes of a file that ends too early a miss.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// use notes that the file at path is used, so that it is kept rather than others. It
// may be a newer file by now, which is used as well.
func use(path string) {
	info, err := os.Lstat(path)
	if now := time.Now(); err == nil && now.Sub(info.ModTime()) > recent {
		_ = os.Chtimes(path, now, now) // if it cannot be noted it is removed earlier
	}
}
