package json_test

import (
	stdjson "encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/codectest"
	"github.com/dogpile-go/dogpile/codec/json"
)

func TestContract(t *testing.T) {
	codectest.Run(t, json.New(), func(name string) bool {
		switch name {
		case "complex", "float/NaN", "float/infinity", "string/not UTF-8":
			return true
		}
		return false
	})
}

type (
	list  struct{ Next *list }
	owner struct {
		Name   string
		Parent *owner `json:"-"`
		Items  []*owner
		up     *owner
	}
	written struct{ Depth int }
)

func (w written) MarshalJSON() ([]byte, error) {
	return []byte(strings.Repeat("[", w.Depth) + strings.Repeat("]", w.Depth)), nil
}

func (w *written) UnmarshalJSON([]byte) error { return nil }

func TestEncoding(t *testing.T) {
	cycleApart := &owner{Name: "o"}
	cycleApart.Parent, cycleApart.up = cycleApart, cycleApart
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"no HTML escapes":   {"<a&b>", `"<a&b>"`},
		"no newline":        {[]int{1, 2}, `[1,2]`},
		"nil":               {nil, `null`},
		"not by its fields": {*big.NewInt(7), `7`},
		"U+FFFD":            {"\ufffd", "\"\ufffd\""},
		"text of U+FFFD":    {`\ufffd \\ufffd`, `"\\ufffd \\\\ufffd"`},
		"cycles not stored": {cycleApart, `{"Name":"o","Items":null}`},
		"own methods":       {written{3}, `[[[]]]`},
	} {
		got, err := json.New().Append([]byte("dst"), c.v)
		if err != nil || string(got) != "dst"+c.want {
			t.Errorf("%s: %s, %v, want dst%s", name, got, err, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	var chain *list
	for range 10_001 {
		chain = &list{chain}
	}
	var pointers any
	for range 100_000 {
		p := pointers
		pointers = &p
	}
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"not UTF-8":            {[]string{"a\xff"}, "not UTF-8"},
		"not UTF-8 after text": {`\ufffd` + "\xff", "not UTF-8"},
		"not UTF-8 after \\":   {`\` + "\xff", "not UTF-8"},
		"a key not UTF-8":      {map[string]int{"\xff": 1}, "not UTF-8"},
		"10,001 levels":        {chain, "deeper than 10000 levels"},
		"100,000 pointers":     {pointers, "deeper than 40000 pointers"},
		"written too deep":     {[]written{{10_000}}, "nested too deep"},
		"channel":              {make(chan int), "unsupported type"},
		"NaN":                  {math.NaN(), "unsupported value"},
	} {
		got, err := json.New().Append([]byte("dst"), c.v)
		if !errors.Is(err, codec.ErrUnsupported) || !strings.Contains(err.Error(), c.want) || string(got) != "dst" {
			t.Errorf("%s: %.100q, %v, want an error that wraps ErrUnsupported and says %q", name, got, err, c.want)
		}
	}
	var typed *stdjson.UnsupportedTypeError
	if _, err := json.New().Append(nil, make(chan int)); !errors.As(err, &typed) {
		t.Errorf("%v does not wrap the error of encoding/json", err)
	}
}

// What can be written at all can be read: the two limits are one.
func TestDeepestIsReadable(t *testing.T) {
	var chain *list
	for range 9_999 {
		chain = &list{chain}
	}
	for _, v := range []any{chain, written{10_000}} {
		data, err := json.New().Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		var into any
		if err := json.New().Decode(data, &into); err != nil {
			t.Error(err)
		}
	}
}

func TestDecode(t *testing.T) {
	var v any
	if err := json.New().Decode([]byte(`[9007199254740993, 1e400, 0.10]`), &v); err != nil {
		t.Fatal(err)
	}
	want := []any{stdjson.Number("9007199254740993"), stdjson.Number("1e400"), stdjson.Number("0.10")}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("numbers came back as %#v, want %#v", v, want)
	}
	for _, data := range []string{"", " ", "1 ", "1\n", "1 2", "{} {}", "[1]]", "nul", `{"a":1`, strings.Repeat("[", 1<<20), "1\x00"} {
		var v any
		if err := json.New().Decode([]byte(data), &v); err == nil {
			t.Errorf("%.20q was read as %v", data, v)
		}
	}
	for _, into := range []any{nil, 1, (*int)(nil)} {
		if err := json.New().Decode([]byte("1"), into); err == nil {
			t.Errorf("%T was decoded into", into)
		}
	}
}
