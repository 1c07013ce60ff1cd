// Package fill puts values that a program in another language has stored into variables of
// Go types, as encoding/json does, but refuses what would come out as something else.
//
// A decoder makes a tree of them first, of nil, bool, int64, uint64, *big.Int, float64,
// string, time.Time, [Bytes], [*List] and [*Dict].
package fill

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"time"
)

// Bytes are bytes of the data that is decoded. They are copied into variables.
type Bytes []byte

// List is a list, or what else has items in an order.
type List struct {
	Items []any
	Tuple bool // for the decoder
	Note
}

// Dict has keys and values in turns. Of two equal keys the last one counts.
type Dict struct {
	Pairs []any
	Note
}

// Note has room for what the decoder notes of a container.
type Note struct{ Weight, Levels int }

// maxPointers bounds the pointers that are followed in a row. Some types point to
// themselves.
const maxPointers = 64

// Into puts tree into what into points to, which is a fresh zero value. Fields of structs
// are found by the tag of that name, see [RecordOf]. The depth of tree is for the caller to
// bound. Strings and numbers of the tree may be shared with the variable, and nothing else.
func Into(into any, tree any, tag string) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("%T is not a pointer to a variable", into)
	}
	f := filler{tag}
	return f.fill(v.Elem(), tree, 0)
}

type filler struct{ tag string }

var (
	bigInt  = reflect.TypeFor[big.Int]()
	instant = reflect.TypeFor[time.Time]()
	fromStr = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// fill puts x into v. It has followed that many pointers to get there.
func (f filler) fill(v reflect.Value, x any, pointers int) error {
	t := v.Type()
	if x == nil {
		switch t.Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
			v.SetZero()
			return nil
		}
		return mismatch(x, t)
	}
	if text, ok := x.(string); ok && t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(fromStr) {
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	switch t.Kind() {
	case reflect.Pointer:
		if pointers++; pointers > maxPointers {
			return fmt.Errorf("%v has more than %d pointers in a row", t, maxPointers)
		}
		p := reflect.New(t.Elem())
		if err := f.fill(p.Elem(), x, pointers); err != nil {
			return err
		}
		v.Set(p.Convert(t))
		return nil
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return mismatch(x, t)
		}
		value, err := anyOf(x)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(value))
		return nil
	}
	switch x := x.(type) {
	case bool:
		if t.Kind() == reflect.Bool {
			v.SetBool(x)
			return nil
		}
	case string:
		if t.Kind() == reflect.String {
			v.SetString(x)
			return nil
		}
	case int64, uint64, *big.Int:
		return integer(v, x)
	case float64:
		if t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64 {
			if v.OverflowFloat(x) {
				return fmt.Errorf("%v does not fit into %v", x, t)
			}
			v.SetFloat(x)
			return nil
		}
	case time.Time:
		if t == instant {
			v.Set(reflect.ValueOf(x))
			return nil
		}
	case Bytes:
		return bytesInto(v, x)
	case *List:
		return f.list(v, x)
	case *Dict:
		switch {
		case t.Kind() == reflect.Map:
			return f.dict(v, x)
		case t.Kind() == reflect.Struct && t != instant && t != bigInt:
			return f.record(v, x)
		}
	}
	return mismatch(x, t)
}

// integer puts an integer into a number that holds exactly it.
func integer(v reflect.Value, x any) error {
	n, isBig := x.(*big.Int)
	if v.Type() == bigInt {
		switch x := x.(type) {
		case int64:
			v.Addr().Interface().(*big.Int).SetInt64(x)
		case uint64:
			v.Addr().Interface().(*big.Int).SetUint64(x)
		default:
			v.Addr().Interface().(*big.Int).Set(n)
		}
		return nil
	}
	signed, isSigned := x.(int64)
	unsigned, isUnsigned := x.(uint64)
	switch {
	case isUnsigned && unsigned <= math.MaxInt64:
		signed, isSigned = int64(unsigned), true
	case isBig && n.IsInt64():
		signed, isSigned = n.Int64(), true
	case isBig && n.IsUint64():
		unsigned, isUnsigned = n.Uint64(), true
	case isSigned && signed >= 0:
		unsigned, isUnsigned = uint64(signed), true
	}
	if isSigned && signed >= 0 {
		unsigned, isUnsigned = uint64(signed), true
	}
	fits := false
	switch t := v.Type(); t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if fits = isSigned && !v.OverflowInt(signed); fits {
			v.SetInt(signed)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if fits = isUnsigned && !v.OverflowUint(unsigned); fits {
			v.SetUint(unsigned)
		}
	case reflect.Float32, reflect.Float64:
		exact := new(big.Int)
		switch {
		case isSigned:
			exact.SetInt64(signed)
		case isUnsigned:
			exact.SetUint64(unsigned)
		default:
			exact = n
		}
		// 1,100 bits are more than any float has, and are not worth the work.
		if exact.BitLen() < 1100 {
			near, _ := new(big.Float).SetInt(exact).Float64()
			if t.Kind() == reflect.Float32 {
				near = float64(float32(near))
			}
			if !math.IsInf(near, 0) {
				back, _ := big.NewFloat(near).Int(nil)
				if fits = back.Cmp(exact) == 0; fits {
					v.SetFloat(near)
				}
			}
		}
	default:
		return mismatch(x, v.Type())
	}
	if !fits {
		return fmt.Errorf("an integer does not fit into %v", v.Type())
	}
	return nil
}

