package dogpilepy_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/internal/pythontest"
)

var update = flag.Bool("update", false, "write testdata/pickles.json anew with Python")

// pickled is a value that Python has pickled.
type pickled struct {
	Name, Text string // Text is what text makes of the value
	Protocol   int
	Data       []byte
}

// describe is text in Python.
const describe = `
import base64, pickle, struct, random
def text(v):
    if v is None or isinstance(v, bool): return str(v)
    if isinstance(v, int): return "i%d" % v
    if isinstance(v, float): return "f" + ("nan" if v != v else struct.pack(">d", v).hex())
    if isinstance(v, str): return "s" + v.encode().hex()
    if isinstance(v, (bytes, bytearray)): return "b" + v.hex()
    if isinstance(v, (list, tuple)): return "[" + ",".join(map(text, v)) + "]"
    return "{" + ",".join(sorted(text(k) + ":" + text(x) for k, x in v.items())) + "}"
def pickled(name, v, dumps=pickle.dumps):
    return [{"Name": name, "Text": text(v), "Protocol": p, "Data": base64.b64encode(dumps(v, p)).decode()} for p in range(6)]
`

// text describes what was decoded into an interface value.
func text(v any) string {
	list := func(open, end string, items []string) string { return open + strings.Join(items, ",") + end }
	var items []string
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	case int64:
		return "i" + strconv.FormatInt(v, 10)
	case *big.Int:
		return "i" + v.String()
	case float64:
		if math.IsNaN(v) {
			return "fnan"
		}
		return fmt.Sprintf("f%016x", math.Float64bits(v))
	case string:
		return fmt.Sprintf("s%x", v)
	case []byte:
		return fmt.Sprintf("b%x", v)
	case []any:
		for _, item := range v {
			items = append(items, text(item))
		}
		return list("[", "]", items)
	case map[string]any:
		for k, x := range v {
			items = append(items, text(k)+":"+text(x))
		}
	case map[any]any:
		for k, x := range v {
			items = append(items, text(k)+":"+text(x))
		}
	default:
		return fmt.Sprintf("?%T", v)
	}
	slices.Sort(items)
	return list("{", "}", items)
}

func same(t *testing.T, all []pickled) {
	t.Helper()
	for _, p := range all {
		var v any
		if err := dogpilepy.Pickle().Decode(p.Data, &v); err != nil {
			t.Errorf("%s, protocol %d: %v: %.200q", p.Name, p.Protocol, err, p.Data)
		} else if got := text(v); got != p.Text {
			t.Errorf("%s, protocol %d: %.300s, want %.300s", p.Name, p.Protocol, got, p.Text)
		}
	}
}

