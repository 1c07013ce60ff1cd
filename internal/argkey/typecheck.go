package argkey

import (
	"context"
	"reflect"
)

var contextType = reflect.TypeFor[context.Context]()

// refuse returns why no value of the static type t can be part of a key, or nil.
func refuse(t reflect.Type) *refusal {
	return typeCheck{}.refuse(t)
}

// typeCheck holds the types seen during a check, as types may be recursive.
type typeCheck map[reflect.Type]bool

func (seen typeCheck) refuse(t reflect.Type) *refusal {
	if seen[t] {
		return nil
	}
	seen[t] = true
	if what := identity(t); what != "" {
		return &refusal{reason: what + " cannot be part of a key;"}
	}
	return seen.refuseParts(t)
}

// identity says what a value of type t is if its content does not tell it from
// others, and "" if it does.
func identity(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Chan:
		return "a channel"
	case reflect.Func:
		return "a function"
	case reflect.UnsafePointer:
		return "an unsafe.Pointer"
	}
	switch path := t.PkgPath(); {
	case path == "sync", path == "sync/atomic":
		return "a value of type " + t.String() // its content may not even be read
	case definedOn(t, locationType):
		return "a time.Location" // two with one name may differ, and it has a cache inside
	case t == contextType:
		return "a context.Context"
	case isContext(t):
		return "a value of type " + t.String() + ", which is a context.Context,"
	}
	return ""
}

// isContext reports whether values of type t, or pointers to them, are contexts.
// A struct that embeds a context is one.
func isContext(t reflect.Type) bool {
	return t.Implements(contextType) ||
		t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(contextType)
}

func (seen typeCheck) refuseParts(t reflect.Type) *refusal {
	switch t.Kind() {
	case reflect.Pointer:
		return seen.refuse(t.Elem())
	case reflect.Slice, reflect.Array:
		// Even [0]func(), which is in a struct to say that its content is not
		// what it is: slog.Value has one and hides a string behind a *byte.
		return seen.refusePart("[]", t.Elem())
	case reflect.Map:
		if r := seen.refusePart("[key]", t.Key()); r != nil {
			return r
		}
		return seen.refusePart("[]", t.Elem())
	case reflect.Struct:
		if definedOn(t, timeType) {
			return nil
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if r := seen.refusePart("."+f.Name, f.Type); r != nil {
				return r
			}
		}
	}
	return nil
}

func (seen typeCheck) refusePart(step string, t reflect.Type) *refusal {
	r := seen.refuse(t)
	if r != nil {
		r.path = step + r.path
	}
	return r
}
