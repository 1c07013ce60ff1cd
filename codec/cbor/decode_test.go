package cbor_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/codec/cbor"
)

// freshLike returns a pointer to a zero value of the type of v, or of what v
// points to.
func freshLike(v any) any {
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return reflect.New(t).Interface()
}

func TestWhatAnyBecomes(t *testing.T) {
	instant := time.Date(2026, 7, 1, 12, 0, 0, 5, time.UTC)
	for name, c := range map[string]struct{ v, want any }{
		"int":        {42, int64(42)},
		"uint64":     {uint64(7), int64(7)},
		"big uint64": {uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		"*big.Int":   {big.NewInt(-5), big.NewInt(-5)},
		"float32":    {float32(0.5), 0.5},
		"[]byte":     {[]byte{1}, []byte{1}},
		"[2]byte":    {[2]byte{1, 2}, []byte{1, 2}},
		"time":       {instant, instant},
		"struct":     {inner{7}, map[string]any{"ID": int64(7)}},
		"map":        {map[text]int{"a": 1}, map[string]any{"a": int64(1)}},
		"slice":      {[]string{"a"}, []any{"a"}},
		"nil slice":  {[]string(nil), nil},
		"pointer":    {&inner{7}, map[string]any{"ID": int64(7)}},
		"zero time":  {time.Time{}, nil},
		"not UTF-8":  {"\xff", "\xff"},
		"nil":        {nil, nil},
		"nested":     {[]any{[]int{1}, map[string][]int{"": nil}}, []any{[]any{int64(1)}, map[string]any{"": nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := cbor.New().Append(nil, &c.v)
			if err != nil {
				t.Fatal(err)
			}
			var got any
			if err := cbor.New().Decode(data, &got); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%#v came back as %#v, %v, want %#v", c.v, got, err, c.want)
			}
		})
	}
}

// A time in the zone of the process comes back in it, name and all.
func TestLocalTime(t *testing.T) {
	defer func(before *time.Location) { time.Local = before }(time.Local)
	time.Local = time.FixedZone("HERE", 3600)
	stored := time.Date(2026, 7, 1, 12, 0, 0, 5, time.Local)
	data, err := cbor.New().Append(nil, stored)
	if err != nil {
		t.Fatal(err)
	}
	var got time.Time
	if err := cbor.New().Decode(data, &got); err != nil || got.String() != stored.String() {
		t.Errorf("%v came back as %v, %v", stored, got, err)
	}
}

func TestUntypedNil(t *testing.T) {
	data, err := cbor.New().Append(nil, nil)
	if err != nil || string(data) != "\xf6" {
		t.Fatalf("nil became %x, %v", data, err)
	}
	var v any
	if err := cbor.New().Decode(data, &v); err != nil || v != nil {
		t.Errorf("nil came back as %v, %v", v, err)
	}
}

// Every end but the right one is an error.
func TestEndOfData(t *testing.T) {
	v := []any{map[string]any{"a": 1.5, "b": []byte("bytes")}, "text", nil, time.Now()}
	data, err := cbor.New().Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		var got any
		if err := cbor.New().Decode(data[:n], &got); err == nil {
			t.Errorf("the first %d of %d bytes were read as %v", n, len(data), got)
		}
	}
	for extra := range 256 {
		var got any
		if err := cbor.New().Decode(append(data[:len(data):len(data)], byte(extra)), &got); err == nil {
			t.Errorf("a trailing %#x was not noticed", extra)
		}
	}
}

// What Append never writes is not guessed at.
func TestBytesOfOthers(t *testing.T) {
	var v any
	if err := cbor.New().Decode([]byte("\x9f\x01\xff"), &v); err == nil {
		t.Errorf("a list of indefinite length was read as %v", v)
	}
	var field inner
	if err := cbor.New().Decode([]byte("\xa1\x62id\x07"), &field); err != nil || field.ID != 0 {
		t.Errorf("the field id was read as ID = %d, %v", field.ID, err)
	}
}

func TestBadTargets(t *testing.T) {
	for _, into := range []any{nil, 1, (*int)(nil)} {
		if err := cbor.New().Decode([]byte{1}, into); err == nil {
			t.Errorf("%T was decoded into", into)
		}
	}
}

