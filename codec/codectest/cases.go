package codectest

import (
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Case is a value that a codec is tried with.
type Case struct {
	// Name tells the case. What stands before its slash is the kind of value.
	Name string

	// Value is never nil.
	Value any

	// equal compares what came back with Value; nil means reflect.DeepEqual,
	// which tells nil from empty.
	equal func(got any) bool
}

func (c Case) same(got any) bool {
	if c.equal != nil {
		return c.equal(got)
	}
	return reflect.DeepEqual(got, c.Value)
}

type (
	name    string
	blob    []byte
	octet   uint8
	address struct {
		Street string
		Zip    *int
	}
	base struct {
		ID      int64
		Created time.Time
	}
	user struct {
		base  // unexported, with exported fields
		*Role // exported, by pointer
		Name  string
		Email string `json:"email"`
		Tags  []string
		Home  address
		Other map[string]*address
		Raw   []byte
	}
	tree struct {
		Value    int
		Children []*tree
	}
	list struct{ Next *list }
)

// Role is exported because a pointer to an embedded struct has to be.
type Role struct{ Admin bool }

// Cases returns the values of the suite, anew for each call.
func Cases() []Case {
	zip, word, many := 12345, "word", make([]int, 200_000)
	for i := range many {
		many[i] = i
	}
	instant := time.Date(2026, 11, 21, 12, 34, 56, 123456789, time.FixedZone("", 5400))
	huge, _ := new(big.Int).SetString(strings.Repeat("9", 200), 10)
	return []Case{
		{Name: "bytes/nil", Value: []byte(nil)},
		{Name: "bytes/empty", Value: []byte{}},
		{Name: "bytes/some", Value: []byte("\x00\x01\xff")},
		{Name: "bytes/100 KB", Value: []byte(strings.Repeat("x", 100_000))},
		{Name: "bytes/named", Value: blob("blob")},
		{Name: "bytes/named nil", Value: blob(nil)},
		{Name: "bytes/of a named byte", Value: []octet{1, 2, 255}},
		{Name: "string/empty", Value: ""},
		{Name: "string/some", Value: "text <&> \u2028 \ufffd \\ufffd \x00"},
		{Name: "string/not UTF-8", Value: "a\xffb"},
		{Name: "string/named", Value: name("named")},

		{Name: "bool", Value: true},
		{Name: "int/smallest", Value: int64(math.MinInt64)},
		{Name: "int/largest", Value: uint64(math.MaxUint64)},
		{Name: "int/small ones", Value: [4]int8{-128, -1, 0, 127}},
		{Name: "int/duration", Value: 90 * time.Minute},
		{Name: "float/fraction", Value: 0.1},
		{Name: "float/minus zero", Value: math.Copysign(0, -1), equal: func(got any) bool { return math.Signbit(got.(float64)) && got == 0.0 }},
		{Name: "float/largest", Value: math.MaxFloat64},
		{Name: "float/32 bits", Value: float32(0.1)},
		{Name: "float/NaN", Value: math.NaN(), equal: func(got any) bool { return math.IsNaN(got.(float64)) }},
		{Name: "float/infinity", Value: math.Inf(-1)},
		{Name: "complex", Value: complex(1, 2)},

		{Name: "time/with an offset", Value: instant, equal: sameTime(instant)},
		{Name: "time/zero", Value: time.Time{}},
		{Name: "time/local", Value: instant.Local(), equal: sameTime(instant.Local())},
		{Name: "big/int", Value: huge, equal: func(got any) bool { return huge.Cmp(got.(*big.Int)) == 0 }},
		{Name: "big/negative", Value: *big.NewInt(-5), equal: func(got any) bool { g := got.(big.Int); return g.Cmp(big.NewInt(-5)) == 0 }},
		{Name: "big/rat", Value: big.NewRat(1, 3), equal: func(got any) bool { return big.NewRat(1, 3).Cmp(got.(*big.Rat)) == 0 }},
		{Name: "text/address", Value: netip.MustParseAddr("2001:db8::1")},

		{Name: "pointer/nil", Value: (*user)(nil)},
		{Name: "pointer/to a pointer", Value: func() **string { p := &word; return &p }()},
		{Name: "slice/nil", Value: []string(nil)},
		{Name: "slice/empty", Value: []string{}},
		{Name: "slice/of both", Value: [][]int{nil, {}, {0}}},
		{Name: "slice/of 200,000", Value: many},
		{Name: "array", Value: [2]string{"a", "b"}},
		{Name: "map/nil", Value: map[string]int(nil)},
		{Name: "map/empty", Value: map[string]int{}},
		{Name: "map/of both", Value: map[string][]string{"nil": nil, "empty": {}, "": {""}}},
		{Name: "map/int keys", Value: map[int]string{-1: "a", 1: "b"}},
		{Name: "map/text keys", Value: map[netip.Addr]int{netip.MustParseAddr("::1"): 1}},
		{Name: "struct/empty", Value: struct{}{}},
		{Name: "struct/zero", Value: user{}},
		{Name: "struct/full", Value: user{
			base:  base{ID: 1, Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)},
			Role:  &Role{Admin: true},
			Name:  "n",
			Email: "e@example.org",
			Tags:  []string{},
			Home:  address{Street: "s", Zip: &zip},
			Other: map[string]*address{"nil": nil, "": {}},
			Raw:   []byte{0},
		}},
		{Name: "struct/recursive", Value: tree{Children: []*tree{{Value: 1}, nil, {Children: []*tree{}}}}},

		{Name: "any/nested", Value: map[string]any{
			"nil": nil, "list": []any{true, "s", []any{}, map[string]any{"k": nil}}, "map": map[string]any{},
		}},
		{Name: "any/nil in a struct", Value: struct{ Any, Nil any }{Any: "s"}},
		{Name: "deep/slices", Value: nested(500)},
		{Name: "deep/pointers", Value: chain(500)},
	}
}

