package argkey_test

import (
	"math"
	"math/rand"
	randv2 "math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

// text returns the text of a list of arguments as a caller puts it together.
func text(t testing.TB, args ...any) string {
	t.Helper()
	dst := []byte("(")
	for i, arg := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = argkey.Append(dst, arg); err != nil {
			t.Fatalf("Append(%T): %v", arg, err)
		}
	}
	return string(append(dst, ')'))
}

type color int

// String must not be called: both colors would have the same text.
func (color) String() string { panic("a method was called") }

type word string

type octet byte

type uuid [4]byte

type filter struct {
	City string
	Min  int
}

type node struct {
	A    int8
	b    word
	next *node
	any  any
	at   time.Time
	_    int
}

// MarshalText must not be called.
func (node) MarshalText() ([]byte, error) { panic("a method was called") }

type link *link

type date time.Time

type pair[A, B any] struct {
	First  A
	Second B
}

type named interface{ Name() string }

func TestAppend(t *testing.T) {
	five, filterPtr := 5, &filter{"Rome", 3}
	var inAny any = 5
	tests := []struct {
		arg  any
		want string
	}{
		{nil, `nil`},
		{42, `42`},
		{int8(-1), `int8(-1)`},
		{int64(42), `int64(42)`},
		{uint(7), `uint(7)`},
		{uint8(7), `uint8(7)`},
		{uintptr(7), `uintptr(7)`},
		{'x', `int32(120)`},
		{true, `true`},
		{"a b", `"a b"`},
		{"", `""`},
		{"a\"b\\\n", `"a\"b\\\n"`},
		{"Zürich", `"Zürich"`},
		{"\xff", `"\xff"`},
		{"\x7f", `"\x7f"`},
		{"\u00ff\ufffd", `"ÿ` + "\ufffd" + `"`},
		{1.5, `float64(1.5)`},
		{float32(0.1), `float32(0.1)`},
		{1e21, `float64(1e+21)`},
		{math.NaN(), `float64(NaN)`},
		{math.Inf(-1), `float64(-Inf)`},
		{math.Copysign(0, -1), `float64(-0)`},
		{1 - 2i, `complex128((1-2i))`},
		{complex64(1i), `complex64((0+1i))`},

		{color(3), pkg + `color(3)`},
		{word("a"), pkg + `word("a")`},
		{time.March, `time.Month(3)`},
		{5 * time.Minute, `time.Duration(5m0s)`},
		{[]time.Duration{1, 0}, `[]time.Duration{1ns,0s}`},

		{filter{"Rome", 3}, pkg + `filter{City:"Rome",Min:3}`},
		{struct{}{}, `struct{}{}`},
		{struct{ _, A int }{A: 1}, `struct{"` + strings.TrimSuffix(pkg, ".") + `"._ int;A int}{A:1}`},
		{node{A: 1, b: "x", any: int64(2)}, pkg + `node{A:1,b:"x",next:nil,any:int64(2),at:0001-01-01T00:00:00Z}`},
		{node{next: &node{}}.next, `&` + pkg + `node{A:0,b:"",next:nil,any:nil,at:0001-01-01T00:00:00Z}`},
		{pair[filter, *node]{}, pkg + `pair[` + pkg + `filter,*` + pkg + `node]{First:{City:"",Min:0},Second:nil}`},

		{&five, `&5`},
		{(*int)(nil), `(*int)(nil)`},
		{new(*int), `&(*int)(nil)`},
		{&inAny, `&any(5)`},
		{new(any), `&any(nil)`},
		{filterPtr, `&` + pkg + `filter{City:"Rome",Min:3}`},
		{&filterPtr, `&&` + pkg + `filter{City:"Rome",Min:3}`},
		{(*filter)(nil), `(*` + pkg + `filter)(nil)`},
		{link(nil), pkg + `link(nil)`},
		{link(new(link)), pkg + `link(&nil)`},
		{[]*filter{nil, filterPtr}, `[]*` + pkg + `filter{nil,&{City:"Rome",Min:3}}`},

		{[]int64{1, 2}, `[]int64{1,2}`},
		{[]int(nil), `[]int(nil)`},
		{[]int{}, `[]int{}`},
		{[2]bool{true}, `[2]bool{true,false}`},
		{[][]int{nil, {}, {1}}, `[][]int{nil,{},{1}}`},
		{[]any{1, int64(1), "1", nil, []any{}}, `[]any{1,int64(1),"1",nil,[]any{}}`},
		{[]named{nil}, `[]` + pkg + `named{nil}`},
		{[0]int{}, `[0]int{}`},

		{[]byte("a b"), `[]byte("a b")`},
		{[]byte{}, `[]byte("")`},
		{[]byte(nil), `[]byte(nil)`},
		{[]byte("a\n"), `[]byte(0x610a)`},
		{[]byte("0x610a"), `[]byte("0x610a")`},
		{[2]byte{0, 255}, `[2]byte(0x00ff)`},
		{uuid{'u', 'u', 'i', 'd'}, pkg + `uuid("uuid")`},
		{[]octet("ab"), `[]` + pkg + `octet("ab")`},
		{[][]byte{[]byte("a"), nil}, `[][]byte{"a",nil}`},
		{[]uuid{{1}}, `[]` + pkg + `uuid{0x01000000}`},

		{map[string]int{"b": 2, "a": 1}, `map[string]int{"a":1,"b":2}`},
		{map[string]int(nil), `map[string]int(nil)`},
		{map[string]int{}, `map[string]int{}`},
		{map[any]any{1: nil, "1": 2, int8(1): 3}, `map[any]any{"1":2,1:nil,int8(1):3}`},
		{map[float64]int{math.NaN(): 2, math.Inf(1): 3}, `map[float64]int{+Inf:3,NaN:2}`},
		{map[filter][]int{{"b", 1}: {1}, {"a", 2}: nil}, `map[` + pkg + `filter][]int{{City:"a",Min:2}:nil,{City:"b",Min:1}:{1}}`},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			got, err := argkey.Append([]byte("f"), tt.arg)
			if err != nil || string(got) != "f"+tt.want {
				t.Errorf("Append(%T)\n got %s, %v\nwant f%s", tt.arg, got, err, tt.want)
			}
		})
	}
}

