package msgpack_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/codectest"
	"github.com/dogpile-go/dogpile/codec/msgpack"
	"github.com/dogpile-go/dogpile/internal/pythontest"
)

func TestContract(t *testing.T) {
	_, offset := time.Date(2026, 11, 21, 11, 4, 56, 0, time.UTC).Local().Zone()
	codectest.Run(t, msgpack.New(), func(name string) bool {
		switch name {
		case "complex", "string/not UTF-8", "big/int", "time/with an offset":
			return true
		case "time/local":
			return offset != 0
		}
		return false
	})
}

func TestOpen(t *testing.T) {
	if c, err := codec.Open("msgpack+gzip"); err == nil {
		t.Errorf("%v was opened without its layer", c)
	}
	if c, err := codec.Open("MsgPack"); err != nil || c.Name() != "msgpack" {
		t.Errorf("%v, %v, want the codec by its name", c, err)
	}
}

type key string

type inner struct {
	A int `msgpack:"a,omitempty" json:"wrong"`
	B []byte
	C *inner `json:"c"`
	D string `json:"-"`
}

type bare struct{ hidden int }

type pointers struct{ P **int }

type (
	promoted struct {
		netip.Addr
		Port int
	}
	// alone embeds what has its methods, and nothing else.
	alone struct {
		netip.Addr
		_ int
		E struct{}
	}
	inside struct{ A int }
	unset  struct {
		*inside
		B int
	}
	// shadowed has a field that is not that of what it embeds.
	shadowed struct {
		inside
		A string
	}
	ambiguous struct {
		A int `msgpack:"a"`
		B int `msgpack:"a"`
		C int
	}
	// mute tells nobody what it is.
	mute struct{ N int }
)

func (mute) MarshalText() ([]byte, error) { return []byte("mute"), nil }
func (*mute) UnmarshalText([]byte) error  { return nil }

