package envelope_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
	"pgregory.net/rapid"
)

var (
	key    = backend.Key{Region: "users", Name: "user:42"}
	header = envelope.Header{
		Codec:      envelope.CodecID("cbor"),
		Schema:     0x0123456789abcdef,
		Created:    time.Date(2026, 11, 21, 12, 34, 56, 789012345, time.UTC),
		Cost:       1500 * time.Microsecond,
		Expiration: 5 * time.Minute,
		Stamps: backend.Stamps{
			Hard: backend.Stamp([]byte("hard-stamp-1")),
			Soft: backend.Stamp([]byte("soft-stamp-2")),
		},
	}
)

// seal returns payload in its envelope, behind prefix.
func seal(prefix []byte, h envelope.Header, key backend.Key, payload []byte) []byte {
	b := envelope.Begin(bytes.Clone(prefix), h, key)
	return envelope.Finish(append(b, payload...), len(prefix))
}

func TestRoundTrip(t *testing.T) {
	stamp := rapid.Custom(func(t *rapid.T) (s backend.Stamp) {
		copy(s[:], rapid.SliceOfN(rapid.Byte(), len(s), len(s)).Draw(t, "stamp"))
		return s
	})
	created := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		ns := rapid.Int64Min(-1<<63+1).Draw(t, "ns")
		return time.Unix(0, ns).In(time.FixedZone("", rapid.IntRange(-50000, 50000).Draw(t, "offset")))
	})
	name := rapid.OneOf(rapid.String(), rapid.StringN(200, 3000, 5000))
	rapid.Check(t, func(t *rapid.T) {
		h := envelope.Header{
			Codec:      rapid.Uint32().Draw(t, "codec"),
			Schema:     rapid.Uint64().Draw(t, "schema"),
			Created:    created.Draw(t, "created"),
			Cost:       time.Duration(rapid.Int64Min(0).Draw(t, "cost")),
			Nonce:      rapid.Uint32Max(envelope.MostNonce).Draw(t, "nonce"),
			Expiration: time.Duration(rapid.Int64().Draw(t, "expiration")),
			NotFound:   rapid.Bool().Draw(t, "not found"),
			Stamps:     backend.Stamps{Hard: stamp.Draw(t, "hard"), Soft: stamp.Draw(t, "soft")},
		}
		for range rapid.OneOf(rapid.IntRange(0, 3), rapid.Just(envelope.MostTags)).Draw(t, "tags") {
			h.Tags = append(h.Tags, backend.Tagged{
				Tag:    string(rapid.SliceOfN(rapid.Byte(), 1, envelope.LongestTag).Draw(t, "tag")),
				Stamps: backend.Stamps{Hard: stamp.Draw(t, "tag hard"), Soft: stamp.Draw(t, "tag soft")},
			})
		}
		key := backend.Key{Region: name.Draw(t, "region"), Name: name.Draw(t, "name")}
		prefix := rapid.SliceOf(rapid.Byte()).Draw(t, "prefix")
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")

		stored := seal(prefix, h, key, payload)
		if !bytes.HasPrefix(stored, prefix) {
			t.Fatal("what stood before the value was changed")
		}
		got, back, err := envelope.Parse(stored[len(prefix):], key)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Created.Equal(h.Created) || got.Created.Location() != time.UTC {
			t.Fatalf("created %v, want %v in UTC", got.Created, h.Created)
		}
		got.Created = h.Created
		if h.Nonce != 0 {
			h.Cost = min(h.Cost.Truncate(time.Microsecond), envelope.MostCost)
		}
		if !reflect.DeepEqual(got, h) {
			t.Fatalf("header %+v, want %+v", got, h)
		}
		if !bytes.Equal(back, payload) {
			t.Fatalf("payload %x, want %x", back, payload)
		}
	})
}