// What Python has pickled once, in all protocols, is read; also where there is no Python.
func TestPickles(t *testing.T) {
	const path = "testdata/pickles.json"
	if *update {
		var all []pickled
		pythontest.Ask(t, describe+`
shared = ["x", {"k": (1, 2)}]
values = {
    "None": None, "bools": [True, False], "ints": [0, 1, -1, 255, 256, 65535, 65536, 2**31-1, 2**31, -2**31, -2**31-1, 2**63-1, -2**63],
    "large ints": [2**63, -2**63-1, 2**64, 10**300, -10**300], "floats": [0.0, -0.0, 1.5, 0.1, 1e300, 5e-324, float("inf"), float("-inf"), float("nan")],
    "strings": ["", "a", "dr\u00f4le", "\U0001f600", "\n\r\0\x1a\\ \\u0041 \\\\", "x" * 300, "\u00e9" * 200],
    "bytes": [b"", b"a", bytes(range(256)), b"x" * 300], "lists": [[], [[]], list(range(20))], "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((),)],
    "dicts": [{}, {"a": 1}, {1: "a", None: 2, True: 3, 1.5: 4}, {str(i): i for i in range(12)}], "shared": [shared, shared, "x", shared],
    "nested": {"id": 5, "name": "n", "tags": ["a", "b"], "home": {"street": "s", "zip": None}, "score": 2, "raw": b"\x00\xff"},
}
answer = [p for name, v in values.items() for p in pickled(name, v)]`, nil, &all)
		var lines []string
		for _, p := range all {
			line, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, string(line))
		}
		if err := os.WriteFile(path, []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	same(t, golden(t))
}

func golden(t testing.TB) (all []pickled) {
	data, err := os.ReadFile("testdata/pickles.json")
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil || len(all) != 72 {
		t.Fatalf("%d pickles, %v, want 72", len(all), err)
	}
	return all
}

// Values that nobody has thought of, with parts that they share, by both picklers that
// Python has, and as pickletools leaves them.
func TestPicklesOfPython(t *testing.T) {
	var all []pickled
	pythontest.Ask(t, describe+`
import pickletools
def optimized(v, p): return pickletools.optimize(pickle.dumps(v, p))
def slow(v, p): return pickle._dumps(v, p)
r = random.Random(question)
def scalar():
    return r.choice([lambda: None, lambda: r.random() < 0.5, lambda: r.randrange(-300, 300), lambda: r.getrandbits(r.randrange(1, 200)) * r.choice([1, -1]),
        lambda: r.uniform(-1, 1) * 10.0 ** r.randrange(-300, 300), lambda: "".join(chr(r.choice([r.randrange(128), r.randrange(0xd800), r.randrange(0xe000, 0x110000), 92, 10])) for _ in range(r.randrange(20)))])()
def value(depth, seen):
    if seen and r.random() < 0.1: return r.choice(seen)
    kind = r.randrange(10) if depth else 9
    if kind < 3: v = [value(depth - 1, seen) for _ in range(r.randrange(6))]
    elif kind < 5: v = tuple(value(depth - 1, seen) for _ in range(r.randrange(6)))
    elif kind < 8: v = {scalar(): value(depth - 1, seen) for _ in range(r.randrange(6))}
    elif kind < 9: v = bytes(r.getrandbits(8) for _ in range(r.randrange(300)))
    else: v = scalar()
    seen.append(v)
    return v
def plain(v):
    # In Go a large integer cannot be a key in an interface value.
    if isinstance(v, dict): return all(not isinstance(k, int) or -2**63 <= k < 2**63 for k in v) and all(map(plain, v.values()))
    return all(map(plain, v)) if isinstance(v, (list, tuple)) else True
answer = []
while len(answer) < 6000:
    v = value(4, [])
    if plain(v): answer += pickled("random", v, r.choice([pickle.dumps, optimized, slow]))`, 7, &all)
	same(t, all)
}

type home struct {
	Street string
	Zip    *int `json:"zip"`
}

// into is what a dict of Python is put into.
type into struct {
	ID     int32              `json:"id"`
	Name   string             `json:"name,omitempty"`
	Tags   []string           `json:"tags"`
	Pair   [2]int             `json:"pair"`
	Home   *home              `json:"home"`
	Other  map[string]float64 `json:"other"`
	Number map[int8]string
	Points map[[2]int]bool
	Score  float64 `json:"score"`
	Raw    []byte  `json:"raw"`
	Key    [2]byte
	Large  *big.Int
	Any    any
	Hidden string `json:"-"`
	embedded
	*Embedded
	unexported int
}

type (
	embedded struct{ Inside int }
	Embedded struct {
		Deep int
		Name string
	}
)

const everything = `{"id": -5, "name": "n", "tags": ("a", "b"), "pair": [1, 2], "home": {"street": "s", "zip": None, "more": 1}, "other": {"a": 2, "b": 0.5},
	"number": {-1: "x"}, "POINTS": {(1, 2): True}, "score": 2, "raw": b"\0\xff", "Key": b"ab", "Large": 10**30, "Any": [1, {"a": ()}], "Hidden": "h", "-": "h",
	"Inside": 7, "Deep": 8, "unexported": 9, "Home": None, "nothing": None}`

func TestPickleIntoStruct(t *testing.T) {
	var data [][]byte
	pythontest.Ask(t, describe+"answer = [base64.b64encode(pickle.dumps("+everything+", p)).decode() for p in range(6)]", nil, &data)
	large, _ := new(big.Int).SetString("1"+strings.Repeat("0", 30), 10)
	want := into{
		ID: -5, Name: "n", Tags: []string{"a", "b"}, Pair: [2]int{1, 2}, Home: &home{Street: "s"}, Other: map[string]float64{"a": 2, "b": 0.5},
		Number: map[int8]string{-1: "x"}, Points: map[[2]int]bool{{1, 2}: true}, Score: 2, Raw: []byte("\x00\xff"), Key: [2]byte{'a', 'b'}, Large: large,
		Any: []any{int64(1), map[string]any{"a": []any{}}}, embedded: embedded{7}, Embedded: &Embedded{Deep: 8}, unexported: 0,
	}
	for p, d := range data {
		var got into
		if err := dogpilepy.Pickle().Decode(d, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("protocol %d: %+v, %v, want %+v", p, got, err, want)
		}
	}
}

// decoded decodes a pickle into a T.
func decoded[T any](data string) (T, error) {
	var v T
	err := dogpilepy.Pickle().Decode([]byte(data), &v)
	return v, err
}

func fails[T any](t *testing.T, data, want string) {
	t.Helper()
	if v, err := decoded[T](data); !errors.Is(err, dogpilepy.ErrPickle) || !strings.Contains(err.Error(), want) {
		t.Errorf("%.60q into %T: %v, %v, want ErrPickle that says %q", data, v, v, err, want)
	}
}

func yields[T any](t *testing.T, data string, want T) {
	t.Helper()
	if v, err := decoded[T](data); err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%.60q: %#v, %v, want %#v", data, v, err, want)
	}
}

