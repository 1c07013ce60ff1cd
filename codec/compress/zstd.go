package compress

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// window is how far back zstd finds repetitions. It is what most of an encoder's
// memory is for, and few values are larger.
const window = 1 << 20

// room is what the decoder likes to have behind the bytes that it writes.
const room = 32

type zstdFrames struct{}

func (zstdFrames) mark() byte { return 1 }

// A block of four bytes, of one byte repeated, becomes 128 KiB.
func (zstdFrames) ratio() int { return 128 << 10 / 4 }

// zstdDecoder serves everybody. It is made when the program starts, because it has
// a channel inside: one made in a bubble of testing/synctest would end the process
// when it is used outside. It costs a kilobyte for each processor.
var zstdDecoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true)))

// must is for options that are constants: a mistake in them fails every test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// zstdEncoders are used as streams, though all bytes are there: an encoder's own
// way to serve many callers has a channel inside, see zstdDecoder.
var zstdEncoders [levels]sync.Pool

var zstdLevels = [levels]zstd.EncoderLevel{
	Balanced: zstd.SpeedDefault,
	Fast:     zstd.SpeedFastest,
	Small:    zstd.SpeedBetterCompression,
}

func zstdEncoder(level Level) (*zstd.Encoder, error) {
	if e, ok := zstdEncoders[level].Get().(*zstd.Encoder); ok {
		return e, nil
	}
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstdLevels[level]), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
}

func (zstdFrames) pack(out *bounded, src []byte, level Level) error {
	e, err := zstdEncoder(level)
	if err != nil {
		return err
	}
	e.ResetContentSize(out, int64(len(src)))
	if _, err = e.Write(src); err == nil {
		err = e.Close()
	}
	e.Reset(nil) // it lets go of out
	zstdEncoders[level].Put(e)
	return err
}

func (zstdFrames) unpack(buf, frame []byte, n int) ([]byte, error) {
	// The decoder does not write beyond the capacity.
	src, err := zstdDecoder.DecodeAll(frame, buf)
	if err == nil && len(src) != n {
		err = errLength
	}
	return src, err
}
