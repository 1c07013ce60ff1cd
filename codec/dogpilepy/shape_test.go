package dogpilepy_test

import (
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec/dogpilepy"
)

// mayBeNone has everything that None may meet.
type mayBeNone struct {
	N     int            `json:"n"`
	P     *int           `json:"p"`
	L     []int          `json:"l"`
	M     map[string]int `json:"m"`
	A     [2]int         `json:"a"`
	Any   any            `json:"any"`
	At    time.Time      `json:"at"`
	Next  *mayBeNone     `json:"next"`
	Skip  int            `json:"-"`
	Deep  map[string][]*mayBeNone
	Bools struct{ B bool }
	Inner
}

// Inner is embedded.
type Inner struct{ In string }

// encoding/json leaves None as what is zero in Go, and so would make another value of it.
func TestJSONNoneInside(t *testing.T) {
	for text, good := range map[string]bool{
		`{"n": 1, "p": null, "l": null, "m": null, "any": null, "at": null, "next": null, "other": null, "-": null, "Skip": null, "Deep": null}`: true,
		`{"any": {"n": null}, "other": {"n": [null]}, "n": 1, "a": [0, 1]}`:                                                                      true,
		`{"next": {"next": {"p": null}}, "Deep": {"x": [null, {"n": 1}]}}`:                                                                       true,
		`{"n": null}`:                          false,
		`{"N": null}`:                          false,
		`{"l": [1, null]}`:                     false,
		`{"m": {"x": null}}`:                   false,
		`{"a": null}`:                          false,
		`{"a": [1, null]}`:                     false,
		`{"a": [1]}`:                           false,
		`{"a": [1, 2, 3]}`:                     false,
		`{"a": [1, 2], "next": {"a": []}}`:     false,
		`{"next": {"next": {"n": null}}}`:      false,
		`{"other": [[[]]], "n": null}`:         false,
		`{"any": {"x": {"y": {}}}, "n": null}`: false,
		`{"other": [[], {}], "n": null}`:       false,
		`{"any": [[], {}], "In": null}`:        false,
		`{"Bools": null}`:                      false,
		`{"Bools": {"B": null}}`:               false,
		`{"Deep": {"x": [null, {"n": null}]}}`: false,
	} {
		err := dogpilepy.JSON().Decode([]byte(text), new(mayBeNone))
		if (err == nil) != good {
			t.Errorf("%s: %v, want it to be decoded: %v", text, err, good)
		}
	}
	for _, c := range []struct {
		text string
		into any
		good bool
	}{
		{"null", new(int), false}, {" null", new(string), false}, {"null", new(mayBeNone), false}, {"null", new([1]int), false},
		{"null", new(*int), true}, {"null", new(any), true}, {"null", new([]int), true}, {"null", new(map[string]int), true}, {"null", new(time.Time), true},
		{"[null]", new([]int), false}, {"[null]", new([]any), true}, {"[[1,2]]", new([][3]int), false}, {"[[1,2]]", new([]*[2]int), true},
		{"[null]", new(reads), true}, {`{"x": [null, [1]]}`, new(map[string]*reads), true},
		{`"null"`, new(string), true}, {`{"null": 1}`, new(map[string]int), true},
	} {
		if err := dogpilepy.JSON().Decode([]byte(c.text), c.into); (err == nil) != c.good {
			t.Errorf("%s into %T: %v, want it to be decoded: %v", c.text, c.into, err, c.good)
		}
	}
	for _, into := range []any{nil, 5, (*int)(nil)} {
		if err := dogpilepy.JSON().Decode([]byte(`{"x": null}`), into); err == nil {
			t.Errorf("into %T: no error", into)
		}
	}
}

// reads takes everything that it is given.
type reads []int

func (r *reads) UnmarshalJSON([]byte) error { *r = reads{1}; return nil }