type name string

func TestPickleTargets(t *testing.T) {
	yields(t, "K\x05.", 5)
	yields(t, "(K\x01q\x00q\x00\x94h\x01l.", []int{1, 1}) // MEMOIZE takes the first place that is free
	yields(t, "K\x05.", uint8(5))
	yields(t, "K\x05.", float32(5))
	yields(t, "K\xff.", any(int64(255)))
	yields(t, "X\x01\x00\x00\x00a.", name("a"))
	yields(t, "N.", (*int)(nil))
	yields(t, "N.", []int(nil))
	yields(t, "N.", any(nil))
	yields(t, "].", []int{})
	yields(t, "}.", map[string]int{})
	yields(t, "C\x01a.", []byte("a"))
	yields(t, "](K\x01K\x02e.", [2]int{1, 2})
	yields(t, "L18446744073709551615L\n.", uint64(math.MaxUint64))
	yields(t, "L18446744073709551616L\n.", float32(1<<64))
	yields(t, "L5L\n.", big.NewInt(5))
	yields(t, "L5L\n.", *big.NewInt(5))
	yields(t, "}(K\x01K\x02K\x01K\x03u.", map[int]int{1: 3})
	yields(t, "}(X\x01\x00\x00\x00aX\x01\x00\x00\x00bK\x01K\x02u.", any(map[any]any{"a": "b", int64(1): int64(2)}))
	fails[int8](t, "K\x80.", "does not fit into int8")
	fails[uint](t, "I-1\n.", "does not fit into uint")
	fails[int64](t, "L9223372036854775808L\n.", "does not fit into int64")
	fails[float64](t, "L9007199254740993L\n.", "does not fit into float64")
	fails[float32](t, "I16777217\n.", "does not fit into float32")
	fails[float32](t, "F1e300\n.", "does not fit into float32")
	fails[float64](t, "L1"+strings.Repeat("0", 400)+"L\n.", "does not fit")
	fails[int](t, "F2.0\n.", "a float cannot be put into a Go value of type int")
	fails[int](t, "N.", "None")
	fails[string](t, "N.", "None")
	fails[struct{}](t, "N.", "None")
	fails[int](t, "\x88.", "a bool")
	fails[bool](t, "K\x01.", "an integer"[3:])
	fails[string](t, "C\x01a.", "bytes")
	fails[[]byte](t, "X\x01\x00\x00\x00a.", "string")
	fails[[2]byte](t, "C\x01a.", "1 bytes do not fit")
	fails[[2]int](t, "](K\x01e.", "1 items do not fit")
	fails[struct{ A int }](t, "}(X\x01\x00\x00\x00AX\x01\x00\x00\x00au.", `"A": a string`)
	fails[struct{ A int }](t, "}(K\x01K\x01u.", "names")
	fails[error](t, "K\x01.", "error")
	fails[chan int](t, "K\x01.", "chan int")
	fails[any](t, "})K\x01s.", "cannot be one")
	fails[any](t, "}(C\x01aK\x01u.", "cannot be one")
	fails[map[any]int](t, "}(C\x01aK\x01u.", "a key")
	type loop *loop
	fails[loop](t, "K\x01.", "pointers in a row")
	for _, into := range []any{nil, 5, (*int)(nil)} {
		if err := dogpilepy.Pickle().Decode([]byte("N."), into); !errors.Is(err, dogpilepy.ErrPickle) {
			t.Errorf("into %T: %v, want ErrPickle", into, err)
		}
	}
}

