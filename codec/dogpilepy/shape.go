package dogpilepy

import (
	"bytes"
	"encoding"
	stdjson "encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/dogpile-go/dogpile/internal/fill"
)

var (
	fromJSON = reflect.TypeFor[stdjson.Unmarshaler]()
	fromText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// sameShape returns an error for what encoding/json passes over in silence: None where Go
// has no nil, and arrays of another length. data is JSON that was decoded into a t.
func sameShape(data []byte, t reflect.Type) error {
	if !bytes.Contains(data, []byte("null")) && !hasArray(t) {
		return nil
	}
	d := stdjson.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return shapeOf(d, t)
}

// shapeOf compares the next value of d with t.
func shapeOf(d *stdjson.Decoder, t reflect.Type) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token == nil {
		switch t.Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
			return nil
		}
		if reflect.PointerTo(t).Implements(fromJSON) {
			return nil // it reads null in its own way
		}
		return fmt.Errorf("there is None, which a Go value of type %v cannot hold: use a pointer", t)
	}
	open, nested := token.(stdjson.Delim)
	if !nested {
		return nil
	}
	for t.Kind() == reflect.Pointer && !own(t) {
		t = t.Elem() // which ends somewhere, as data was decoded into it
	}
	switch kind := t.Kind(); {
	case own(t):
		return skip(d)
	case open == '[' && (kind == reflect.Slice || kind == reflect.Array):
		return itemsOf(d, t)
	case open == '{' && (kind == reflect.Map || kind == reflect.Struct):
		return fieldsOf(d, t)
	}
	return skip(d)
}

// own reports whether values of t are read by a method of theirs.
func own(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Implements(fromJSON) || t.Implements(fromText) || p.Implements(fromJSON) || p.Implements(fromText)
}

func itemsOf(d *stdjson.Decoder, t reflect.Type) error {
	n := 0
	for ; d.More(); n++ {
		if err := shapeOf(d, t.Elem()); err != nil {
			return err
		}
	}
	if t.Kind() == reflect.Array && n != t.Len() {
		return fmt.Errorf("%d items do not fit into %v", n, t)
	}
	_, err := d.Token()
	return err
}

func fieldsOf(d *stdjson.Decoder, t reflect.Type) error {
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		elem := reflect.TypeFor[any]()
		if t.Kind() == reflect.Map {
			elem = t.Elem()
		} else if name, isText := token.(string); isText {
			if field, found := fill.RecordOf(t, "json").Find(name); found {
				elem = field.Type
			}
		}
		if err := shapeOf(d, elem); err != nil {
			return fmt.Errorf("%.60q: %w", token, err)
		}
	}
	_, err := d.Token()
	return err
}

// skip reads what is left of a list or an object.
func skip(d *stdjson.Decoder) error {
	for levels := 1; levels > 0; {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token {
		case stdjson.Delim('['), stdjson.Delim('{'):
			levels++
		case stdjson.Delim(']'), stdjson.Delim('}'):
			levels--
		}
	}
	return nil
}

// arrays caches hasArray by reflect.Type.
var arrays sync.Map

// hasArray reports whether an array may be in a t.
func hasArray(t reflect.Type) bool {
	if known, ok := arrays.Load(t); ok {
		return known.(bool)
	}
	has := leadsToArray(t, map[reflect.Type]bool{})
	arrays.Store(t, has)
	return has
}

func leadsToArray(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || own(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Array:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return leadsToArray(t.Elem(), seen)
	case reflect.Struct:
		for _, f := range fill.RecordOf(t, "json").Fields {
			if leadsToArray(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