// sameTime compares all that a stored time keeps: the instant and the offset.
func sameTime(want time.Time) func(any) bool {
	return func(got any) bool {
		_, wantOffset := want.Zone()
		_, gotOffset := got.(time.Time).Zone()
		return want.Equal(got.(time.Time)) && wantOffset == gotOffset
	}
}

// nested returns n slices in each other.
func nested(n int) []any {
	v := []any{}
	for range n - 1 {
		v = []any{v}
	}
	return v
}

// chain returns a list of n nodes.
func chain(n int) *list {
	var l *list
	for range n {
		l = &list{Next: l}
	}
	return l
}

// hopeless returns values that no codec can bring back. A codec that tries is not
// failed but killed: an overflow of the stack cannot be recovered from.
func hopeless() map[string]any {
	pointer := &list{}
	pointer.Next = &list{Next: pointer}
	children := &tree{}
	children.Children = []*tree{{}, {Children: []*tree{children}}}
	slice := []any{1, nil}
	slice[1] = slice
	dict := map[string]any{}
	dict["self"] = []any{map[string]any{"up": dict}}
	var itself any
	itself = &itself
	type loop *loop
	var l loop
	l = &l
	return map[string]any{
		"cycle/of pointers":          pointer,
		"cycle/of children":          children,
		"cycle/of slices":            slice,
		"cycle/of maps":              dict,
		"cycle/of an interface":      itself,
		"cycle/of a pointer":         l,
		"cycle/in a struct":          struct{ Any any }{dict},
		"deep/a million of pointers": chain(1_000_000),
		"deep/a million of slices":   nested(1_000_000),
		"kind/channel":               make(chan int),
		"kind/function":              func() {},
		"kind/complex":               []complex64{1},
		"kind/channel in a struct":   struct{ C chan int }{},
		"kind/function in any":       []any{func() {}},
	}
}