func TestPickleIsReadOnly(t *testing.T) {
	got, err := dogpilepy.Pickle().Append([]byte("x"), 1)
	if string(got) != "x" || !errors.Is(err, dogpilepy.ErrReadOnly) || !errors.Is(err, codec.ErrUnsupported) {
		t.Errorf("%q, %v, want x, ErrReadOnly and ErrUnsupported", got, err)
	}
	if c, err := codec.Open("pickle"); err != nil || c.Name() != "pickle" {
		t.Errorf("%v, %v, want the codec by its name", c, err)
	}
}

// hostile are pickles that must be refused, and what the error says.
var hostile = map[string][2]string{
	"system":              {"cos\nsystem\n(S'id'\ntR.", `GLOBAL with the class or function "system" of the module "os"`},
	"stack global":        {"\x80\x04\x8c\x02os\x8c\x06system\x93.", `STACK_GLOBAL with the class or function "system" of the module "os"`},
	"datetime":            {"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x08datetime\x94\x8c\x04date\x94\x93\x94C\x04\x07\xe8\x01\x01\x94\x85\x94R\x94.....", "datetime"},
	"long name":           {"c" + strings.Repeat("x", 1<<20) + "\n" + strings.Repeat("y", 1<<20) + "\n.", "class"},
	"codecs alone":        {"c_codecs\nencode\n.", "class"},
	"codecs in a list":    {"]c_codecs\nencode\na.", "class"},
	"codecs as a key":     {"}c_codecs\nencode\nK\x01s.", "class"},
	"codecs of rot13":     {"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "does not make bytes"},
	"codecs of a list":    {"c_codecs\nencode\n(]X\x06\x00\x00\x00latin1tR.", "does not make bytes"},
	"codecs, list args":   {"c_codecs\nencode\n](X\x01\x00\x00\x00aX\x06\x00\x00\x00latin1eR.", "does not make bytes"},
	"codecs, not latin1":  {"c_codecs\nencode\n(X\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1tR.", "does not make bytes"},
	"bytes of a number":   {"c__builtin__\nbytes\n(K\x05tR.", "does not make bytes"},
	"reduce of a number":  {"K\x01)R.", "does not make bytes"},
	"copies of bytes":     {"(c_codecs\nencode\n(X\xe8\x03\x00\x00" + strings.Repeat("a", 1000) + "q\x00X\x06\x00\x00\x00latin1q\x01tR" + strings.Repeat("c_codecs\nencode\n(h\x00h\x01tR", 1000) + "l.", "does not make bytes"},
	"inst":                {"(ios\nsystem\n.", "INST"},
	"build":               {"N}b.", "BUILD"},
	"persistent":          {"Pid\n.", "PERSID"},
	"extension":           {"\x82\x01.", "EXT1"},
	"buffer":              {"\x97.", "NEXT_BUFFER"},
	"set":                 {"\x8f.", "EMPTY_SET"},
	"python 2":            {"S'a'\n.", "Python 2"},
	"no opcode":           {"\xff.", "0xff"},
	"empty":               {"", "ends too early"},
	"only stop":           {".", "0 values"},
	"two values":          {"NN.", "2 values"},
	"open mark":           {"N(.", "values"},
	"behind the end":      {"N.N", "1 bytes stand behind"},
	"no end":              {"N", "ends too early"},
	"protocol 6":          {"\x80\x06N.", "protocol 6"},
	"frame":               {"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.", "ends too early"},
	"huge frame":          {"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "length"},
	"pop":                 {"0.", "empty stack"},
	"pop mark":            {"1.", "mark"},
	"dup":                 {"2.", "empty stack"},
	"append":              {"Na.", "empty stack"},
	"append to None":      {"NNa.", "neither"},
	"append to a tuple":   {")Na.", "neither"},
	"append to a dict":    {"}Na.", "neither"},
	"set in a list":       {"]NNs.", "neither"},
	"half a pair":         {"}(Nu.", "no value"},
	"list as a key":       {"}]Ns.", "list as a key"},
	"dict as a key":       {"}}Ns.", "dict as a key"},
	"through a mark":      {"]N(a.", "empty stack"},
	"under a mark":        {"](Na1.", "empty stack"},
	"many under a mark":   {"]((Ne1.", "empty stack"},
	"dup under a mark":    {"N(21.", "empty stack"},
	"put under a mark":    {"N(q\x001.", "empty stack"},
	"place in front":      {"Nr\xff\xff\x0f\x00.", "cannot have filled"},
	"tuple of a mark":     {"N(\x851.", "empty stack"},
	"memo":                {"h\x00.", "nothing at place 0"},
	"memo with a hole":    {"Nq\x05h\x03.", "nothing at place 3"},
	"deep by two ways":    {"(" + strings.Repeat("]", 600) + strings.Repeat("a", 599) + "q\x00" + strings.Repeat("]", 600) + "h\x00" + strings.Repeat("a", 600) + "l.", "in each other"},
	"memo 2^31":           {"j\x00\x00\x00\x80.", "length or an index"},
	"memo line":           {"g-1\n.", "no place"},
	"put 2^31":            {"Nr\xff\xff\xff\x7f.", "cannot have filled"},
	"put 2^32":            {"Nr\xff\xff\xff\xff.", "length or an index"},
	"put line":            {"Np99999999999999999999999\n.", "no place"},
	"put negative":        {"Np-1\n.", "no place"},
	"long4 of 2 GB":       {"\x8b\xff\xff\xff\x7f\x00.", "more than 4096"},
	"long4":               {"\x8b\x01\x10\x00\x00" + strings.Repeat("x", 4097) + ".", "more than 4096"},
	"long4 negative":      {"\x8b\xff\xff\xff\xff\x00.", "length or an index"},
	"long digits":         {"L" + strings.Repeat("9", 5000) + "L\n.", "more than 4096 digits"},
	"long of nothing":     {"LL\n.", "integer"},
	"int of Go":           {"I0x10\n.", "not an integer"},
	"int with _":          {"I1_0\n.", "not an integer"},
	"int with a plus":     {"I+1\n.", "not an integer"},
	"float of Go":         {"F0x1p4\n.", "not a float"},
	"float infinity":      {"Finfinity\n.", "not a float"},
	"float too large":     {"F1e999\n.", "not a float"},
	"unicode8 huge":       {"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "length"},
	"unicode 2 GB":        {"X\xff\xff\xff\x7fa.", "ends too early"},
	"bytes8 huge":         {"\x8e\x00\x00\x00\x00\x00\x00\x00\x80.", "length"},
	"bytearray8 huge":     {"\x96\x00\x00\x00\x00\x01\x00\x00\x00.", "length"},
	"surrogate":           {"X\x03\x00\x00\x00\xed\xa0\x80.", "UTF-8"},
	"surrogate, 0":        {"V\\ud800\n.", "UTF-8"},
	"escape, 0":           {"V\\u00\n.", "UTF-8"},
	"escape, 0, too high": {"V\\U00110000\n.", "UTF-8"},
	"in itself":           {"]q\x00h\x00a.", "contains itself"},
	"in itself, dict":     {"}q\x00Nh\x00s.", "contains itself"},
	"in itself, tuple":    {"]q\x00h\x00\x85a.", "contains itself"},
	"deep lists":          {strings.Repeat("]", 1<<20-1) + strings.Repeat("a", 1<<20-2) + ".", "in each other"},
	"deep tuples":         {")" + strings.Repeat("\x85", 1<<19) + ".", "in each other"},
	"deep by memo":        {"]\x94" + deepByMemo(2000) + ".", "in each other"},
	"deep marks":          {strings.Repeat("(", 1<<21) + ".", "objects"},
	"many objects":        {"(" + strings.Repeat("N", 1<<20) + "l.", "objects"},
	"laughs":              {laughs(30, 10), "would become"},
	"laughs of bytes":     {"(B\x00\x04\x00\x00" + strings.Repeat("x", 1024) + "q\x00" + strings.Repeat("h\x00", 1000) + "l.", "would become"},
	"laughs of integers":  {"(\x8b\x00\x04\x00\x00" + strings.Repeat("x", 1024) + "q\x00" + strings.Repeat("h\x00", 1000) + "l.", "would become"},
}

// laughs returns n lists, each of which holds the one before width times.
func laughs(n, width int) string {
	text := "]\x94"
	for i := range n {
		text += "0](" + strings.Repeat("h"+string([]byte{byte(i)}), width) + "e\x94"
	}
	return text + "."
}

// deepByMemo returns n lists in each other, of which the innermost comes first.
func deepByMemo(n int) string {
	text := ""
	for i := range n {
		text += "0]j" + string([]byte{byte(i), byte(i >> 8), 0, 0}) + "a\x94"
	}
	return text
}

func TestHostilePickles(t *testing.T) {
	for what, c := range hostile {
		for _, into := range []any{new(any), new([]any), new(map[string]any), new([]byte)} {
			var err error
			spent := allocated(func() { err = dogpilepy.Pickle().Decode([]byte(c[0]), into) })
			if !errors.Is(err, dogpilepy.ErrPickle) || !strings.Contains(err.Error(), c[1]) {
				t.Errorf("%s into %T: %v, want ErrPickle that says %q", what, into, err, c[1])
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
			}
			// An empty list is one byte there, and 64 here, besides its place on a stack that
			// is copied as it grows.
			if limit := 160*uint64(len(c[0])) + 64<<10; spent > limit {
				t.Errorf("%s into %T: %d bytes allocated for %d", what, into, spent, len(c[0]))
			}
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What Python shares is copied, within limits: nobody may change one by the other.
func TestPickleSharing(t *testing.T) {
	yields(t, "(]q\x00K\x01ah\x00C\x01aq\x01h\x01l.", any([]any{[]any{int64(1)}, []any{int64(1)}, []byte("a"), []byte("a")}))
	v, _ := decoded[[]any]("(]q\x00K\x01ah\x00C\x01aq\x01h\x01\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01q\x02h\x02l.")
	v[0].([]any)[0], v[2].([]byte)[0] = "changed", 'x'
	v[4].(*big.Int).SetInt64(1)
	if text(v[1]) != "[i1]" || text(v[3]) != "b61" || text(v[5]) != "i18446744073709551616" {
		t.Errorf("%v: a copy has changed with the other", v)
	}
	// A list of the same row is not hostile.
	same := "(}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bK\x02uq\x00" + strings.Repeat("h\x00", 10000) + "l."
	if v, err := decoded[[]map[string]int](same); err != nil || len(v) != 10001 || v[10000]["b"] != 2 {
		t.Errorf("%d rows, %v", len(v), err)
	}
	data := []byte("C\x03abc.")
	var b []byte
	if err := dogpilepy.Pickle().Decode(data, &b); err != nil {
		t.Fatal(err)
	}
	data[2] = 'x'
	if string(b) != "abc" {
		t.Errorf("%q shares memory with the pickle", b)
	}
	deep := strings.Repeat("]", 1024) + strings.Repeat("a", 1023) + "."
	if _, err := decoded[any](deep); err != nil {
		t.Errorf("1024 lists in each other: %v", err)
	}
	fails[any](t, "]"+deep[:len(deep)-1]+"a.", "in each other")
}

func TestPickleSize(t *testing.T) {
	const most = 64 << 20
	for size, want := range map[int]string{most: "", most + 1: "more than 67108864"} {
		n := size - 6
		data := append([]byte{'B', byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}, make([]byte, n+1)...)
		data[size-1] = '.'
		var v []byte
		err := dogpilepy.Pickle().Decode(data, &v)
		if want == "" && (err != nil || len(v) != n) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d bytes: %d, %v, want %q", size, len(v), err, want)
		}
	}
}

func FuzzPickle(f *testing.F) {
	for _, p := range golden(f) {
		f.Add(p.Data)
	}
	for _, c := range hostile {
		if len(c[0]) < 1000 {
			f.Add([]byte(c[0]))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{new(any), new(into), new([]into), new(map[string]any)} {
			var err error
			spent := allocated(func() { err = dogpilepy.Pickle().Decode(data, v) })
			// Sharing lets a value be 8 times as large, and gives 1024 objects more. A
			// struct of the test is larger than what its dict weighs.
			if limit := uint64(len(data)+128)*64*16 + 1<<20; spent > limit {
				t.Fatalf("%q into %T: %d bytes allocated, %v", data, v, spent, err)
			}
			if err != nil && !errors.Is(err, dogpilepy.ErrPickle) {
				t.Fatalf("%q: %v, want ErrPickle", data, err)
			}
		}
	})
}

func BenchmarkPickle(b *testing.B) {
	for _, p := range golden(b) {
		if p.Name == "nested" && p.Protocol == 4 {
			b.ReportAllocs()
			for b.Loop() {
				var v into
				if err := dogpilepy.Pickle().Decode(p.Data, &v); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
