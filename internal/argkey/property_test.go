package argkey_test

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Two lists of arguments have the same text if and only if they are the same.
// The values come from small sets, so that many are equal or nearly so.
func TestTextIsInjective(t *testing.T) {
	var equal, different int
	list := rapid.SliceOfN(value(3), 0, 3)
	rapid.Check(t, func(rt *rapid.T) {
		lists := [][]any{list.Draw(rt, "a"), list.Draw(rt, "b"), list.Draw(rt, "c")}
		lists = append(lists, mutated(rt, lists[0]), []any{lists[0]}, slices.Concat(lists[0], lists[1]))
		for i, a := range lists {
			for _, b := range lists[:i+1] {
				aText, bText := text(t, a...), text(t, b...)
				want := slices.EqualFunc(a, b, same)
				if (aText == bText) != want {
					rt.Fatalf("%#v\n%#v\nsame %v, texts\n%s\n%s", a, b, want, aText, bText)
				}
				if want {
					equal++
				} else {
					different++
				}
			}
		}
	})
	if equal == 0 || different == 0 {
		t.Errorf("%d equal and %d different pairs: the generator is too narrow", equal, different)
	}
}

// A map's text does not depend on how the map came to be.
func TestMapsAreSorted(t *testing.T) {
	entries := rapid.MapOf(key(), value(1))
	rapid.Check(t, func(rt *rapid.T) {
		m := entries.Draw(rt, "m")
		other := map[any]any{}
		for i := range rapid.IntRange(0, 50).Draw(rt, "extra") {
			other[i+1000] = i
		}
		for _, k := range rapid.Permutation(slices.Collect(maps.Keys(m))).Draw(rt, "order") {
			other[k] = m[k]
		}
		maps.DeleteFunc(other, func(k, _ any) bool { _, ok := m[k]; return !ok })
		if a, b := text(t, m), text(t, other); a != b {
			rt.Fatalf("%s\n%s", a, b)
		}
	})
}

// str generates strings made of what quotes and delimits in a text.
func str() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "1", "nil", "a b", `a","b`, `a"`, "\x80", "\u0080", `\x80`, "\ufffd", "int64(1)"}),
		rapid.StringOfN(rapid.SampledFrom([]rune(`"\,:{}()& a`)), 0, 3, -1),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 3), func(b []byte) string { return string(b) }),
	)
}

func float() *rapid.Generator[float64] {
	return rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 1.5, math.Inf(1), math.Inf(-1), math.NaN()})
}

func moment() *rapid.Generator[time.Time] {
	zones := []*time.Location{time.UTC, time.FixedZone("A", 0), time.FixedZone("A", 60), time.FixedZone("B", 60)}
	return rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 1).Draw(t, "sec"), 0).In(rapid.SampledFrom(zones).Draw(t, "zone"))
	})
}

func small() *rapid.Generator[int] { return rapid.IntRange(-1, 2) }

// key generates comparable values, each equal to itself.
func key() *rapid.Generator[any] {
	return rapid.OneOf(
		small().AsAny(),
		rapid.Map(small(), func(n int) any { return int64(n) }),
		rapid.Map(small(), func(n int) any { return color(n) }),
		str().AsAny(),
		rapid.Map(str(), func(s string) any { return word(s) }),
		rapid.Map(str(), func(s string) any { return filter{City: s} }),
		rapid.Bool().AsAny(),
		rapid.Just[any](nil),
	)
}

