// Package compress wraps a codec so that large values are stored compressed, with
// zstd or gzip. Importing it registers both for [codec.Open], as in "cbor+zstd".
//
// zstd is the one to take: what it writes is about as small as with gzip and is read
// in half the time. gzip is for values that other programs have to read which know
// nothing else.
//
// A value is compressed if the wrapped codec writes at least Threshold bytes, and
// stored so if that made it smaller. Its first byte says which it is, so that the
// threshold and the level can be changed at any time, also for values that are
// stored already.
//
// # What is stored
//
// The first byte is 0 if the bytes of the wrapped codec follow as they are. It is 1
// before a frame of zstd and 2 before one of gzip; between that byte and the frame
// stands the length of what was compressed, as an unsigned varint of
// [encoding/binary]. Frames have checksums.
//
// # Bombs
//
// A few bytes can be made that decompress to gigabytes, and whoever can write into
// the backend can put them there. So nothing is decompressed that is larger than
// MaxDecoded, or that claims a length to which its bytes could never expand, and it
// ends with the first block beyond the length that was claimed. The region takes
// the error as a miss.
package compress

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dogpile-go/dogpile/codec"
)

// The errors of values that were not written by this package, or not with its
// present limits. For a region they are misses.
var (
	// ErrTooLarge is wrapped by the error of Append for a value that encodes to
	// more than MaxDecoded, because it could not be read again, and by that of
	// Decode for bytes that claim to be such a value.
	ErrTooLarge = errors.New("larger than MaxDecoded")

	// ErrDamaged is wrapped by the error of Decode for bytes that cannot be
	// decompressed, or to another length than they claim.
	ErrDamaged = errors.New("damaged, or not compressed by this codec")
)

// The bounds of a Config.
const (
	defaultThreshold  = 1 << 10
	defaultMaxDecoded = 64 << 20
	mostMaxDecoded    = 1 << 30
)

// Level is how much work is spent on making values small.
type Level int

// The levels of both algorithms.
const (
	Balanced Level = iota // what each algorithm has as its default
	Fast                  // less work when writing
	Small                 // more, for values that are written once and read often
	levels   = iota
)

// Config says what is compressed. The zero Config is good for most.
type Config struct {
	// Threshold is the number of bytes from which on a value is compressed; 1 is
	// for all. Defaults to 1024.
	Threshold int

	// MaxDecoded is the largest number of bytes that the wrapped codec may write
	// or is given to read, up to 1 GiB. All programs that share a backend should
	// have the same: what is larger than their own they can never read. Defaults
	// to 64 MiB.
	MaxDecoded int

	// Level defaults to Balanced.
	Level Level
}

func (c Config) withDefaults() (Config, error) {
	var wrong []error
	if c.Threshold < 0 {
		wrong = append(wrong, fmt.Errorf("codec/compress: Threshold is %d: it is a number of bytes", c.Threshold))
	}
	if c.MaxDecoded < 0 || c.MaxDecoded > mostMaxDecoded {
		wrong = append(wrong, fmt.Errorf("codec/compress: MaxDecoded is %d: it is a number of bytes, %d at most", c.MaxDecoded, mostMaxDecoded))
	}
	if c.Level < 0 || c.Level >= levels {
		wrong = append(wrong, fmt.Errorf("codec/compress: Level is %d: it is compress.Balanced, Fast or Small", c.Level))
	}
	if c.Threshold == 0 {
		c.Threshold = defaultThreshold
	}
	if c.MaxDecoded == 0 {
		c.MaxDecoded = defaultMaxDecoded
	}
	return c, errors.Join(wrong...)
}

func init() {
	for name, wrap := range map[string]func(codec.Codec, Config) (codec.Codec, error){"zstd": Zstd, "gzip": Gzip} {
		// It fails only if the program has given the name to a layer of its own, which then
		// is what the program wants.
		_ = codec.RegisterLayer(name, codec.Compression, func(inner codec.Codec) (codec.Codec, error) {
			return wrap(inner, Config{})
		})
	}
}

// Zstd returns a codec that compresses with zstd what inner writes. Its Name is
// that of inner and "+zstd". It is safe for concurrent use if inner is, which may
// neither be nil nor compress or encrypt itself; an error says so, or what is wrong
// with cfg.
func Zstd(inner codec.Codec, cfg Config) (codec.Codec, error) {
	return wrap(inner, cfg, "zstd", zstdFrames{})
}

