package schema

import (
	"encoding/json"
	htmltemplate "html/template"
	"io"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	texttemplate "text/template"
	"time"
)

type (
	plain        struct{ ID int }
	renamedField struct{ Key int }
	retyped      struct{ ID int64 }
	tagged       struct {
		ID int `json:"id"`
	}
	otherTag struct {
		ID int `json:"ID"`
	}
	hidden   struct{ id int }
	base     struct{ ID int }
	embedded struct{ base }
	field    struct{ base base }

	named       int
	namedText   int
	pair[T any] struct{ A, B T }

	list   struct{ Next *list }
	list2  struct{ Next, Prev *list2 }
	even   struct{ Odd *odd }
	odd    struct{ Even *even }
	self   *self
	slices []slices
)

type halfText struct{ Inside int }

func (halfText) MarshalText() ([]byte, error)  { return nil, nil }
func (namedText) MarshalText() ([]byte, error) { return nil, nil }

// distinct holds types of which no two are the same.
var distinct = []reflect.Type{
	nil,
	reflect.TypeFor[bool](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uintptr](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[complex64](), reflect.TypeFor[complex128](),
	reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[[]string](), reflect.TypeFor[[][]string](),
	reflect.TypeFor[[0]int](), reflect.TypeFor[[2]int](), reflect.TypeFor[[3]int](), reflect.TypeFor[[]int](),
	reflect.TypeFor[*int](), reflect.TypeFor[**int](), reflect.TypeFor[[]*int](), reflect.TypeFor[*[]int](),
	reflect.TypeFor[map[string]int](), reflect.TypeFor[map[int]string](), reflect.TypeFor[map[string]map[string]int](),
	reflect.TypeFor[chan int](), reflect.TypeFor[<-chan int](), reflect.TypeFor[chan<- int](),
	reflect.TypeFor[func()](), reflect.TypeFor[func(int)](), reflect.TypeFor[func() int](),
	reflect.TypeFor[func([]int)](), reflect.TypeFor[func(...int)](), reflect.TypeFor[func(int, int)](), reflect.TypeFor[func(int) int](),
	reflect.TypeFor[any](), reflect.TypeFor[error](), reflect.TypeFor[io.Reader](), reflect.TypeFor[io.ReadWriter](),
	reflect.TypeFor[interface{ A() }](), reflect.TypeFor[interface{ B() }](), reflect.TypeFor[interface{ A() int }](),
	reflect.TypeFor[struct{}](), reflect.TypeFor[struct{ ID int }](), reflect.TypeFor[struct{ ID, Key int }](),
	reflect.TypeFor[struct{ Key, ID int }](), reflect.TypeFor[struct{ ID struct{ Key int } }](),
	reflect.TypeFor[plain](), reflect.TypeFor[renamedField](), reflect.TypeFor[retyped](), reflect.TypeFor[tagged](),
	reflect.TypeFor[otherTag](), reflect.TypeFor[hidden](), reflect.TypeFor[base](), reflect.TypeFor[embedded](), reflect.TypeFor[field](),
	reflect.TypeFor[struct{ base }](), reflect.TypeFor[struct{ base base }](), reflect.TypeFor[struct{ *base }](),
	reflect.TypeFor[named](), reflect.TypeFor[namedText](), reflect.TypeFor[[]named](), reflect.TypeFor[map[named]int](),
	reflect.TypeFor[pair[int]](), reflect.TypeFor[pair[int64]](), reflect.TypeFor[pair[plain]](), reflect.TypeFor[pair[pair[int]]](),
	reflect.TypeFor[list](), reflect.TypeFor[*list](), reflect.TypeFor[list2](), reflect.TypeFor[even](), reflect.TypeFor[odd](),
	reflect.TypeFor[self](), reflect.TypeFor[slices](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[*time.Time](), reflect.TypeFor[big.Int](), reflect.TypeFor[big.Float](),
	reflect.TypeFor[json.Number](), reflect.TypeFor[json.RawMessage](),
	reflect.TypeFor[texttemplate.FuncMap](), reflect.TypeFor[htmltemplate.HTML](),
	reflect.TypeFor[texttemplate.Template](), reflect.TypeFor[htmltemplate.Template](),
	firstLocal(), secondLocal(),
}

// Two functions, two types of one name.
func firstLocal() reflect.Type  { type local struct{ A int }; return reflect.TypeFor[local]() }
func secondLocal() reflect.Type { type local struct{ B int }; return reflect.TypeFor[local]() }

func TestDistinctTypesHaveDistinctFingerprints(t *testing.T) {
	seen := map[uint64]reflect.Type{}
	for _, typ := range distinct {
		f := Fingerprint(typ)
		if other, taken := seen[f]; taken {
			t.Errorf("%v and %v share the fingerprint %#x: %s", typ, other, f, describe(typ))
		}
		seen[f] = typ
		if again := Fingerprint(typ); again != f {
			t.Errorf("%v: %#x at first, then %#x", typ, f, again)
		}
	}
}

// A fingerprint that differs between two builds makes every stored value a miss,
// so some are pinned. They may change only with a reason worth an empty cache.
func TestFingerprintsNeverChange(t *testing.T) {
	for typ, want := range map[reflect.Type]uint64{
		nil:                               0xabadaa4ed1cc7f86,
		reflect.TypeFor[int]():            0x6c2d05d2ebf3a817,
		reflect.TypeFor[map[string]any](): 0x68c1870b9f84303,
		reflect.TypeFor[tagged]():         0x87ce847f76c3e419,
		reflect.TypeFor[list2]():          0xd1f1fa15895fb024,
		reflect.TypeFor[pair[plain]]():    0xbd25e1d0c1b701cf,
		reflect.TypeFor[time.Time]():      0x58ffd9c782e99c7d,
	} {
		if got := Fingerprint(typ); got != want {
			t.Errorf("%v: %#x, want %#x; its description is %s", typ, got, want, describe(typ))
		}
	}
}

// What the toolchain's own types hide may change with each release of Go.
func TestSelfMarshalingTypesAreNotOpened(t *testing.T) {
	want := `struct "time" "Time" 63 `
	if got := string(describe(reflect.TypeFor[time.Time]())); got != want {
		t.Errorf("time.Time is described as %s, want %s", got, want)
	}
	// One that cannot read what it writes is what its fields are.
	if got := string(describe(reflect.TypeFor[halfText]())); !strings.Contains(got, `"Inside"`) {
		t.Errorf("halfText is described as %s, without its field", got)
	}
}

func TestConcurrentFingerprint(t *testing.T) {
	type fresh struct{ ID *fresh }
	var all sync.WaitGroup
	var got [16]uint64
	for i := range got {
		all.Go(func() { got[i] = Fingerprint(reflect.TypeFor[fresh]()) })
	}
	all.Wait()
	for _, f := range got {
		if f != got[0] {
			t.Fatalf("fingerprints differ: %x", got)
		}
	}
}

func TestRepeatedFingerprintDoesNotAllocate(t *testing.T) {
	typ := reflect.TypeFor[list2]()
	Fingerprint(typ)
	if n := testing.AllocsPerRun(100, func() { Fingerprint(typ) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkFingerprint(b *testing.B) {
	typ := reflect.TypeFor[list2]()
	for b.Loop() {
		Fingerprint(typ)
	}
}

// These fields matter by being there; nothing else reads them.
var _, _ = hidden{}.id, field{}.base