// value generates values of all kinds, with others nested in them.
func value(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		key(),
		float().AsAny(),
		rapid.Map(float(), func(f float64) any { return float32(f) }),
		rapid.Map(float(), func(f float64) any { return []float64{f} }),
		rapid.Map(small(), func(n int) any { return &n }),
		rapid.Map(small(), func(n int) any { p := &n; return &p }),
		rapid.Map(small(), func(n int) any { return time.Duration(n) }),
		rapid.SampledFrom([]any{(*int)(nil), []int(nil), []any(nil), map[string]int(nil), (*node)(nil), link(nil), []byte(nil)}),
		rapid.SliceOfN(small(), 0, 3).AsAny(),
		rapid.SliceOfN(str(), 0, 3).AsAny(),
		rapid.SliceOfN(rapid.Byte(), 0, 3).AsAny(),
		rapid.Map(rapid.Byte(), func(b byte) any { return uuid{b} }),
		rapid.MapOfN(str(), small(), 0, 3).AsAny(),
		rapid.MapOfN(small(), str(), 0, 3).AsAny(),
		moment().AsAny(),
		rapid.Map(moment(), func(m time.Time) any { return date(m) }),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	inner := value(depth - 1)
	nodes := rapid.Custom(func(t *rapid.T) node {
		n := node{A: int8(small().Draw(t, "A")), b: word(str().Draw(t, "b")), any: inner.Draw(t, "any"), at: moment().Draw(t, "at")}
		if rapid.Bool().Draw(t, "next?") {
			n.next = &node{any: inner.Draw(t, "next")}
		}
		return n
	})
	return rapid.OneOf(append(leaves,
		nodes.AsAny(),
		rapid.Map(nodes, func(n node) any { return &n }),
		rapid.SliceOfN(inner, 0, 3).AsAny(),
		rapid.Map(inner, func(v any) any { return [1]any{v} }),
		rapid.Map(inner, func(v any) any { return &v }),
		rapid.Map(inner, func(v any) any { return holder{v} }),
		rapid.MapOfN(str(), inner, 0, 3).AsAny(),
		rapid.MapOfN(key(), inner, 0, 3).AsAny(),
	)...)
}

// mutated returns a list that differs from list in little or nothing.
func mutated(t *rapid.T, list []any) []any {
	list = slices.Clone(list)
	if len(list) == 0 {
		return list
	}
	i := rapid.IntRange(0, len(list)-1).Draw(t, "i")
	switch v := list[i].(type) {
	case node:
		v.b += word(rapid.SampledFrom([]string{"", `"`}).Draw(t, "more"))
		list[i] = v
	case []any:
		list[i] = append(slices.Clip(v), nil)
	case string:
		list[i] = word(v)
	case int:
		list[i] = int64(v)
	case *int:
		if v != nil {
			n := *v
			list[i] = &n // an equal value at another address
		}
	case map[any]any:
		list[i] = maps.Clone(v)
	}
	return list
}

// same says what [argkey] promises: that a and b have the same type and value.
// It is written out for the types that value generates and hold something of
// which reflect.DeepEqual thinks differently.
func same(a, b any) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	switch a := a.(type) {
	case float64:
		return sameFloat(a, b.(float64))
	case float32:
		return sameFloat(float64(a), float64(b.(float32)))
	case []float64:
		return slices.EqualFunc(a, b.([]float64), sameFloat)
	case time.Time:
		return sameTime(a, b.(time.Time))
	case date:
		return sameTime(time.Time(a), time.Time(b.(date)))
	case node:
		return sameNode(&a, new(b.(node)))
	case *node:
		return sameNode(a, b.(*node))
	case holder:
		return same(a.Any, b.(holder).Any)
	case *any:
		return same(*a, *b.(*any))
	case [1]any:
		return same(a[0], b.([1]any)[0])
	case []any:
		b := b.([]any)
		return (a == nil) == (b == nil) && slices.EqualFunc(a, b, same)
	case map[string]any:
		return maps.EqualFunc(a, b.(map[string]any), same)
	case map[any]any:
		return maps.EqualFunc(a, b.(map[any]any), same)
	default:
		return reflect.DeepEqual(a, b)
	}
}

func sameNode(a, b *node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.A == b.A && a.b == b.b && sameNode(a.next, b.next) && same(a.any, b.any) && sameTime(a.at, b.at)
}

func sameFloat(a, b float64) bool {
	return math.IsNaN(a) && math.IsNaN(b) || a == b && math.Signbit(a) == math.Signbit(b)
}

// The text keeps to one line and to printable characters, so that keys can be
// logged.
func TestTextIsPrintable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := text(t, value(2).Draw(rt, "v"))
		if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
			rt.Fatalf("%q has a control character at %d", s, i)
		}
	})
}