// Gzip is like [Zstd] with gzip, and "+gzip" in its Name.
func Gzip(inner codec.Codec, cfg Config) (codec.Codec, error) {
	return wrap(inner, cfg, "gzip", gzipFrames{})
}

func wrap(inner codec.Codec, cfg Config, layer string, f frames) (codec.Codec, error) {
	name, err := codec.Stacked(inner, layer)
	if err != nil {
		return nil, err
	}
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &values{name: name, inner: inner, cfg: cfg, frames: f}, nil
}

// frames is one way to compress.
type frames interface {
	// mark is the first byte of values that are compressed so.
	mark() byte

	// ratio is how many bytes one byte of a frame can become at most.
	ratio() int

	// pack writes the frame of src to out, or returns the error of out.
	pack(out *bounded, src []byte, level Level) error

	// unpack returns the n bytes of which frame was made, in buf, which has that
	// and room as its capacity. It stops at the first block beyond n, whatever
	// frame is.
	unpack(buf, frame []byte, n int) ([]byte, error)
}

// plain is the first byte of values that are not compressed.
const plain = 0

type values struct {
	name   string
	inner  codec.Codec
	cfg    Config
	frames frames
}

// Name returns the name of the wrapped codec and the layer's.
func (c *values) Name() string { return c.name }

// Append implements [codec.Codec].
func (c *values) Append(dst []byte, v any) ([]byte, error) {
	out, err := c.inner.Append(append(dst, plain), v)
	if err != nil {
		return dst, err
	}
	src := out[len(dst)+1:]
	if len(src) > c.cfg.MaxDecoded {
		return dst, fmt.Errorf("codec/compress: %T: %w: its %d bytes are %w, which is %d: raise that wherever the value is read",
			v, codec.ErrUnsupported, len(src), ErrTooLarge, c.cfg.MaxDecoded)
	}
	if len(src) < c.cfg.Threshold {
		return out, nil
	}
	packed := scratch(len(src)) // plain it takes one byte more
	defer packed.free()
	packed.buf = binary.AppendUvarint(append(packed.buf, c.frames.mark()), uint64(len(src)))
	switch err := c.frames.pack(packed, src, c.cfg.Level); {
	case errors.Is(err, errNotSmaller):
		return out, nil
	case err != nil:
		return dst, fmt.Errorf("codec/compress: %T: %w", v, err)
	}
	return append(out[:len(dst)], packed.buf...), nil
}

// Decode implements [codec.Codec]. Beside what the wrapped codec needs it allocates
// at most some three times MaxDecoded, and that only for bytes that were made for
// it; what it has written itself needs its own length.
func (c *values) Decode(data []byte, into any) error {
	if len(data) == 0 {
		return fmt.Errorf("codec/compress: nothing is stored: %w", ErrDamaged)
	}
	if data[0] == plain {
		return c.inner.Decode(data[1:], into)
	}
	if data[0] != c.frames.mark() {
		return fmt.Errorf("codec/compress: %d is not a first byte of %s: %w", data[0], c.name, ErrDamaged)
	}
	length, width := binary.Uvarint(data[1:])
	if width <= 0 {
		return fmt.Errorf("codec/compress: there is no length: %w", ErrDamaged)
	}
	frame := data[1+width:]
	if length > uint64(c.cfg.MaxDecoded) {
		return fmt.Errorf("codec/compress: the value claims to be of %d bytes, %w, which is %d", length, ErrTooLarge, c.cfg.MaxDecoded)
	}
	n := int(length)
	if n/c.frames.ratio() > len(frame) {
		return fmt.Errorf("codec/compress: %d bytes cannot become the %d that they claim: %w", len(frame), n, ErrDamaged)
	}
	// The buffer is not used again: a type's own method for decoding may keep a part
	// of it, though it should not.
	src, err := c.frames.unpack(make([]byte, 0, n+room), frame, n)
	if err != nil {
		return fmt.Errorf("codec/compress: %w: %w", ErrDamaged, err)
	}
	return c.inner.Decode(src, into)
}