func bytesInto(v reflect.Value, x Bytes) error {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		v.Set(reflect.MakeSlice(t, len(x), len(x)))
	case t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8:
		if t.Len() != len(x) {
			return fmt.Errorf("%d bytes do not fit into %v", len(x), t)
		}
	default:
		return mismatch(x, t)
	}
	copy(v.Slice(0, len(x)).Bytes(), x)
	return nil
}

func (f filler) list(v reflect.Value, x *List) error {
	t := v.Type()
	switch t.Kind() {
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, len(x.Items), len(x.Items)))
	case reflect.Array:
		if t.Len() != len(x.Items) {
			return fmt.Errorf("%d items do not fit into %v", len(x.Items), t)
		}
	default:
		return mismatch(x, t)
	}
	for i, item := range x.Items {
		if err := f.fill(v.Index(i), item, 0); err != nil {
			return err
		}
	}
	return nil
}

func (f filler) dict(v reflect.Value, x *Dict) error {
	t := v.Type()
	m := reflect.MakeMapWithSize(t, len(x.Pairs)/2)
	// SetMapIndex copies both.
	key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
	for i := 0; i < len(x.Pairs); i += 2 {
		key.SetZero()
		if err := f.fill(key, x.Pairs[i], 0); err != nil {
			return fmt.Errorf("a key: %w", err)
		}
		if !key.Comparable() {
			return fmt.Errorf("a key is a %s, which cannot be one in Go", kindOf(x.Pairs[i]))
		}
		value.SetZero()
		if err := f.fill(value, x.Pairs[i+1], 0); err != nil {
			return err
		}
		m.SetMapIndex(key, value)
	}
	v.Set(m)
	return nil
}

// record puts the values of x into the fields of v that have the names of their keys.
// Others are left out, as encoding/json does; so is a name that differs in case where the
// right one is there, too, which encoding/json takes for it if it comes later.
func (f filler) record(v reflect.Value, x *Dict) error {
	r := RecordOf(v.Type(), f.tag)
	var given map[string]bool // of the fields whose own names are there
	for i := 0; i < len(x.Pairs); i += 2 {
		if name, ok := x.Pairs[i].(string); ok {
			if at, found := r.exact[name]; found {
				if given == nil {
					given = make(map[string]bool, len(r.Fields))
				}
				given[r.Fields[at].Name] = true
			}
		}
	}
	for i := 0; i < len(x.Pairs); i += 2 {
		name, ok := x.Pairs[i].(string)
		if !ok {
			return fmt.Errorf("a key is a %s, and %v has names", kindOf(x.Pairs[i]), v.Type())
		}
		field, found := r.Find(name)
		if !found || name != field.Name && given[field.Name] {
			continue
		}
		at := v
		for _, index := range field.Index {
			if at.Kind() == reflect.Pointer {
				if at.IsNil() {
					at.Set(reflect.New(at.Type().Elem()))
				}
				at = at.Elem()
			}
			at = at.Field(index)
		}
		at.SetZero() // of two equal keys the last one counts
		if err := f.fill(at, x.Pairs[i+1], 0); err != nil {
			return fmt.Errorf("%.60q: %w", name, err)
		}
	}
	return nil
}

var errKey = errors.New("a key is a list, a dict or bytes, or a large integer, which cannot be one in an interface value")

// anyOf returns what x is in an interface value: of dicts a map[string]any if all keys are
// strings, and otherwise a map[any]any.
func anyOf(x any) (any, error) {
	switch x := x.(type) {
	case Bytes:
		return append([]byte{}, x...), nil
	case uint64:
		if x <= math.MaxInt64 {
			return int64(x), nil
		}
		return x, nil
	case *big.Int:
		return new(big.Int).Set(x), nil
	case *List:
		items := make([]any, len(x.Items))
		for i, item := range x.Items {
			var err error
			if items[i], err = anyOf(item); err != nil {
				return nil, err
			}
		}
		return items, nil
	case *Dict:
		return anyDict(x)
	case nil, bool, int64, float64, string, time.Time:
		return x, nil
	}
	return nil, fmt.Errorf("a %s cannot be decoded", kindOf(x))
}

func anyDict(x *Dict) (any, error) {
	named := true
	for i := 0; i < len(x.Pairs) && named; i += 2 {
		_, named = x.Pairs[i].(string)
	}
	if named {
		m := make(map[string]any, len(x.Pairs)/2)
		for i := 0; i < len(x.Pairs); i += 2 {
			value, err := anyOf(x.Pairs[i+1])
			if err != nil {
				return nil, err
			}
			m[x.Pairs[i].(string)] = value
		}
		return m, nil
	}
	m := make(map[any]any, len(x.Pairs)/2)
	for i := 0; i < len(x.Pairs); i += 2 {
		switch x.Pairs[i].(type) {
		case nil, bool, int64, uint64, float64, string, time.Time:
		default:
			return nil, errKey
		}
		key, err := anyOf(x.Pairs[i])
		if err != nil {
			return nil, err
		}
		if m[key], err = anyOf(x.Pairs[i+1]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func mismatch(x any, t reflect.Type) error {
	return fmt.Errorf("a %s cannot be put into a Go value of type %v", kindOf(x), t)
}

// kindOf names what x is, for errors.
func kindOf(x any) string {
	switch x.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64, uint64, *big.Int:
		return "integer"
	case float64:
		return "float"
	case string:
		return "string"
	case time.Time:
		return "timestamp"
	case Bytes:
		return "bytes value"
	case *List:
		return "list"
	case *Dict:
		return "dict"
	}
	return "class"
}