// A few bytes that claim to be gigabytes must not be believed.
func TestHostileLengths(t *testing.T) {
	type target struct {
		Bytes []byte
		Text  string
		List  []uint64
		Dict  map[string]uint64
		Any   any
	}
	head := func(major byte, n uint64) string {
		return string(binary.BigEndian.AppendUint64([]byte{major | 27}, n))
	}
	for _, n := range []uint64{1 << 20, 1 << 31, 1 << 40, 1 << 62, math.MaxUint64} {
		for name, data := range map[string]string{
			"bytes":          head(0x40, n),
			"text":           head(0x60, n),
			"list":           head(0x80, n),
			"list of zeroes": head(0x80, n) + strings.Repeat("\x00", 1000),
			"dict":           head(0xa0, n),
			"lists":          strings.Repeat(head(0x80, n), 100),
			"bignum":         "\xc2" + head(0x40, n),
			"indefinite":     "\x9f" + head(0x80, n),
			"deep":           strings.Repeat("\x81", 1<<20),
			"deep tags":      strings.Repeat("\xc5", 1<<20),
			"deep and open":  strings.Repeat("\x9f", 1<<20),
		} {
			for _, into := range []any{new(any), new(target), new([]byte), new(string), new([]target), new(map[string]string), new([4]int)} {
				var err error
				if got := allocated(func() { err = cbor.New().Decode([]byte(data), into) }); got > 4*uint64(len(data))+64<<10 {
					t.Errorf("%s of %d into %T: %d bytes allocated for %d", name, n, into, got, len(data))
				}
				if err == nil {
					t.Errorf("%s of %d into %T: no error", name, n, into)
				}
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

// Goroutines that meet a recursive type for the first time at once must all see
// its plan whole.
func TestFirstUseByMany(t *testing.T) {
	type deep struct {
		Any  any
		Next *deep
	}
	cyclic := &deep{}
	cyclic.Next = &deep{Any: cyclic}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := cbor.New().Append(nil, cyclic); err == nil {
				t.Error("a cycle was encoded")
			}
		})
	}
	all.Wait()
}

type record struct {
	ID     int64
	Name   string
	Tags   []string
	Times  map[string]time.Time
	Big    *big.Int
	Any    any
	Nested *record
	Raw    []byte
	Floats [2]float32
}

// FuzzDecodeStruct and FuzzDecodeAny look for bytes that make Decode panic, or
// that it reads as a value which does not survive being stored again.
func FuzzDecodeStruct(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) { survives[record](t, data) })
}

func FuzzDecodeAny(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) { survives[any](t, data) })
}

func seed(f *testing.F) {
	for _, v := range []any{
		record{},
		record{
			ID: 1, Name: "n", Tags: []string{"a"}, Times: map[string]time.Time{"t": time.Unix(1, 2)}, Big: big.NewInt(5),
			Any: map[string]any{"k": []any{1, 2.5, "s", nil, time.Unix(3, 0), big.NewInt(7)}}, Nested: &record{}, Raw: []byte{1},
		},
		nested(100),
	} {
		data, err := cbor.New().Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func survives[T any](t *testing.T, data []byte) {
	c := cbor.New()
	var first, second T
	if c.Decode(data, &first) != nil {
		return
	}
	// What was read may still be refused, such as a time of the year -5.
	again, err := c.Append(nil, &first)
	if err != nil {
		return
	}
	if err := c.Decode(again, &second); err != nil {
		t.Fatalf("%x was stored and cannot be read: %v", again, err)
	}
	third, err := c.Append(nil, &second)
	if err != nil || len(third) != len(again) {
		t.Errorf("%x became %x, %v", again, third, err)
	}
}

func BenchmarkAppend(b *testing.B) {
	now := time.Now()
	type static struct {
		ID   int64
		Name string
		Tags []string
	}
	document := map[string]any{}
	for i := range 1000 {
		document[strconv.Itoa(i)] = []any{i, "text", true, nil}
	}
	for name, v := range map[string]any{
		"any":    &document,
		"static": &static{1, "name", []string{"a", "b"}},
		"walked": &record{ID: 1, Name: "name", Tags: []string{"a", "b"}, Times: map[string]time.Time{"now": now}, Any: "s", Nested: &record{}},
	} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 0, 1<<16)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cbor.New().Append(buf, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