func TestEncoding(t *testing.T) {
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"nil":            {nil, "\xc0"},
		"struct":         {inner{}, "\x83\xa1a\x00\xa1B\xc0\xa1c\xc0"},
		"empty struct":   {struct{}{}, "\x80"},
		"named":          {map[key][]key{"k": {"v"}}, "\x81\xa1k\x91\xa1v"},
		"fixint":         {[]int{0, 127, -1, -32}, "\x94\x00\x7f\xff\xe0"},
		"int8":           {[]int{128, 255, -33, -128}, "\x94\xcc\x80\xcc\xff\xd0\xdf\xd0\x80"},
		"int16":          {[]int{256, 65535, -129, -32768}, "\x94\xcd\x01\x00\xcd\xff\xff\xd1\xff\x7f\xd1\x80\x00"},
		"int32":          {[]int{65536, -32769}, "\x92\xce\x00\x01\x00\x00\xd2\xff\xff\x7f\xff"},
		"int64":          {[]int{1 << 32, math.MinInt64}, "\x92\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xd3\x80\x00\x00\x00\x00\x00\x00\x00"},
		"float32":        {float32(0.5), "\xca\x3f\x00\x00\x00"},
		"float64":        {0.5, "\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"},
		"[2]byte":        {[2]byte{1, 2}, "\xc4\x02\x01\x02"},
		"any [2]byte":    {[]any{[2]byte{1, 2}}, "\x91\xc4\x02\x01\x02"},
		"str8":           {strings.Repeat("a", 32), "\xd9\x20" + strings.Repeat("a", 32)},
		"str16":          {strings.Repeat("a", 256), "\xda\x01\x00" + strings.Repeat("a", 256)},
		"str32":          {strings.Repeat("a", 65536), "\xdb\x00\x01\x00\x00" + strings.Repeat("a", 65536)},
		"bin16":          {bytes.Repeat([]byte("a"), 256), "\xc5\x01\x00" + strings.Repeat("a", 256)},
		"bin32":          {bytes.Repeat([]byte("a"), 65536), "\xc6\x00\x01\x00\x00" + strings.Repeat("a", 65536)},
		"array16":        {make([]bool, 16), "\xdc\x00\x10" + strings.Repeat("\xc2", 16)},
		"array32":        {make([]bool, 65536), "\xdd\x00\x01\x00\x00" + strings.Repeat("\xc2", 65536)},
		"time":           {time.Unix(1, 0).UTC(), "\xd6\xff\x00\x00\x00\x01"},
		"nanoseconds":    {time.Unix(1, 1).UTC(), "\xd7\xff\x00\x00\x00\x04\x00\x00\x00\x01"},
		"before 1970":    {time.Unix(-1, 1).UTC(), "\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff"},
		"big":            {big.NewInt(-5), "\xfb"},
		"largest":        {new(big.Int).SetUint64(math.MaxUint64), "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		"one thing":      {alone{Addr: netip.IPv4Unspecified()}, "\xa70.0.0.0"},
		"shadowed":       {shadowed{inside{1}, "s"}, "\x81\xa1A\xa1s"},
		"interface keys": {map[any]any{int8(1): nil}, "\x81\x01\xc0"},
	} {
		got, err := msgpack.New().Append([]byte("dst"), c.v)
		if err != nil || string(got) != "dst"+c.want {
			t.Errorf("%s: %.100q, %v, want dst%.100q", name, got, err, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	var none *int
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"hidden":           {bare{hidden: 1}, "only unexported fields"},
		"key not UTF-8":    {map[string]int{"\xff": 1}, "not UTF-8"},
		"array keys":       {map[[1]int]int{{1}: 1}, "not simple"},
		"time keys":        {map[time.Time]int{{}: 1}, "not simple"},
		"65 bits":          {new(big.Int).Lsh(big.NewInt(1), 64), "64 bits"},
		"offset":           {time.Unix(0, 0).In(time.FixedZone("", 1)), "call UTC first"},
		"error":            {struct{ E error }{errors.New("x")}, "nobody would know"},
		"pointer to nil":   {pointers{&none}, "to nil"},
		"slice in pointer": {[]*[]int{new([]int)}, "to nil"},
		"in a field":       {struct{ F chan int }{}, "F: "},
		"promoted":         {promoted{Addr: netip.IPv4Unspecified(), Port: 1}, "without its other fields"},
		"hidden embedded":  {[]unset{{&inside{}, 1}}, "inside is an embedded pointer"},
		"two of one name":  {ambiguous{1, 2, 3}, `several fields with the name "a"`},
		"equal in bytes":   {map[any]int{int8(1): 1, int64(1): 2}, "twice"},
		"equal in text":    {map[mute]int{{1}: 1, {2}: 2}, "twice"},
	} {
		got, err := msgpack.New().Append([]byte("dst"), c.v)
		if !errors.Is(err, codec.ErrUnsupported) || !strings.Contains(err.Error(), c.want) || string(got) != "dst" {
			t.Errorf("%s: %q, %v, want dst and ErrUnsupported that says %q", name, got, err, c.want)
		}
	}
	var deepest any
	for range 511 {
		deepest = []any{deepest}
	}
	for levels := 512; levels <= 513; levels++ {
		deepest = []any{deepest}
		want := levels == 512
		data, err := msgpack.New().Append(nil, deepest)
		if (err == nil) != want {
			t.Errorf("%d levels: %v", levels, err)
		}
		var into any
		if want && msgpack.New().Decode(data, &into) != nil {
			t.Errorf("%d levels are stored and not read", levels)
		}
	}
}

// hostile are bytes that must be refused.
var hostile = map[string]string{
	"empty": "", "unused": "\xc1", "behind": "\xc0\xc0", "half": "\x92\xc0", "no length": "\xdd\x00", "no number": "\xcf\x00",
	"array32": "\xdd\xff\xff\xff\xff", "map32": "\xdf\xff\xff\xff\xff", "map32 of half": "\xdf\x80\x00\x00\x00", "bin32": "\xc6\x7f\xff\xff\xff", "str32": "\xdb\xff\xff\xff\xff",
	"ext32": "\xc9\xff\xff\xff\xff\xff", "arrays": strings.Repeat("\xdc\x01\x00", 300), "claims": strings.Repeat("\xdd\x00\x00\x07\xff", 600),
	"deep": strings.Repeat("\x91", 1<<20) + "\xc0", "deep maps": strings.Repeat("\x81\x01", 1<<20) + "\xc0", "deep keys": strings.Repeat("\x81", 1<<20), "513": strings.Repeat("\x91", 513) + "\xc0",
	"other extension": "\xd6\x01\x00\x00\x00\x00", "short timestamp": "\xd5\xff\x00\x00", "a second of nanoseconds": "\xd7\xff\xee\x6b\x28\x00\x00\x00\x00\x00", "nanoseconds": "\xd7\xff\xff\xff\xff\xfc\x00\x00\x00\x00", "long timestamp": "\xd8\xff" + strings.Repeat("\x00", 16),
	"nanoseconds of 12": "\xc7\x0c\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00", "text": "\xa1\xff", "key": "\x81\xa1\xff\xc0", "surrogate": "\xa3\xed\xa0\x80",
}

func TestHostile(t *testing.T) {
	for name, data := range hostile {
		for _, into := range []any{new(any), new([]any), new(map[string]any), new([]byte), new(string), new(inner)} {
			var err error
			if spent := allocated(func() { err = msgpack.New().Decode([]byte(data), into) }); spent > 4*uint64(len(data))+64<<10 {
				t.Errorf("%s into %T: %d bytes allocated for %d", name, into, spent, len(data))
			}
			if !errors.Is(err, msgpack.ErrFormat) {
				t.Errorf("%s into %T: %v, want ErrFormat", name, into, err)
			}
		}
	}
	for _, into := range []any{nil, 1, (*int)(nil)} {
		if err := msgpack.New().Decode([]byte("\x01"), into); !errors.Is(err, msgpack.ErrFormat) {
			t.Errorf("%T was decoded into: %v", into, err)
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func yields[T any](t *testing.T, data string, want T) {
	t.Helper()
	var got T
	if err := msgpack.New().Decode([]byte(data), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q: %#v, %v, want %#v", data, got, err, want)
	}
}

func TestDecode(t *testing.T) {
	yields(t, "\xc0", any(nil))
	yields(t, "\xd3\xff\xff\xff\xff\xff\xff\xff\xff", any(int64(-1)))
	yields(t, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", any(uint64(math.MaxUint64)))
	yields(t, "\xcf\x00\x00\x00\x00\x00\x00\x00\x05", any(int64(5)))
	yields(t, "\xca\x3f\x00\x00\x00", any(0.5))
	yields(t, "\x81\x01\x02", any(map[any]any{int64(1): int64(2)}))
	yields(t, "\x82\xa1a\x01\xa1A\x02", inner{A: 1})
	yields(t, "\x81\xa5WRONG\x01", inner{})
	// Nothing of one value gets into the next, or of the first of two that have one name.
	yields(t, "\x82\x01\x81\xa1a\x01\x02\x80", map[int]inner{1: {A: 1}, 2: {}})
	yields(t, "\x82\xa1I\x81\xa1a\x01\xa1I\x80", struct{ I inner }{})
	yields(t, "\x05", 5.0)
	yields(t, "\xd6\xff\x00\x00\x00\x01", any(time.Unix(1, 0).UTC()))
	for data, into := range map[string]any{"\xcb\x40\x00\x00\x00\x00\x00\x00\x00": new(int), "\xcc\x80": new(int8), "\xff": new(uint), "\xc0 ": new(any), "\xc0": new(int), "\x01": new(bool), "\xa1a": new([]byte), "\xc4\x01a": new(string), "\x91\x01": new([2]int)} {
		if err := msgpack.New().Decode([]byte(data), into); !errors.Is(err, msgpack.ErrFormat) {
			t.Errorf("%q into %T: %v, want ErrFormat", data, into, err)
		}
	}
}

type document struct {
	ID     int64             `json:"id"`
	Large  uint64            `json:"large"`
	Text   string            `json:"text"`
	Raw    []byte            `json:"raw"`
	Score  float64           `json:"score"`
	At     time.Time         `json:"at"`
	Names  map[string]string `json:"names"`
	List   []*int            `json:"list"`
	Nil    []int             `json:"nil"`
	Counts map[int]bool      `json:"counts"`
}

const documentInPython = `{"id": -5, "large": 2**64-1, "text": "dr\u00f4le \U0001f600\0", "raw": b"\0\xff", "score": 0.1, "at": msgpack.Timestamp(1795222722, 152968001),
	"names": {"\u00e9": ""}, "list": [1, None], "nil": None, "counts": {7: True}}`

// A value goes from Go to Python and back, and comes with the same bytes but for the order.
func TestPython(t *testing.T) {
	one := 1
	want := document{-5, math.MaxUint64, "dr\u00f4le \U0001f600\x00", []byte("\x00\xff"), 0.1, time.Unix(1795222722, 152968001).UTC(), map[string]string{"\u00e9": ""}, []*int{&one, nil}, nil, map[int]bool{7: true}}
	stored, err := msgpack.New().Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var back []byte
	pythontest.Ask(t, `
import base64, msgpack
want = `+documentInPython+`
value = msgpack.unpackb(base64.b64decode(question), strict_map_key=False)
assert value == want, value
assert list(value) == list(want), value
answer = base64.b64encode(msgpack.packb(value)).decode()`, stored, &back)
	if !bytes.Equal(back, stored) {
		t.Errorf("Python packs %q, want %q", back, stored)
	}
	var got document
	if err := msgpack.New().Decode(back, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("came back as %+v, %v, want %+v", got, err, want)
	}
}

// Keys that are not text are for those who have told Python so, as the package says.
func TestPythonIsStrictAboutKeys(t *testing.T) {
	for _, c := range []struct {
		v    any
		good bool
	}{{map[string]int{"k": 1}, true}, {map[int]int{1: 1}, false}, {map[bool]int{true: 1}, false}, {map[any]int{1.5: 1}, false}} {
		stored, err := msgpack.New().Append(nil, c.v)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		pythontest.Ask(t, `
import base64, msgpack
try:
    msgpack.unpackb(base64.b64decode(question))
    answer = ""
except ValueError as error:
    answer = str(error)`, stored, &got)
		if (got == "") != c.good || !c.good && !strings.Contains(got, "strict_map_key") {
			t.Errorf("%v: Python says %q", c.v, got)
		}
	}
}

// What Python packs is read into an interface value and stored with the same bytes.
func TestRandomPython(t *testing.T) {
	var all [][]byte
	pythontest.Ask(t, `
import base64, msgpack, random
r = random.Random(question)
def scalar():
    return r.choice([lambda: None, lambda: r.random() < 0.5, lambda: r.randrange(-300, 300), lambda: r.randrange(-2**r.randrange(64), 2**r.randrange(65)),
        lambda: r.uniform(-1, 1) * 10.0 ** r.randrange(-300, 300), lambda: "".join(chr(r.choice([r.randrange(128), r.randrange(0xe000, 0x110000)])) for _ in range(r.randrange(100))),
        lambda: msgpack.Timestamp(r.randrange(-2**r.randrange(40), 2**r.randrange(40)), r.choice([0, r.randrange(10**9)]))])()
def value(depth):
    kind = r.randrange(10) if depth else 9
    if kind < 3: return [value(depth - 1) for _ in range(r.choice([3, 20]))]
    if kind < 6: return {r.choice(["a", 5, "b" * 40]): value(depth - 1)}
    if kind < 7: return bytes(r.getrandbits(8) for _ in range(r.randrange(300)))
    return scalar()
answer = [base64.b64encode(msgpack.packb(value(4))).decode() for _ in range(800)]`, 7, &all)
	for _, data := range all {
		var v any
		if err := msgpack.New().Decode(data, &v); err != nil {
			t.Errorf("%.200q: %v", data, err)
			continue
		}
		if again, err := msgpack.New().Append(nil, v); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%.200q was read as %.200v and stored as %.200q, %v", data, v, again, err)
		}
	}
}

// Python reads the deepest values that are stored here, and writes none that are deeper.
func TestDepthOfPython(t *testing.T) {
	var deep any
	for range 512 {
		deep = []any{deep}
	}
	data, err := msgpack.New().Append(nil, deep)
	if err != nil {
		t.Fatal(err)
	}
	var answer []byte
	pythontest.Ask(t, `
import base64, msgpack
value = msgpack.unpackb(base64.b64decode(question))
deep, packed = None, None
while True:
    deep = [deep]
    try:
        packed = msgpack.packb(deep)
    except ValueError:
        break
answer = base64.b64encode(packed).decode()`, data, &answer)
	var v any
	if err := msgpack.New().Decode(answer, &v); err != nil {
		t.Errorf("what Python packs is deeper: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range hostile {
		if len(data) < 1000 {
			f.Add([]byte(data))
		}
	}
	data, err := msgpack.New().Append(nil, document{Raw: []byte("a"), Names: map[string]string{"a": "b"}, Counts: map[int]bool{1: true}, Nil: []int{1, -200, 300}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []any{new(any), new(document), new([]document), new(map[any]any), new(inner)} {
			var err error
			if spent := allocated(func() { err = msgpack.New().Decode(data, into) }); spent > 512*uint64(len(data))+64<<10 {
				t.Fatalf("%q into %T: %d bytes allocated", data, into, spent)
			}
			if err != nil {
				continue
			}
			again, err := msgpack.New().Append(nil, into)
			if err != nil {
				t.Fatalf("%q was read as %v, which is refused: %v", data, into, err)
			}
			back := reflect.New(reflect.TypeOf(into).Elem())
			if err := msgpack.New().Decode(again, back.Interface()); err != nil {
				t.Fatalf("%q was stored again as %q, which is not read: %v", data, again, err)
			}
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	v := document{ID: 5, Text: "text", Raw: []byte("raw"), Names: map[string]string{"a": "b"}, Nil: []int{1, 2}}
	data, err := msgpack.New().Append(nil, &v)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Append", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 1000)
		for b.Loop() {
			_, _ = msgpack.New().Append(buf, &v)
		}
	})
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v document
			if err := msgpack.New().Decode(data, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("DecodeJSON", func(b *testing.B) {
		text, _ := json.Marshal(v)
		b.ReportAllocs()
		for b.Loop() {
			var v document
			_ = json.Unmarshal(text, &v)
		}
	})
}
