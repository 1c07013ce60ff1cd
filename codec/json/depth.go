package json

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// maxLevels is how deep encoding/json reads arrays and objects. It writes deeper,
// until it overflows the stack (measured: a linked list of a million nodes), which
// ends the process.
const maxLevels = 10_000

// maxSteps bounds the pointers and interfaces that are followed besides.
const maxSteps = 4 * maxLevels

// tooDeep says that v is nested deeper than can be read again. It is nil if not,
// and for what only methods of the value's own types know.
func tooDeep(v any) error {
	t := reflect.TypeOf(v)
	if t == nil || !canNest(t) {
		return nil
	}
	return depthOf(reflect.ValueOf(v), 0, 0)
}

// depthOf walks v the way encoding/json does. A cycle is found like any other
// depth: the walk ends at the first path that is too long.
func depthOf(v reflect.Value, levels, steps int) error {
	if !v.IsValid() || !canNest(v.Type()) {
		return nil
	}
	if steps++; steps > maxSteps {
		return fmt.Errorf("nested deeper than %d pointers and interfaces, or cyclic", maxSteps)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return depthOf(v.Elem(), levels, steps) // of nil that is no value
	}
	if levels++; levels > maxLevels {
		return fmt.Errorf("nested deeper than %d levels, or cyclic", maxLevels)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := depthOf(v.Index(i), levels, steps); err != nil {
				return err
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if err := depthOf(entries.Value(), levels, steps); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !written(v.Type().Field(i)) {
				continue
			}
			if err := depthOf(v.Field(i), levels, steps); err != nil {
				return err
			}
		}
	}
	return nil
}

// written reports whether f, or fields promoted from it, appear in JSON.
func written(f reflect.StructField) bool {
	return (f.IsExported() || f.Anonymous) && f.Tag.Get("json") != "-"
}

// nesting caches canNest by reflect.Type.
var nesting sync.Map

// canNest reports whether a value of type t can be nested without bound: whether
// t leads back to itself or to an interface. Most types cannot, and their values
// are not walked.
func canNest(t reflect.Type) bool {
	if known, ok := nesting.Load(t); ok {
		return known.(bool)
	}
	can := leadsBack(t, map[reflect.Type]bool{})
	nesting.Store(t, can)
	return can
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// leadsBack reports whether t leads to a cycle of types or to an interface. Types
// that are being looked into are true in onPath, those that are done with false.
func leadsBack(t reflect.Type, onPath map[reflect.Type]bool) bool {
	if is, met := onPath[t]; met || t.Kind() == reflect.Interface {
		return is || !met
	}
	if p := reflect.PointerTo(t); p.Implements(jsonMarshaler) || p.Implements(textMarshaler) {
		return false // it writes itself
	}
	onPath[t] = true
	defer func() { onPath[t] = false }()
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return leadsBack(t.Elem(), onPath)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); written(f) && leadsBack(f.Type, onPath) {
				return true
			}
		}
	}
	return false
}
