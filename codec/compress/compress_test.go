package compress_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/codec/compress"
	"github.com/dogpile-go/dogpile/codec/raw"
)

// both are the two ways to compress, and the first byte of what they write.
var both = []struct {
	name  string
	mark  byte
	ratio int // how many bytes one byte of a frame can become
	wrap  func(codec.Codec, compress.Config) (codec.Codec, error)
	pack  func(t testing.TB, v []byte) []byte // a frame that this package did not write
}{
	{"zstd", 1, 32768, compress.Zstd, func(t testing.TB, v []byte) []byte {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(v, nil)
	}},
	{"gzip", 2, 1032, compress.Gzip, func(t testing.TB, v []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(v); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}},
}

func each(t *testing.T, test func(t *testing.T, i int)) {
	for i := range both {
		t.Run(both[i].name, func(t *testing.T) { test(t, i) })
	}
}

func open(t testing.TB, i int, inner codec.Codec, cfg compress.Config) codec.Codec {
	t.Helper()
	c, err := both[i].wrap(inner, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(t testing.TB, c codec.Codec, v any) []byte {
	t.Helper()
	data, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// stored is what is stored of a frame that claims to be of n bytes.
func stored(mark byte, n uint64, frame []byte) []byte {
	return append(binary.AppendUvarint([]byte{mark}, n), frame...)
}

func random(n int) []byte {
	b := make([]byte, n)
	chaCha := rand.NewChaCha8([32]byte{1})
	_, _ = chaCha.Read(b) // it never fails
	return b
}

// text is n bytes that compress as values do.
func text(n int) []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"name":"user %d","active":%v},`, r.IntN(1e6), r.IntN(1000), r.IntN(2) == 0)
	}
	return b.Bytes()[:n]
}

func TestWhatIsCompressed(t *testing.T) {
	each(t, func(t *testing.T, i int) {
		for _, c := range []struct {
			name string
			cfg  compress.Config
			v    []byte // raw adds a byte
			mark byte
		}{
			{"nothing", compress.Config{}, nil, 0},
			{"below the default", compress.Config{}, make([]byte, 1022), 0},
			{"the default", compress.Config{}, make([]byte, 1023), both[i].mark},
			{"below a threshold", compress.Config{Threshold: 5000}, make([]byte, 4998), 0},
			{"a threshold", compress.Config{Threshold: 5000}, make([]byte, 4999), both[i].mark},
			{"all", compress.Config{Threshold: 1}, make([]byte, 200), both[i].mark},
			{"what would grow", compress.Config{Threshold: 1}, []byte("ab"), 0},
			{"random", compress.Config{}, random(100_000), 0},
			{"a block", compress.Config{}, text(64 << 10), both[i].mark},
			{"blocks", compress.Config{}, text(3 << 20), both[i].mark},
			{"exact blocks", compress.Config{}, text(256<<10 - 1), both[i].mark},
			{"fast", compress.Config{Level: compress.Fast}, text(300_000), both[i].mark},
			{"small", compress.Config{Level: compress.Small}, text(300_000), both[i].mark},
			{"as large as may be", compress.Config{MaxDecoded: 70_001}, text(70_000), both[i].mark},
			{"plain and as large as may be", compress.Config{MaxDecoded: 70_001}, random(70_000), 0},
		} {
			codec := open(t, i, raw.New(), c.cfg)
			data := encode(t, codec, c.v)
			if data[0] != c.mark {
				t.Errorf("%s: the first byte is %d, want %d", c.name, data[0], c.mark)
			}
			if plain := 2 + len(c.v); c.mark == 0 && c.v != nil && len(data) != plain || c.mark != 0 && len(data) >= plain {
				t.Errorf("%s: %d bytes became %d", c.name, plain, len(data))
			}
			var got []byte
			if err := codec.Decode(data, &got); err != nil || !bytes.Equal(got, c.v) {
				t.Errorf("%s: came back as %d bytes, %v, want the same %d", c.name, len(got), err, len(c.v))
			}
		}
	})
}

func TestNothingGrows(t *testing.T) {
	each(t, func(t *testing.T, i int) {
		c := open(t, i, raw.New(), compress.Config{Threshold: 1})
		noise := random(20)
		for n := range noise {
			v := append(make([]byte, 100), noise[:n]...)
			for zeros := range 100 {
				data := encode(t, c, v[zeros:])
				plain := 2 + len(v) - zeros
				if len(data) > plain || data[0] != 0 && len(data) == plain {
					t.Fatalf("%d zeros and %d random bytes became %d bytes, the first one %d; want no more than %d",
						100-zeros, n, len(data), data[0], plain)
				}
			}
		}
	})
}

// The format is a contract with values that are stored already.
func TestFormat(t *testing.T) {
	v := bytes.Repeat([]byte("ten bytes."), 1000)
	each(t, func(t *testing.T, i int) {
		c := open(t, i, raw.New(), compress.Config{})
		if got := encode(t, c, "text"); string(got) != "\x00\x01text" {
			t.Errorf("short values are stored as %q", got)
		}
		got := encode(t, c, v)
		length, width := binary.Uvarint(got[1:])
		if got[0] != both[i].mark || length != 10_001 {
			t.Errorf("it begins with %d and the length %d, want %d and 10001", got[0], length, both[i].mark)
		}
		// Everybody's decoder can read the frame.
		frame := got[1+width:]
		var plain []byte
		var err error
		if both[i].name == "zstd" {
			var d *zstd.Decoder
			if d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1)); err == nil {
				plain, err = d.DecodeAll(frame, nil)
			}
		} else {
			var r *gzip.Reader
			if r, err = gzip.NewReader(bytes.NewReader(frame)); err == nil {
				var b bytes.Buffer
				_, err = b.ReadFrom(r)
				plain = b.Bytes()
			}
		}
		if err != nil || !bytes.Equal(plain, append([]byte{1}, v...)) {
			t.Errorf("the frame holds %.20q, %v", plain, err)
		}
		foreign := stored(both[i].mark, 10_001, both[i].pack(t, append([]byte{1}, v...)))
		var back []byte
		if err := c.Decode(foreign, &back); err != nil || !bytes.Equal(back, v) {
			t.Errorf("a frame of another encoder is %.20q, %v", back, err)
		}
	})
}

// What is stored can be read whatever the threshold and the level are now.
func TestConfigMayChange(t *testing.T) {
	each(t, func(t *testing.T, i int) {
		for _, size := range []int{10, 2000, 100_000} {
			data := encode(t, open(t, i, cbor.New(), compress.Config{Threshold: 1, Level: compress.Small}), text(size))
			var got []byte
			c := open(t, i, cbor.New(), compress.Config{Threshold: 1 << 20, Level: compress.Fast})
			if err := c.Decode(data, &got); err != nil || !bytes.Equal(got, text(size)) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	})
}

func TestDamageIsAnError(t *testing.T) {
	v := text(3000)
	each(t, func(t *testing.T, i int) {
		c := open(t, i, raw.New(), compress.Config{MaxDecoded: 1 << 20})
		data := encode(t, c, v)
		decode := func(data []byte) ([]byte, error) {
			var got []byte
			err := c.Decode(data, &got)
			return got, err
		}
		for n := range data {
			if _, err := decode(data[:n]); !errors.Is(err, compress.ErrDamaged) {
				t.Fatalf("the first %d of %d bytes: %v, want ErrDamaged", n, len(data), err)
			}
		}
		for at := range data {
			for bit := range 8 {
				changed := bytes.Clone(data)
				changed[at] ^= 1 << bit
				// Some bits of a header mean nothing. The value must not be another.
				if got, err := decode(changed); err == nil && !bytes.Equal(got, v) && changed[0] != 0 {
					t.Fatalf("bit %d of byte %d was changed, and %.20q was read", bit, at, got)
				}
			}
		}
		frame := both[i].pack(t, append([]byte{1}, v...))
		if got, err := decode(stored(both[i].mark, 3001, frame)); err != nil || !bytes.Equal(got, v) {
			t.Fatalf("nothing was changed, and %v", err)
		}
		for name, bad := range map[string][]byte{
			"nothing":                 {},
			"another mark":            stored(3, 3001, frame),
			"the other algorithm":     stored(3-both[i].mark, 3001, frame),
			"no length":               {both[i].mark},
			"a length without an end": append([]byte{both[i].mark}, bytes.Repeat([]byte{0xff}, 20)...),
			"a shorter length":        stored(both[i].mark, 3000, frame),
			"a length of 0":           stored(both[i].mark, 0, frame),
			"a longer length":         stored(both[i].mark, 3002, frame),
			"a much longer one":       stored(both[i].mark, 1<<20, frame),
			"no frame":                stored(both[i].mark, 3001, nil),
			"no frame, of 0":          stored(both[i].mark, 1, nil),
			"text behind it":          append(stored(both[i].mark, 3001, frame), "text"...),
			"twice":                   append(stored(both[i].mark, 3001, frame), frame...),
			"twice, as it says":       append(stored(both[i].mark, 6002, frame), frame...),
		} {
			_, err := decode(bad)
			if name == "twice, as it says" && both[i].name == "zstd" {
				continue // two frames are their content, one behind the other
			}
			if !errors.Is(err, compress.ErrDamaged) {
				t.Errorf("%s: %v, want ErrDamaged", name, err)
			}
		}
	})
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombs(t *testing.T) {
	const most = 8 << 20
	large := make([]byte, 40<<20)
	each(t, func(t *testing.T, i int) {
		c := open(t, i, raw.New(), compress.Config{MaxDecoded: most})
		bomb := both[i].pack(t, large)
		small := both[i].pack(t, large[:most+1])
		try := func(name string, data []byte, want error, memory uint64) {
			var err error
			got := allocated(func() { err = c.Decode(data, new([]byte)) })
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			if got > memory {
				t.Errorf("%s: %d bytes were allocated, want no more than %d", name, got, memory)
			}
		}
		try("an honest bomb", stored(both[i].mark, uint64(len(large)), bomb), compress.ErrTooLarge, 100_000)
		try("one byte too many", stored(both[i].mark, most+1, small), compress.ErrTooLarge, 100_000)
		try("the largest length", stored(both[i].mark, 1<<64-1, bomb), compress.ErrTooLarge, 100_000)
		try("an impossible length", stored(both[i].mark, most, bomb[:most/both[i].ratio-1]), compress.ErrDamaged, 100_000)
		try("a bomb that says it is small", stored(both[i].mark, 1000, bomb), compress.ErrDamaged, 1<<20)
		try("a bomb that says it is as large as may be", stored(both[i].mark, most, bomb), compress.ErrDamaged, 3*most)
		if both[i].name == "zstd" {
			try("a header that lies", stored(1, 5000, zstdHeader(60<<20)), compress.ErrDamaged, 100_000)
			try("blocks without a length in the header", stored(1, most, runs(2*most)), compress.ErrDamaged, 3*most)
			try("many runs that say they are small", stored(1, 1000, runs(2*most)), compress.ErrDamaged, 1<<20)
		}
	})
}

// zstdHeader begins a frame that claims to be of n bytes, and has four.
func zstdHeader(n uint32) []byte {
	b := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, binary.LittleEndian.AppendUint32(nil, n)...)
	return append(b, 4<<3|1, 0, 0, 'f', 'o', 'u', 'r') // a raw block, the last one
}

// runs is a frame of n zeros that does not say how many they are.
func runs(n int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3} // a window of 1 MiB
	const block = 128 << 10
	for ; n > 0; n -= block {
		last := 0
		if n <= block {
			last = 1
		}
		header := block<<3 | 1<<1 | last
		b = append(b, byte(header), byte(header>>8), byte(header>>16), 0)
	}
	return b
}

func TestTooLargeIsNotStored(t *testing.T) {
	each(t, func(t *testing.T, i int) {
		c := open(t, i, raw.New(), compress.Config{MaxDecoded: 5000})
		for _, v := range [][]byte{make([]byte, 5000), random(5000)} {
			got, err := c.Append([]byte("dst"), v)
			if !errors.Is(err, codec.ErrUnsupported) || !errors.Is(err, compress.ErrTooLarge) || string(got) != "dst" {
				t.Errorf("%.20q, %v, want dst and an error that wraps ErrUnsupported and ErrTooLarge", got, err)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	each(t, func(t *testing.T, i int) {
		for want, cfg := range map[string]compress.Config{
			"Threshold":  {Threshold: -1},
			"MaxDecoded": {MaxDecoded: -1},
			"1073741824": {MaxDecoded: 1<<30 + 1},
			"Level":      {Level: 3},
			"Small":      {Level: -1},
		} {
			if c, err := both[i].wrap(cbor.New(), cfg); err == nil || c != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want an error that says %s", cfg, err, want)
			}
		}
		if _, err := both[i].wrap(cbor.New(), compress.Config{Threshold: -1, Level: 7}); err == nil ||
			!strings.Contains(err.Error(), "Threshold") || !strings.Contains(err.Error(), "Level") {
			t.Errorf("%v: want all that is wrong", err)
		}
		if _, err := both[i].wrap(nil, compress.Config{}); err == nil {
			t.Error("nothing was wrapped")
		}
		if _, err := both[i].wrap(open(t, 0, cbor.New(), compress.Config{}), compress.Config{}); err == nil {
			t.Error("it compresses twice")
		}
		if name := open(t, i, raw.New(), compress.Config{}).Name(); name != "raw+"+both[i].name {
			t.Errorf("its name is %s", name)
		}
	})
}

// A codec that was first used in a bubble of testing/synctest is used in another
// one, and outside.
func TestInBubbles(t *testing.T) {
	each(t, func(t *testing.T, i int) {
		c := open(t, i, cbor.New(), compress.Config{})
		use := func(t *testing.T) {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					var got []byte
					if err := c.Decode(encode(t, c, text(200_000)), &got); err != nil || !bytes.Equal(got, text(200_000)) {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		synctest.Test(t, use)
		synctest.Test(t, use)
		use(t)
	})
}

// Encoders and decoders that failed are as good as new for whoever is next.
func TestAfterFailures(t *testing.T) {
	each(t, func(t *testing.T, i int) {
		c := open(t, i, raw.New(), compress.Config{Threshold: 1})
		v := text(150_000)
		good := encode(t, c, v)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for n := range 10 {
					if data := encode(t, c, random(200_000)); data[0] != 0 {
						t.Error("random bytes were compressed")
					}
					var got []byte
					if c.Decode(good[:len(good)-1-n], &got) == nil {
						t.Error("bytes that lack their end were read")
					}
					if err := c.Decode(good, &got); err != nil || !bytes.Equal(got, v) {
						t.Error("a sound value was not read:", err)
					}
					if err := c.Decode(encode(t, c, v), &got); err != nil || !bytes.Equal(got, v) {
						t.Error("a value did not come back:", err)
					}
				}
			})
		}
		all.Wait()
	})
}

func FuzzDecodeZstd(f *testing.F) { fuzz(f, 0) }
func FuzzDecodeGzip(f *testing.F) { fuzz(f, 1) }

func fuzz(f *testing.F, i int) {
	c := open(f, i, raw.New(), compress.Config{Threshold: 1, MaxDecoded: 1 << 20})
	for _, v := range [][]byte{nil, text(10), text(3000), make([]byte, 200_000), random(300)} {
		f.Add(encode(f, c, v))
		f.Add(stored(both[i].mark, uint64(len(v)+1), both[i].pack(f, append([]byte{1}, v...))))
	}
	f.Add(stored(1, 5000, zstdHeader(60<<20)))
	f.Add(stored(1, 1<<20, runs(1<<20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v []byte
		if c.Decode(data, &v) != nil {
			return
		}
		if len(v) > max(len(data), 1<<20) {
			t.Fatalf("%d bytes became %d", len(data), len(v))
		}
		again, err := c.Append(nil, v)
		if errors.Is(err, compress.ErrTooLarge) && data[0] == 0 {
			return
		}
		var back []byte
		if err != nil || c.Decode(again, &back) != nil || !bytes.Equal(back, v) {
			t.Errorf("%.100q was read as %.100q, which did not come back: %v", data, v, err)
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	for _, size := range []int{500, 4 << 10, 64 << 10, 1 << 20} {
		v := text(size)
		for i := range both {
			c := open(b, i, raw.New(), compress.Config{})
			data := encode(b, c, v)
			dst := make([]byte, 0, size+100)
			b.Run(fmt.Sprintf("%s/%d/append", both[i].name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := c.Append(dst, v); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size)/float64(len(data)), "ratio")
			})
			b.Run(fmt.Sprintf("%s/%d/decode", both[i].name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					var got []byte
					if err := c.Decode(data, &got); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
