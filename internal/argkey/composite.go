package argkey

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"
	"unsafe"
)

func (w *writer) composite(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Struct:
		if definedOn(v.Type(), timeType) {
			w.dst = appendTime(w.dst, v.Convert(timeType).Interface().(time.Time))
			return nil
		}
		return w.fields(addressable(v))
	case reflect.Array:
		if ofBytes(v.Type()) {
			return w.bytes(addressable(v).Bytes())
		}
		return w.elements(v)
	case reflect.Slice:
		switch {
		case v.IsNil():
			w.add("nil")
			return nil
		case ofBytes(v.Type()):
			return w.bytes(v.Bytes())
		}
		return w.elements(v)
	case reflect.Map:
		if v.IsNil() {
			w.add("nil")
			return nil
		}
		return w.entries(v)
	default:
		// Not reached: refuse has turned away the type.
		return &refusal{reason: "a " + v.Kind().String() + " cannot be part of a key;"}
	}
}

// addressable returns v, or a copy of it if v cannot be addressed. Elements of
// maps and what an interface holds cannot.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

func (w *writer) fields(v reflect.Value) error {
	w.add("{")
	first := true
	for i, t := 0, v.Type(); i < t.NumField(); i++ {
		f := t.Field(i)
		if f.Name == "_" {
			continue
		}
		if !first {
			w.add(",")
		}
		first = false
		w.add(f.Name, ":")
		field := v.Field(i)
		if !f.IsExported() {
			// The same field without the mark that forbids to read it freely.
			field = reflect.NewAt(f.Type, unsafe.Pointer(field.UnsafeAddr())).Elem()
		}
		if err := w.bare(field); err != nil {
			return within("."+f.Name, err)
		}
	}
	w.add("}")
	return nil
}

func (w *writer) elements(v reflect.Value) error {
	w.add("{")
	for i := range v.Len() {
		if i > 0 {
			w.add(",")
		}
		if err := w.bare(v.Index(i)); err != nil {
			return within(fmt.Sprintf("[%d]", i), err)
		}
	}
	w.add("}")
	return nil
}

// ofBytes reports whether the elements of the slice or array type t are bytes.
func ofBytes(t reflect.Type) bool { return t.Elem().Kind() == reflect.Uint8 }

func (w *writer) bytes(b []byte) error {
	if len(b) > maxLen {
		return ErrTooLarge
	}
	w.dst = appendBytes(w.dst, b)
	return nil
}

// entry is where the text of a key begins and those of key and value end,
// counted from the start of the map.
type entry struct{ key, colon, end int }

// entries writes a map in the order of its keys' texts. Several keys may be NaN,
// and then the values decide.
func (w *writer) entries(v reflect.Value) error {
	if v.Len() > maxLen/len("0:0,") {
		return ErrTooLarge
	}
	w.add("{")
	start := len(w.dst)
	all := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		e := entry{key: len(w.dst) - start}
		if err := w.bare(it.Key()); err != nil {
			return within("[key]", err)
		}
		e.colon = len(w.dst) - start
		w.add(":")
		if err := w.bare(it.Value()); err != nil {
			return within("["+string(w.dst[start:][e.key:e.colon])+"]", err)
		}
		e.end = len(w.dst) - start
		all = append(all, e)
	}
	text := bytes.Clone(w.dst[start:])
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(
			bytes.Compare(text[a.key:a.colon], text[b.key:b.colon]),
			bytes.Compare(text[a.colon:a.end], text[b.colon:b.end]),
		)
	})
	w.dst = w.dst[:start]
	for i, e := range all {
		if i > 0 {
			w.add(",")
		}
		w.dst = append(w.dst, text[e.key:e.end]...)
	}
	w.add("}")
	return nil
}