// The format is a contract with values that are stored already. If this fails
// and the change is meant, the version has to be another one.
func TestGoldenBytes(t *testing.T) {
	golden := strings.Join([]string{
		"d06770",                           // magic
		"01",                               // version
		"0100",                             // flags
		"0000",                             // guards
		"cd1aa968",                         // codec
		"1292afcb",                         // checksum
		"efcdab8967452301",                 // schema
		"79bffa508c0fea18",                 // created
		"60e3160000000000",                 // cost
		"00b864d945000000",                 // expiration
		"152688d7863b0dbf8182ac890855d4bf", // key
		"686172642d7374616d702d31",         // hard stamp
		"736f66742d7374616d702d32",         // soft stamp
		"0700000000000000",                 // length
		"7061796c6f6164",                   // payload
	}, "")
	h := header
	h.NotFound = true
	golden2 := strings.Join([]string{
		"d06770010100", "0200", "cd1aa968", "SUM", "efcdab8967452301", "79bffa508c0fea18", "60e3160000000000", "00b864d945000000",
		"152688d7863b0dbf8182ac890855d4bf", "686172642d7374616d702d31", "736f66742d7374616d702d32",
		"4000000000000000",                                                           // length, with the tags
		"06", "237573657273", "686172642d7374616d702d33", "736f66742d7374616d702d34", // #users
		"01", "2a", "686172642d7374616d702d35", "736f66742d7374616d702d36", // *
		"7061796c6f6164",
	}, "")
	// What releases store that know of nonces, and what takes its place.
	h.Nonce = 0x12345678
	nonced := strings.Replace(golden, "60e3160000000000", "dc05000078563492", 1)
	sealed := seal(nil, h, key, []byte("payload"))
	if got, want := hex.EncodeToString(sealed), strings.Replace(nonced, "1292afcb", hex.EncodeToString(sealed[12:16]), 1); got != want {
		t.Errorf("with a nonce stored as\n%s, want\n%s", got, want)
	}
	if got, payload, err := envelope.Parse(sealed, key); err != nil || !reflect.DeepEqual(got, h) || string(payload) != "payload" {
		t.Errorf("the golden bytes with a nonce are read as %+v %q, %v", got, payload, err)
	}
	h.Nonce = 0
	tagged := h
	tagged.Tags = []backend.Tagged{
		{Tag: "#users", Stamps: backend.Stamps{Hard: backend.Stamp([]byte("hard-stamp-3")), Soft: backend.Stamp([]byte("soft-stamp-4"))}},
		{Tag: "*", Stamps: backend.Stamps{Hard: backend.Stamp([]byte("hard-stamp-5")), Soft: backend.Stamp([]byte("soft-stamp-6"))}},
	}
	sealed = seal(nil, tagged, key, []byte("payload"))
	if got, want := hex.EncodeToString(sealed), strings.Replace(golden2, "SUM", hex.EncodeToString(sealed[12:16]), 1); got != want {
		t.Errorf("with tags stored as\n%s, want\n%s", got, want)
	}
	if got, payload, err := envelope.Parse(sealed, key); err != nil || !reflect.DeepEqual(got, tagged) || string(payload) != "payload" {
		t.Errorf("the golden bytes with tags are read as %+v %q, %v", got, payload, err)
	}
	stored := seal(nil, h, key, []byte("payload"))
	if got := hex.EncodeToString(stored); got != golden {
		t.Errorf("stored as\n%s, want\n%s", got, golden)
	}
	want, _ := hex.DecodeString(golden)
	got, payload, err := envelope.Parse(want, key)
	if err != nil || !reflect.DeepEqual(got, h) || string(payload) != "payload" {
		t.Errorf("the golden bytes are read as %+v %q, %v", got, payload, err)
	}
}

