package memory

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

func TestSizeOf(t *testing.T) {
	type node struct {
		next *node
		name string
	}
	ring := &node{name: "one"}
	ring.next = &node{next: ring, name: "four"}
	shared := []byte("0123456789")
	text := "hello"
	number := 7
	now := time.Now()
	var nothing *node
	var nilMap map[string]int
	for name, c := range map[string]struct {
		value any
		want  int64
	}{
		"nil":                   {nil, 1},
		"int":                   {&number, 8},
		"struct without fields": {&struct{}{}, 1},
		"string":                {&text, 16 + 5},
		"nil pointer":           {&nothing, 8},
		"nil map":               {&nilMap, 8},
		"no pointer":            {text, 16 + 5},
		"bytes":                 {&shared, 24 + 10},
		"capacity counts":       {ref(make([]byte, 1, 1000)), 24 + 1000},
		"slice of strings":      {&[]string{"a", "bc", ""}, 24 + 3*16 + 3},
		"array":                 {&[2]string{"a", "bc"}, 2*16 + 3},
		"shared part":           {&[2][]byte{shared, shared}, 2*24 + 10},
		"ring":                  {ring, 2*24 + 3 + 4},
		"interfaces":            {&[]any{nil, 1, "abc", &number}, 24 + 4*16 + 8 + 16 + 3 + 8},
		"map of flat":           {&map[int]int64{1: 1, 2: 2}, 8 + mapHeader + 2*(16+mapShare)},
		"map of strings":        {&map[string]string{"a": "bc", "d": ""}, 8 + mapHeader + 2*(32+mapShare) + 4},
		"time":                  {&now, 24},
		"times":                 {&[]time.Time{now, now}, 24 + 2*24},
		"func, chan": {&struct {
			f func()
			c chan int
		}{func() {}, make(chan int, 100)}, 16},
		"unexported": {&struct{ inner struct{ s []string } }{struct{ s []string }{[]string{"abc"}}}, 24 + 16 + 3},
	} {
		if got := sizeOf(c.value); got != c.want {
			t.Errorf("%s: sizeOf = %d, want %d", name, got, c.want)
		}
	}
}

func ref[T any](v T) *T { return &v }

// TestSizeOfIsBounded estimates values that are far too large to be walked.
func TestSizeOfIsBounded(t *testing.T) {
	const n = 300_000
	texts := make([]string, n)
	table := make(map[int]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("%010d", i)
		table[i] = texts[i]
	}
	type list struct{ next *list }
	var long *list
	for range 1_000_000 {
		long = &list{long}
	}
	for name, c := range map[string]struct {
		value    any
		min, max int64
	}{
		"slice":       {&texts, 24 + n*26, 24 + n*26},
		"map":         {&table, n * 34, n * 44},
		"nested":      {&map[string][]string{"a": texts, "b": texts[1:]}, n * 2 * 26, n*2*26 + 1000},
		"linked list": {long, 1000 * 8, maxVisits * 8},
	} {
		s := newSizer()
		if got := int64(s.boxed(reflect.ValueOf(c.value))); got < c.min || got > c.max {
			t.Errorf("%s: the estimate is %d, want %d to %d", name, got, c.min, c.max)
		}
		// Who is told to stop still has a few calls to return from.
		if s.visits < -100 || len(s.seen) > maxVisits {
			t.Errorf("%s: %d parts were visited, want %d at most", name, maxVisits-s.visits, maxVisits)
		}
	}
}

func TestWeighSaturates(t *testing.T) {
	item := &backend.Item{Entry: &backend.Entry{Value: ref(1)}}
	for weight, want := range map[int]uint32{
		math.MaxInt: math.MaxUint32, math.MinInt: overhead, math.MaxUint32: math.MaxUint32, 0: overhead, -100: overhead, 44: overhead + 44,
	} {
		b := &Backend{config: Config{MaxBytes: 1, Weigh: func(any) int { return weight }}}
		if got, err := b.weigh(item); got != want || err != nil {
			t.Errorf("a value that weighs %d counts for %d, %v; want %d", weight, got, err, want)
		}
	}
}

func TestWeighCopies(t *testing.T) {
	b := &Backend{config: Config{MaxBytes: 1, Copy: true, Weigh: func(any) int { panic("asked") }}}
	item := &backend.Item{Key: backend.Key{Region: "users", Name: "ann"}, Entry: &backend.Entry{Data: make([]byte, 100, 1000)}}
	if got, err := b.weigh(item); got != overhead+3+100 || err != nil {
		t.Errorf("100 bytes under a key of 3 count for %d, %v", got, err)
	}
}

// TestOverhead compares the constant with the heap.
func TestOverhead(t *testing.T) {
	const n, name, data = 50_000, 16, 16
	var before, after runtime.MemStats
	b := New(Config{MaxBytes: 1 << 40, Copy: true})
	defer b.Close()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		items := []backend.Item{{
			Key:   backend.Key{Region: "users", Name: fmt.Sprintf("%0*d", name, i)},
			Entry: &backend.Entry{Data: make([]byte, data)},
			TTL:   time.Hour,
		}}
		if _, err := b.Set(t.Context(), items, nil); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	measured := float64(after.HeapAlloc-before.HeapAlloc)/n - name - data
	t.Logf("an entry takes %.0f bytes besides its key and data", measured)
	if measured < overhead*0.7 || measured > overhead*1.4 {
		t.Errorf("an entry takes %.0f bytes besides its key and data, but counts for %d", measured, overhead)
	}
}
