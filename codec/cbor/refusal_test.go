package cbor_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/cbor"
	fxcbor "github.com/fxamacker/cbor/v2"
)

type (
	hidden      struct{ id int }
	holdsHidden struct{ List []map[string]*hidden }
	marker      struct{ mu struct{} } // nothing to lose
	inner       struct{ ID int }
	byPointer   struct{ *inner }
	secretive   struct {
		Name string
		Hash string `json:"-"`
	}
	candid struct {
		Name string
		Hash string `json:"-" cbor:"hash"`
		Temp string `cbor:"-"`
	}
	entity struct {
		hidden `json:"-"` // as ent generates it
		Name   string
	}
	blanks struct {
		_ int
		_ struct{} `cbor:",toarray"`
		A int
	}

	onlyText   struct{ A int }
	onlyBinary struct{ A int }
	onlyCBOR   struct{ A int }
	readsText  string
	readsBytes []byte
	readsCBOR  struct{ A int }
	level      int // reads text, is written as a number

	event struct { // encoded by time.Time, without its name
		time.Time
		Name string
	}
	moment   struct{ time.Time } // nothing else to lose
	ownEvent struct {
		time.Time
		Name string
	}
	ambiguous struct { // neither of the two embedded types encodes it
		time.Time
		netip.Addr
		Name string
	}
	namedEvent struct {
		At   time.Time `cbor:"at"`
		Name string
	}

	loop  *loop
	tree  struct{ Children map[string]tree }
	keyed struct {
		A int `cbor:"1,keyasint"`
	}
	stringer struct{ S fmt.Stringer }

	Loop struct { // exported, because it is embedded by pointer
		*Loop
		A int
	}
	Moments struct{ At time.Time }
	text    string
)

func (onlyText) MarshalText() ([]byte, error)     { return []byte("text"), nil }
func (onlyBinary) MarshalBinary() ([]byte, error) { return []byte("binary"), nil }
func (*onlyCBOR) MarshalCBOR() ([]byte, error)    { return []byte{1}, nil }
func (*readsText) UnmarshalText([]byte) error     { return nil }
func (*readsBytes) UnmarshalBinary([]byte) error  { return nil }
func (*readsCBOR) UnmarshalCBOR([]byte) error     { return nil }
func (*level) UnmarshalText([]byte) error         { return nil }
func (text) String() string                       { return "" }

func (e ownEvent) MarshalBinary() ([]byte, error) { return []byte(e.Name), nil }
func (e *ownEvent) UnmarshalBinary(b []byte) error {
	e.Name = string(b)
	return nil
}

func nested(n int) any { return within(n-1, []any{}) }

// within returns v within n slices.
func within(n int, v any) any {
	for range n {
		v = []any{v}
	}
	return v
}