func TestEveryDamageIsNoticed(t *testing.T) {
	random := make([]byte, 70<<10)
	rand.NewChaCha8([32]byte{}).Read(random)
	for _, size := range []int{0, 1, 100, len(random)} {
		stored := seal(nil, header, key, random[:size])
		if _, _, err := envelope.Parse(stored, key); err != nil {
			t.Fatalf("%d bytes of payload: %v", size, err)
		}
		// Whatever stands at the edges is tried bit by bit, the inside of a big
		// payload by sample.
		step := func(i int) int {
			if i < 300 || i > len(stored)-300 {
				return 1
			}
			return 97
		}
		for i := 0; i < len(stored); i += step(i) {
			for bit := range 8 {
				stored[i] ^= 1 << bit
				if _, _, err := envelope.Parse(stored, key); err == nil {
					t.Errorf("%d bytes of payload: bit %d of byte %d flipped unnoticed", size, bit, i)
				}
				stored[i] ^= 1 << bit
			}
			if _, _, err := envelope.Parse(stored[:i], key); !errors.Is(err, envelope.ErrCorrupt) {
				t.Errorf("%d bytes of payload: cut at %d: %v, want ErrCorrupt", size, i, err)
			}
		}
		for extra := range 256 {
			if _, _, err := envelope.Parse(append(stored[:len(stored):len(stored)], byte(extra)), key); !errors.Is(err, envelope.ErrCorrupt) {
				t.Errorf("%d bytes of payload: trailing %#x: %v, want ErrCorrupt", size, extra, err)
			}
		}
		if _, _, err := envelope.Parse(append(bytes.Clone(stored), stored...), key); !errors.Is(err, envelope.ErrCorrupt) {
			t.Errorf("%d bytes of payload: twice in a row: %v, want ErrCorrupt", size, err)
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	// with returns a stored value in which set has changed a byte, under a
	// checksum that fits.
	with := func(set func(b []byte)) []byte {
		b := seal(nil, header, key, []byte("payload"))
		set(b)
		return resum(b)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":         {nil, envelope.ErrCorrupt},
		"zero bytes":      {make([]byte, 200), envelope.ErrForeign},
		"one zero byte":   {make([]byte, 1), envelope.ErrForeign},
		"JSON":            {[]byte(`{"id":42}`), envelope.ErrForeign},
		"pickle":          {[]byte("\x80\x04\x95\x0a"), envelope.ErrForeign},
		"half the magic":  {[]byte("\xd0g"), envelope.ErrCorrupt},
		"a newer version": {with(func(b []byte) { b[3]++ }), envelope.ErrVersion},
		"an unknown flag": {with(func(b []byte) { b[4] |= 2 }), envelope.ErrVersion},
		"the last flag":   {with(func(b []byte) { b[5] |= 128 }), envelope.ErrVersion},
		"no tag":          {with(func(b []byte) { b[6] = 1 }), envelope.ErrCorrupt},
		"256 tags":        {with(func(b []byte) { b[7] = 1 }), envelope.ErrCorrupt},
		"too many tags":   {with(func(b []byte) { b[6], b[7] = 1, 4 }), envelope.ErrVersion},
		"another digest":  {with(func(b []byte) { b[63]++ }), envelope.ErrOtherKey},
		"a huge length":   {with(func(b []byte) { b[95] = 255 }), envelope.ErrCorrupt},
		"a longer length": {with(func(b []byte) { b[88]++ }), envelope.ErrCorrupt},
		"a wrong sum":     {func() []byte { b := with(func([]byte) {}); b[12]++; return b }(), envelope.ErrCorrupt},
	} {
		if _, payload, err := envelope.Parse(c.data, key); !errors.Is(err, c.want) || payload != nil {
			t.Errorf("%s: %q, %v, want %v", name, payload, err, c.want)
		}
	}
}

// resum puts a checksum that fits into b, computed apart from the package.
func resum(b []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	rest := append(bytes.Clone(b[:12]), b[16:]...)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(rest, table))
	return b
}

func TestKeysAreToldApart(t *testing.T) {
	long := strings.Repeat("k", 64<<10)
	keys := []backend.Key{
		{},
		{Region: "users", Name: "user:42"},
		{Region: "users", Name: "user:43"},
		{Region: "users", Name: ""},
		{Region: "posts", Name: "user:42"},
		{Region: "user", Name: "suser:42"},
		{Region: "", Name: "users" + "user:42"},
		{Region: "users:user", Name: "42"}, // no such region, but no such collision either
		{Region: "users", Name: long},
		{Region: "posts", Name: long},
		{Region: "users", Name: long[1:] + "K"},
		{Region: "users" + long[:1], Name: long[1:]},
		{Region: long, Name: "users"},
	}
	for n := 240; n < 270; n++ { // around the length at which hashing changes
		keys = append(keys, backend.Key{Region: "users", Name: long[:n]}, backend.Key{Region: "usersk", Name: long[:n-1]})
	}
	for i, mine := range keys {
		stored := seal(nil, header, mine, []byte("payload"))
		for j, asked := range keys {
			_, _, err := envelope.Parse(stored, asked)
			if i == j && err != nil || i != j && !errors.Is(err, envelope.ErrOtherKey) {
				t.Errorf("key %d read as key %d: %v", i, j, err)
			}
		}
	}
}

func TestCodecID(t *testing.T) {
	for name, want := range map[string]uint32{"": 0x811c9dc5, "cbor": 0x68a91acd, "json": 0x36a1a243, "raw": 0x43ff12f1} {
		if got := envelope.CodecID(name); got != want {
			t.Errorf("%q: %#x, want %#x", name, got, want)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for name, key := range map[string]backend.Key{
		"short": key,
		"long":  {Region: "users", Name: strings.Repeat("k", 64<<10)},
	} {
		stored := seal(nil, header, key, make([]byte, 100))
		n := testing.AllocsPerRun(1000, func() {
			if _, _, err := envelope.Parse(stored, key); err != nil {
				t.Fatal(err)
			}
			if _, _, err := envelope.Parse(stored[:50], key); err == nil {
				t.Fatal("half a value was accepted")
			}
		})
		if n != 0 {
			t.Errorf("%s key: %v allocations, want none", name, n)
		}
	}
}

// FuzzParse looks for bytes that make Parse panic, or that it accepts although
// this package would not have written them. The checksum, which keeps a fuzzer
// out, is also made to fit.
func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\xd0gp"))
	f.Add(make([]byte, 200))
	f.Add(seal(nil, header, key, nil))
	f.Add(seal(nil, header, key, []byte("payload")))
	tagged := header
	tagged.Tags = []backend.Tagged{{Tag: "#a", Stamps: header.Stamps}, {Tag: "*"}}
	f.Add(seal(nil, tagged, key, []byte("payload")))
	nonced := header
	nonced.Nonce = 7
	f.Add(seal(nil, nonced, key, []byte("payload")))
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(data []byte) {
			h, payload, err := envelope.Parse(data, key)
			if err != nil {
				return
			}
			if again := seal(nil, h, key, payload); !bytes.Equal(again, data) {
				t.Errorf("%x was accepted, but is written as %x", data, again)
			}
		}
		check(data)
		if len(data) < 96 {
			return
		}
		data = bytes.Clone(data)
		sound := seal(nil, header, key, nil)
		copy(data, sound[:4])           // magic and version
		copy(data[48:64], sound[48:64]) // key
		binary.LittleEndian.PutUint64(data[88:], uint64(len(data)-96))
		check(resum(data))
	})
}

func BenchmarkParse(b *testing.B) {
	stored := seal(nil, header, key, make([]byte, 100))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := envelope.Parse(stored, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBeginFinish(b *testing.B) {
	payload := make([]byte, 100)
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		envelope.Finish(append(envelope.Begin(buf, header, key), payload...), 0)
	}
}
