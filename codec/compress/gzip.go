package compress

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

type gzipFrames struct{}

func (gzipFrames) mark() byte { return 2 }

// Deflate writes no repetition of more than 258 bytes, with two bits at least.
func (gzipFrames) ratio() int { return 258 * 8 / 2 }

var gzipWriters [levels]sync.Pool

var gzipLevels = [levels]int{Balanced: gzip.DefaultCompression, Fast: gzip.BestSpeed, Small: gzip.BestCompression}

func gzipWriter(level Level) (*gzip.Writer, error) {
	if w, ok := gzipWriters[level].Get().(*gzip.Writer); ok {
		return w, nil
	}
	return gzip.NewWriterLevel(nil, gzipLevels[level])
}

func (gzipFrames) pack(out *bounded, src []byte, level Level) error {
	w, err := gzipWriter(level)
	if err != nil {
		return err
	}
	w.Reset(out)
	if _, err = w.Write(src); err == nil {
		err = w.Close()
	}
	w.Reset(nil) // it lets go of out
	gzipWriters[level].Put(w)
	return err
}

// gzipReader reads from a frame in memory.
type gzipReader struct {
	frame  bytes.Reader
	reader gzip.Reader
	end    [1]byte
}

var gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}

func (gzipFrames) unpack(buf, frame []byte, n int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer func() {
		r.frame.Reset(nil)
		gzipReaders.Put(r)
	}()
	r.frame.Reset(frame)
	if err := r.reader.Reset(&r.frame); err != nil {
		return nil, err
	}
	r.reader.Multistream(false)
	src := buf[:n]
	if _, err := io.ReadFull(&r.reader, src); err != nil {
		return nil, err
	}
	// The end is where the checksum is compared.
	switch _, err := io.ReadFull(&r.reader, r.end[:]); {
	case err == nil:
		return nil, errLength
	case err != io.EOF:
		return nil, err
	}
	if r.frame.Len() > 0 {
		return nil, errors.New("there are bytes behind the frame")
	}
	return src, nil
}
