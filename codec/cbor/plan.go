package cbor

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// plan says what is known about the values of a type before one is seen: whether
// they can be stored at all, and where in them something has to be looked at. It
// is made once per type; most types need no look, and their values cost a lookup.
type plan struct {
	typ   reflect.Type
	shape shape

	// refusal says why no value of the type can be stored, or is empty.
	refusal string

	// look means that a value of the type may be refused for what is in it.
	look bool

	// odd means that a value of the type can be stored, but that a decoder that
	// was told nothing of the type, only "any", might refuse it.
	odd bool

	// null means that some value of the type is written as null.
	null bool

	elem   *plan  // of a pointer, a list, a dict
	key    *plan  // of a dict
	fields []step // of a record
}

// step leads from a record to a field, by way of embedded structs.
type step struct {
	path []int
	plan *plan
}

// shape is how the walk goes through a value.
type shape uint8

const (
	leaf    shape = iota // nothing to look at
	clock                // time.Time
	foreign              // writes its own CBOR
	pointer
	list // slice or array
	dict // map
	record
	anything // interface
)

// plans caches every plan by its reflect.Type. A program has few types, so it is
// never emptied.
var plans sync.Map

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	b := builder{plans: map[reflect.Type]*plan{}, open: map[*plan]bool{}}
	p := b.plan(t)
	b.spread()
	// Published together: until now another goroutine could have met a half
	// of a recursive type. Two that do the same work agree on the result.
	for t, p := range b.plans {
		plans.Store(t, p)
	}
	return p
}

// builder makes the plans of a type and of all that it is made of.
type builder struct {
	plans map[reflect.Type]*plan
	order []*plan        // as they were met
	open  map[*plan]bool // those that are being made
}

func (b *builder) plan(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if p, ok := b.plans[t]; ok {
		// To come back to a type that is not finished means that its values can
		// contain themselves. Every cycle of types has such a place.
		p.look = p.look || b.open[p]
		return p
	}
	p := &plan{typ: t, null: writtenAsNull(t)}
	b.plans[t] = p
	b.order = append(b.order, p)
	b.open[p] = true
	b.fill(p)
	delete(b.open, p)
	return p
}

var (
	tagType = reflect.TypeFor[cbor.Tag]()
	anyType = reflect.TypeFor[any]()
)

// fill finds the shape of p. The order of the cases is that of the library.
func (b *builder) fill(p *plan) {
	t := p.typ
	switch {
	case t.Kind() == reflect.Pointer:
		b.fillPointer(p)
	case t == tagType:
		p.shape = foreign
		p.fields = []step{{path: []int{1}, plan: b.plan(anyType)}}
	case t == timeType:
		p.shape, p.look = clock, true
	case methodOf(t) != nil:
		p.refusal = refusalOfMethods(t)
		if methodOf(t).name == "MarshalCBOR" {
			p.shape, p.look = foreign, true
		}
	default:
		p.refusal = refusalOfMethods(t)
		b.fillByKind(p)
	}
}

// writtenAsNull reports whether t has a value that becomes null. It is found
// without the plans of what t is made of, which may not be finished.
func writtenAsNull(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return methodOf(t) == nil
	}
	return t == timeType
}

func (b *builder) fillPointer(p *plan) {
	p.shape = pointer
	for seen, e := map[reflect.Type]bool{}, p.typ; e.Kind() == reflect.Pointer; e = e.Elem() {
		if seen[e] {
			p.refusal = fmt.Sprintf("%v points to itself only", p.typ)
			return
		}
		seen[e] = true
	}
	p.elem = b.plan(p.typ.Elem())
	p.look = p.look || p.elem.null
}

func (b *builder) fillByKind(p *plan) {
	t := p.typ
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr, reflect.UnsafePointer:
		p.refusal = fmt.Sprintf("there is no encoding for %v", t)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return // a byte string, whatever methods the element has
		}
		p.shape, p.elem = list, b.plan(t.Elem())
	case reflect.Map:
		p.shape, p.key, p.elem = dict, b.plan(t.Key()), b.plan(t.Elem())
		p.odd = t.Key().Kind() != reflect.String || methodOf(t.Key()) != nil
	case reflect.Struct:
		p.shape = record
		b.fillRecord(p)
	case reflect.Interface:
		p.shape, p.look = anything, true
	}
}

// spread passes on to every type what is true of a part of it, until nothing
// changes any more: recursive types need more than one round.
func (b *builder) spread() {
	for changed := true; changed; {
		changed = false
		for _, p := range b.order {
			p.each(func(part *plan) {
				before := *p
				p.look = p.look || part.look
				p.odd = p.odd || part.odd
				if p.refusal == "" {
					p.refusal = part.refusal
				}
				changed = changed || p.look != before.look || p.odd != before.odd || p.refusal != before.refusal
			})
		}
	}
}

// each calls f for the types of which p is made.
func (p *plan) each(f func(*plan)) {
	if p.key != nil {
		f(p.key)
	}
	if p.elem != nil {
		f(p.elem)
	}
	for _, s := range p.fields {
		f(s.plan)
	}
}