// What the library would encode without a word, and read back as something else
// or not at all.
func TestSilentLossIsRefused(t *testing.T) {
	amsterdam := time.FixedZone("LMT", 1172)
	zero, nilSlice := time.Time{}, []int(nil)
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"unexported fields":          {hidden{1}, "cbor_test.hidden has only unexported fields"},
		"unexported fields below":    {holdsHidden{}, "cbor_test.hidden has only unexported fields"},
		"unexported fields in any":   {[]any{hidden{}}, "cbor_test.hidden has only unexported fields"},
		"unexported fields embedded": {struct{ hidden }{}, "has only unexported fields"},
		"an error in any":            {[]any{io.EOF}, "errors.errorString has only unexported fields"},
		"a mutex":                    {struct{ Mu sync.Mutex }{}, "sync.Mutex has only unexported fields"},
		"a location":                 {struct{ L *time.Location }{}, "time.Location has only unexported fields"},
		"an embedded pointer":        {byPointer{&inner{1}}, "embedded pointer to an unexported struct"},
		"a field hidden from JSON":   {secretive{}, `Hash is hidden by its tag json:"-"; add cbor:"Hash"`},
		"text without a way back":    {onlyText{}, "onlyText has MarshalText but no"},
		"binary without a way back":  {onlyBinary{}, "onlyBinary has MarshalBinary but no"},
		"CBOR without a way back":    {onlyCBOR{}, "onlyCBOR has MarshalCBOR but no"},
		"a reader of text":           {readsText(""), "readsText has a method that decodes it but none that encodes it"},
		"a reader of bytes":          {readsBytes{}, "readsBytes has a method that decodes it but none that encodes it"},
		"a reader of CBOR":           {readsCBOR{}, "readsCBOR has a method that decodes it but none that encodes it"},
		"a promoted method":          {event{Name: "n"}, "encoded by the MarshalBinary of a type that it embeds"},
		"a promoted pointer method": {struct {
			*big.Int
			Name string
		}{}, "encoded by the MarshalText of a type that it embeds"},
		"a method of a pointer": {&struct {
			big.Int
			Name string
		}{}, "encoded by the MarshalText of a type that it embeds"},
		"an unused method":           {ambiguous{}, "the methods of time.Time are not used"},
		"the year 10,000":            {time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "year 10000"},
		"a year before 0":            {namedEvent{At: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}, "year -1"},
		"an offset with seconds":     {[]time.Time{{}, time.Date(1900, 1, 1, 0, 0, 0, 0, amsterdam)}, "1172 seconds from UTC"},
		"an offset of days":          {map[string]any{"": time.Date(2000, 1, 1, 0, 0, 0, 0, time.FixedZone("", 86400))}, "86400 seconds"},
		"an offset of days west":     {time.Date(2000, 1, 1, 0, 0, 0, 0, time.FixedZone("", -86400)), "-86400 seconds"},
		"a time as a key":            {map[time.Time]int{time.Date(1900, 1, 1, 0, 0, 0, 0, amsterdam): 1}, "1172 seconds"},
		"a time promoted":            {struct{ namedEvent }{namedEvent{At: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}}, "year -1"},
		"a pointer to the zero time": {struct{ Deleted *time.Time }{&zero}, "a *time.Time that is not nil"},
		"a pointer to a nil slice":   {[]*[]int{&nilSlice}, "a *[]int that is not nil"},
		"a full interface":           {stringer{text("")}, "interface with methods"},
		"a type of itself":           {struct{ L loop }{}, "points to itself only"},
		"struct keys in any":         {[]any{map[inner]int{{1}: 1}}, "could not be decoded again"},
		"int keys in any":            {[]any{map[int]int{1: 1}}, "could not be decoded again"},
		"int fields in any":          {[]any{&keyed{}}, "could not be decoded again"},
		"keys that become one":       {map[any]int{1: 1, uint8(1): 2}, "could not be decoded again"},
		"keys of any kind":           {map[any]int{[1]int{1}: 1}, "could not be decoded again"},
		"CBOR of another kind":       {[]any{fxcbor.RawMessage("\xa1\x01\x02")}, "could not be decoded again"},
		"a tag with other content":   {[]any{fxcbor.Tag{Number: 0, Content: 1}}, "could not be decoded again"},
		"a tag around hidden fields": {fxcbor.Tag{Number: 5, Content: hidden{}}, "cbor_test.hidden has only"},
		"levels":                     {nested(1025), "deeper than 1024 levels"},
		"levels below any":           {within(1022, [][][]int{{{1}}}), "could not be decoded again"},
		"levels of raw CBOR":         {[]fxcbor.RawMessage{fxcbor.RawMessage(strings.Repeat("\x81", 1024) + "\x01")}, "could not be decoded again"},
		"indefinite lengths":         {fxcbor.RawMessage("\x9f\xff"), "indefinite-length"},
		"levels of a tag":            {[]any{nested(1000), fxcbor.RawMessage(strings.Repeat("\x81", 1024) + "\x01")}, "could not be decoded again"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cbor.New().Append([]byte("dst"), c.v)
			if !errors.Is(err, codec.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v, want one that wraps ErrUnsupported and says %q", err, c.want)
			}
			if string(got) != "dst" {
				t.Errorf("dst became %.100q", got)
			}
		})
	}
}

