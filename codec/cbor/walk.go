package cbor

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"
)

// maxSteps bounds the pointers and interfaces that are followed besides the
// maxLevels of containers, since each of them takes stack, too.
const maxSteps = 8 * maxLevels

// rememberFrom is how many steps a walk takes before it suspects a cycle and
// begins to remember where it is. Values that shallow cost no bookkeeping, and
// those that do go round are found out soon enough.
const rememberFrom = 128

// findings is what a walk learned about a value that may be encoded.
type findings struct {
	// rehearse asks to decode what was encoded, because only that tells whether
	// it can be: an interface holds something odd, a type writes its own CBOR, or
	// the levels below those that were counted might be too many.
	rehearse bool
}

// inspect looks at what the type of v alone does not tell, and returns why v
// cannot be encoded. The library itself must not be given a cyclic value: it
// overflows the stack, which no recover survives.
func inspect(v any) (findings, error) {
	t := reflect.TypeOf(v)
	if t == nil {
		return findings{}, nil
	}
	p := planOf(t)
	if p.refusal != "" {
		return findings{}, errors.New(p.refusal)
	}
	if !p.look {
		return findings{}, nil
	}
	value := reflect.ValueOf(v)
	if p.shape == pointer {
		// The pointer by which a region passes a value is not part of it, so it
		// may well point to a nil slice.
		if value.IsNil() {
			return findings{}, nil
		}
		value, p = value.Elem(), p.elem
	}
	var w walk
	err := w.value(value, p, 0, 0)
	return findings{rehearse: w.rehearse || w.deepest > maxLevels/2}, err
}

// walk goes through one value, only where its plan says that it has to.
type walk struct {
	path     map[place]bool // where the walk is, from rememberFrom on
	deepest  int            // the most levels of containers
	rehearse bool
}

// place is a pointer, a map or a slice on the way to where the walk is.
type place struct {
	typ reflect.Type
	at  unsafe.Pointer
	len int
}

// value walks v. It stands below levels containers, and steps in all.
func (w *walk) value(v reflect.Value, p *plan, levels, steps int) error {
	if !p.look {
		return nil
	}
	if steps > maxSteps {
		return fmt.Errorf("it is nested deeper than %d pointers and interfaces, or cyclic", maxSteps)
	}
	steps++
	switch p.shape {
	case clock:
		return checkTime(v)
	case foreign:
		w.rehearse = true // of its fields, only the content of a cbor.Tag is known
	case pointer:
		if v.IsNil() {
			return nil
		}
		if p.elem.null && isNull(v.Elem()) {
			return fmt.Errorf("a %v that is not nil but points to a nil or zero value would come back as nil", p.typ)
		}
		if err := w.enter(v, 0, steps); err != nil {
			return err
		}
		defer w.leave(v, 0, steps)
		return w.value(v.Elem(), p.elem, levels, steps)
	case anything:
		return w.inside(v, p, levels, steps)
	}
	if levels++; levels > maxLevels {
		return fmt.Errorf("it is nested deeper than %d levels, or cyclic", maxLevels)
	}
	w.deepest = max(w.deepest, levels)
	switch p.shape {
	case list:
		return w.list(v, p, levels, steps)
	case dict:
		return w.dict(v, p, levels, steps)
	}
	return w.record(v, p, levels, steps)
}

// inside walks what the interface v holds.
func (w *walk) inside(v reflect.Value, p *plan, levels, steps int) error {
	if v.IsNil() {
		return nil
	}
	if p.typ.NumMethod() > 0 {
		return fmt.Errorf("a value in a %v cannot be decoded again, because an interface with methods does not tell its type", p.typ)
	}
	switch v.Interface().(type) {
	case bool, string, []byte, int, int32, int64, uint32, uint64, float32, float64:
		return nil // most of what is in a map[string]any; spares the lookup
	}
	v = v.Elem()
	p = planOf(v.Type())
	if p.refusal != "" {
		return errors.New(p.refusal)
	}
	w.rehearse = w.rehearse || p.odd
	return w.value(v, p, levels, steps)
}

func (w *walk) list(v reflect.Value, p *plan, levels, steps int) error {
	if v.Kind() == reflect.Slice {
		if err := w.enter(v, v.Len(), steps); err != nil {
			return err
		}
		defer w.leave(v, v.Len(), steps)
	}
	for i := range v.Len() {
		if err := w.value(v.Index(i), p.elem, levels, steps); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) dict(v reflect.Value, p *plan, levels, steps int) error {
	if err := w.enter(v, 0, steps); err != nil {
		return err
	}
	defer w.leave(v, 0, steps)
	if p.key.shape == anything {
		w.rehearse = true // what two keys have in common is seen only when encoded
	}
	// One variable each, rather than a new one per entry.
	key, elem := reflect.New(p.typ.Key()).Elem(), reflect.New(p.typ.Elem()).Elem()
	for entries := v.MapRange(); entries.Next(); {
		key.SetIterKey(entries)
		if err := w.value(key, p.key, levels, steps); err != nil {
			return err
		}
		elem.SetIterValue(entries)
		if err := w.value(elem, p.elem, levels, steps); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) record(v reflect.Value, p *plan, levels, steps int) error {
fields:
	for _, s := range p.fields {
		if !s.plan.look {
			continue
		}
		f := v
		for _, i := range s.path {
			if f.Kind() == reflect.Pointer {
				if f.IsNil() {
					continue fields
				}
				f = f.Elem()
			}
			f = f.Field(i)
		}
		if err := w.value(f, s.plan, levels, steps); err != nil {
			return err
		}
	}
	return nil
}

// enter puts v, a pointer, a map or a slice of length n, on the path, and refuses
// it if it is there already.
func (w *walk) enter(v reflect.Value, n, steps int) error {
	if steps < rememberFrom {
		return nil
	}
	here := place{v.Type(), v.UnsafePointer(), n}
	if w.path[here] {
		return fmt.Errorf("it is cyclic: a %v contains itself", v.Type())
	}
	if w.path == nil {
		w.path = map[place]bool{}
	}
	w.path[here] = true
	return nil
}

// leave takes v off the path.
func (w *walk) leave(v reflect.Value, n, steps int) {
	if steps >= rememberFrom {
		delete(w.path, place{v.Type(), v.UnsafePointer(), n})
	}
}

// isNull reports whether v, of a nullable type, is written as null.
func isNull(v reflect.Value) bool {
	if v.Type() == timeType {
		return timeIn(v).IsZero()
	}
	return v.IsNil()
}