func TestTextsDoNotCollide(t *testing.T) {
	zero, negZero := 0.0, math.Copysign(0, -1)
	five, five64 := 5, int64(5)
	lists := [][]any{
		{}, {nil}, {nil, nil},
		{"a b"}, {"a", "b"}, {`a","b`}, {`"a","b"`}, {"a,b"}, {[]string{"a", "b"}}, {[]string{`a","b`}}, {[]any{"a", "b"}},
		{1}, {"1"}, {int64(1)}, {"int64(1)"}, {uint8(1)}, {1.0}, {float32(1)}, {true}, {"true"}, {color(1)}, {[]int{1}}, {[1]int{1}},
		{"nil"}, {(*int)(nil)}, {[]int(nil)}, {[]int{}}, {map[int]int(nil)}, {map[int]int{}}, {[]any{nil}}, {[]any(nil)},
		{zero}, {negZero}, {&zero}, {&negZero}, {[]float64{zero}}, {[]float64{negZero}},
		{five}, {five64}, {&five}, {&five64}, {any(&[]any{five}[0])},
		{"\x80"}, {"\u0080"}, {`\x80`}, {"\ufffd"}, {[]byte("\x80")}, {[]byte(`0x80`)}, {"0x80"}, {[1]byte{0x80}},
		{filter{"Rome", 3}}, {&filter{"Rome", 3}}, {struct {
			City string
			Min  int
		}{"Rome", 3}}, {struct {
			City string `json:"city"`
			Min  int
		}{"Rome", 3}}, {map[string]any{"City": "Rome", "Min": 3}}, {"Rome", 3}, {filter{`Rome",Min:3`, 3}},
		{struct{ filter }{}}, {struct{ filter filter }{}},
		{(*rand.Zipf)(nil)}, {(*randv2.Zipf)(nil)}, // two packages called rand
		{pair[any, any]{}}, {pair[any, int]{}}, {pair[any, any]{Second: 0}},
		{pair[rand.Source, int]{}}, {pair[randv2.Source, int]{}},
		{[]interface{ Name() string }{}}, {[]interface{ name() string }{}}, {[]interface{ Name() (string, error) }{}}, {[]named{}},
		{[]interface{ Do(...int) }{}}, {[]interface{ Do([]int) }{}}, {[]interface{ Do(chan<- int) }{}}, {[]interface{ Do(<-chan int) }{}},
		{time.Second}, {int64(time.Second)}, {"1s"},
		{time.Time{}}, {date{}}, {time.Unix(0, 0).UTC()}, {"1970-01-01T00:00:00Z"},
	}
	seen := map[string][]any{}
	for _, list := range lists {
		s := text(t, list...)
		if other, ok := seen[s]; ok {
			t.Errorf("%#v and %#v have the same text %s", other, list, s)
		}
		seen[s] = list
	}
}

func TestUnexportedFieldsCount(t *testing.T) {
	inMap := func(n node) string { return text(t, map[string]any{"k": n}) }
	a := node{b: "x", any: [1]node{{at: time.Unix(1, 0)}}}
	b := node{b: "x", any: [1]node{{at: time.Unix(2, 0)}}}
	if inMap(a) == inMap(b) {
		t.Errorf("different values have the text %s", inMap(a))
	}
}

func TestSeveralNaNKeys(t *testing.T) {
	const want = `(map[float64]int{NaN:1,NaN:2,NaN:3})`
	for range 20 {
		m := map[float64]int{math.NaN(): 3, math.NaN(): 1, math.NaN(): 2}
		if got := text(t, m); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// Of a struct whose type arguments have brackets in their tags, reflect's own
// Name is a part only.
func TestBracketsInTypeArguments(t *testing.T) {
	type box = pair[struct {
		A int `x:"[."`
	}, int]
	want := "(" + strings.TrimSuffix(pkg, ".") + strings.TrimPrefix(reflect.TypeFor[box]().String(), "argkey_test") + "{First:{A:0},Second:0})"
	if got := text(t, box{}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