// Their neighbours, which lose nothing.
func TestWhatIsNotLostIsStored(t *testing.T) {
	for name, v := range map[string]any{
		"an empty struct":        struct{}{},
		"a struct of empty ones": marker{},
		"fields with cbor tags":  candid{Name: "n"},
		"fields hidden within":   entity{Name: "n"},
		"blank fields":           blanks{A: 1},
		"only blank fields":      struct{ _ int }{},
		"nothing hidden from JSON": struct {
			A int
			B struct{} `json:"-"`
		}{A: 1},
		"a field left out beside time": struct {
			time.Time
			Note string `cbor:"-"`
		}{Time: time.Now()},
		"hidden beside embedded": struct {
			inner
			x int
		}{inner{1}, 0},
		"nothing beside time": struct {
			time.Time
			X struct{}
		}{Time: time.Now()},
		"an embedded recursion": struct{ Loop }{Loop{&Loop{}, 1}},
		"a nil embedded pointer": struct {
			*Moments
			A int
		}{nil, 1},
		"a full embedded pointer": struct {
			*Moments
			A int
		}{&Moments{time.Now()}, 1},
		"a zero time anywhere":     namedEvent{At: time.Time{}.In(time.FixedZone("LMT", 1172))},
		"an embedded struct":       struct{ inner }{inner{1}},
		"a number that reads text": level(1),
		"a type that is only time": moment{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"an event of its own":      ownEvent{Name: "n"},
		"a time beside a name":     namedEvent{},
		"recursion by map":         tree{map[string]tree{"": {}}},
		"int keys":                 []keyed{{1}},
		"a nil interface":          stringer{},
		"levels":                   nested(1024),
		"levels in structs":        chain(1024),
		"text keys in any":         []any{map[netip.Addr]int{}},
		"a tag":                    fxcbor.Tag{Number: 5, Content: "s"},
		"raw CBOR":                 fxcbor.RawMessage("\x01"),
		"simple values":            []any{fxcbor.SimpleValue(99)},
		"a nil slice by pointer":   new([]int),
		"a zero time by pointer":   new(time.Time),
		"a nil pointer":            (*time.Time)(nil),
		"one pointer, many times":  func() []*inner { p := &inner{}; return []*inner{p, p, p} }(),
		"one map, many times":      func() []any { m := map[string]any{}; return []any{m, []any{m}, m} }(),
		"one deep pointer, twice":  func() any { p := chain(2); return within(200, map[string]any{"a": p, "b": []any{p, p}}) }(),
		"a URL":                    &url.URL{Scheme: "https", Host: "example.org"},
		"buffered bytes in any":    map[string]any{"b": []byte{1}, "t": time.Now()},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := cbor.New().Append(nil, v)
			if err != nil {
				t.Fatal(err)
			}
			into := freshLike(v)
			if err := cbor.New().Decode(data, into); err != nil {
				t.Fatal(err)
			}
			// Map order differs from one encoding to the next, so lengths have to do.
			again, err := cbor.New().Append(nil, into)
			if err != nil || len(again) != len(data) {
				t.Errorf("encoded as %x, then as %x, %v", data, again, err)
			}
		})
	}
}

type node struct{ Next *node }

func chain(n int) *node {
	var l *node
	for range n {
		l = &node{l}
	}
	return l
}

// A cycle is called one, unless it is longer than what may be nested anyway.
func TestCyclesAreNamed(t *testing.T) {
	short := chain(500)
	last := short
	for last.Next != nil {
		last = last.Next
	}
	last.Next = short
	if _, err := cbor.New().Append(nil, short); !strings.Contains(fmt.Sprint(err), "cyclic: a *cbor_test.node contains itself") {
		t.Errorf("a cycle of 500: %v", err)
	}
	if _, err := cbor.New().Append(nil, chain(2000)); !strings.Contains(fmt.Sprint(err), "deeper than 1024 levels") {
		t.Errorf("no cycle of 2,000: %v", err)
	}
	// Pointers and interfaces alone take no level, but stack.
	var v any = 1
	for range 1_000_000 {
		p := v
		v = &p
	}
	if _, err := cbor.New().Append(nil, []any{v}); !strings.Contains(fmt.Sprint(err), "deeper than 8192 pointers") {
		t.Errorf("a million of pointers: %v", err)
	}
}

func TestRefusedTypesAreNotDecodedEither(t *testing.T) {
	var l loop
	for _, into := range []any{&l, new(hidden), new(secretive), new(chan int)} {
		if err := cbor.New().Decode([]byte{1}, into); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("%T: %v, want an error that wraps ErrUnsupported", into, err)
		}
	}
}

func TestErrorsOfMethodsAreKept(t *testing.T) {
	var bad failing
	got, err := cbor.New().Append([]byte("dst"), []failing{bad})
	if !errors.Is(err, io.ErrClosedPipe) || !errors.Is(err, codec.ErrUnsupported) {
		t.Errorf("%v, want both ErrClosedPipe and ErrUnsupported", err)
	}
	if string(got) != "dst" {
		t.Errorf("dst became %q", got)
	}
	if err := cbor.New().Decode([]byte("\x41x"), &bad); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v, want ErrClosedPipe", err)
	}
}

type failing struct{ A int }

func (failing) MarshalBinary() ([]byte, error)  { return nil, io.ErrClosedPipe }
func (*failing) UnmarshalBinary(b []byte) error { return io.ErrClosedPipe }

func TestAppendExtendsDst(t *testing.T) {
	for _, dst := range [][]byte{nil, {}, []byte("dst"), append(make([]byte, 0, 1000), "dst"...)} {
		got, err := cbor.New().Append(dst, []any{"v", fxcbor.RawMessage("\x01")})
		if want := append(bytes.Clone(dst), "\x82\x61v\x01"...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q became %q, %v, want %q", dst, got, err, want)
		}
	}
}

// These fields matter by being there; nothing else reads them.
var _, _, _ = hidden{}.id, marker{}.mu, entity{}.hidden
