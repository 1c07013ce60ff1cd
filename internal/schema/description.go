package schema

import (
	"encoding"
	"reflect"
	"strconv"
)

// description spells a type out as text that no other type has. Every name is
// quoted and every list is counted, so that no two structures read alike.
type description struct {
	text []byte

	// seen numbers the types in the order in which they are met. The second
	// mention of a type is its number, which is also what ends recursion.
	seen map[reflect.Type]int
}

// describe returns the canonical text of t.
func describe(t reflect.Type) []byte {
	d := description{seen: map[reflect.Type]int{}}
	d.typ(t)
	return d.text
}

func (d *description) typ(t reflect.Type) {
	if t == nil {
		d.word("nil")
		return
	}
	if n, ok := d.seen[t]; ok {
		d.word("#")
		d.number(n)
		return
	}
	d.seen[t] = len(d.seen)
	d.word(t.Kind().String())
	d.quoted(t.PkgPath())
	d.quoted(t.Name())
	methods := marshalingOf(t)
	d.number(int(methods))
	// A type that goes through text in both directions decides itself what its
	// bytes are, in every codec. Looking at its hidden fields would only tie the
	// fingerprint of time.Time to the release of Go that built the program, and
	// two halves of a fleet could not read each other's values.
	if methods&textPair == textPair {
		return
	}
	d.structure(t)
}

func (d *description) structure(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		d.typ(t.Elem())
	case reflect.Array:
		d.number(t.Len())
		d.typ(t.Elem())
	case reflect.Map:
		d.typ(t.Key())
		d.typ(t.Elem())
	case reflect.Struct:
		d.fields(t)
	case reflect.Interface:
		// Type.Method would give the methods of a named interface too, but one
		// call of it anywhere makes the linker keep every exported method of the
		// whole program (measured: 8.4 to 11.3 MB for a net/http program). No
		// codec decodes into an interface with methods, so their number and, for
		// an unnamed one, its text will do.
		d.number(t.NumMethod())
		if t.Name() == "" {
			d.quoted(t.String())
		}
	case reflect.Chan:
		d.word(t.ChanDir().String())
		d.typ(t.Elem())
	case reflect.Func:
		d.signature(t)
	}
}

func (d *description) fields(t reflect.Type) {
	d.number(t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		d.quoted(f.Name)
		d.quoted(f.PkgPath) // "a" of two packages are two names
		d.quoted(string(f.Tag))
		if f.Anonymous {
			d.word("embedded")
		}
		d.typ(f.Type)
	}
}

func (d *description) signature(t reflect.Type) {
	d.number(t.NumIn())
	for i := range t.NumIn() {
		d.typ(t.In(i))
	}
	if t.IsVariadic() {
		d.word("variadic")
	}
	d.number(t.NumOut())
	for i := range t.NumOut() {
		d.typ(t.Out(i))
	}
}

func (d *description) word(s string)   { d.text = append(append(d.text, s...), ' ') }
func (d *description) quoted(s string) { d.text = append(strconv.AppendQuote(d.text, s), ' ') }
func (d *description) number(n int)    { d.text = append(strconv.AppendInt(d.text, int64(n), 10), ' ') }

// marshaling is the set of methods by which a type brings its own encoding. The
// bits are part of the fingerprint and must never be renumbered.
type marshaling uint8

const textPair marshaling = 1<<0 | 1<<1

var marshalers = [...]reflect.Type{
	0: reflect.TypeFor[encoding.TextMarshaler](),
	1: reflect.TypeFor[encoding.TextUnmarshaler](),
	2: reflect.TypeFor[encoding.BinaryMarshaler](),
	3: reflect.TypeFor[encoding.BinaryUnmarshaler](),
	4: reflect.TypeFor[interface{ MarshalJSON() ([]byte, error) }](),
	5: reflect.TypeFor[interface{ UnmarshalJSON([]byte) error }](),
	6: reflect.TypeFor[interface{ MarshalCBOR() ([]byte, error) }](),
	7: reflect.TypeFor[interface{ UnmarshalCBOR([]byte) error }](),
}

// marshalingOf returns the marshaling methods of t and *t. They belong to the
// fingerprint because a type that gains one is encoded differently from then on.
func marshalingOf(t reflect.Type) marshaling {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return 0 // what is in it counts; a pointer's methods are its element's
	}
	var set marshaling
	pointer := reflect.PointerTo(t)
	for bit, m := range marshalers {
		if pointer.Implements(m) {
			set |= 1 << bit
		}
	}
	return set
}
