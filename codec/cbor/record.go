package cbor

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// fillRecord finds the fields of a struct that the library encodes, those of
// embedded structs among them.
func (b *builder) fillRecord(p *plan) {
	found := b.collect(p, p.typ, nil, []reflect.Type{p.typ})
	if found.stored == 0 && found.hidden > 0 && p.refusal == "" {
		p.refusal = fmt.Sprintf("%v has only unexported fields, which cannot be stored; "+
			"export them or give it MarshalBinary and UnmarshalBinary", p.typ)
	}
}

// tally counts the fields of a struct.
type tally struct {
	stored int // encoded
	hidden int // unexported, and holding something
}

// collect appends the fields of t, which stands at path in p, to p. Embedding
// holds the structs from p to t.
func (b *builder) collect(p *plan, t reflect.Type, path []int, embedding []reflect.Type) (found tally) {
	refuse := func(f reflect.StructField, format string, args ...any) {
		if p.refusal == "" {
			p.refusal = fmt.Sprintf("%v.%s ", t, f.Name) + fmt.Sprintf(format, args...)
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			continue
		}
		embedded := embeddedStruct(f)
		if embedded == nil && !f.IsExported() {
			if f.Type.Size() > 0 {
				found.hidden++
			}
			continue
		}
		tag, isJSON := f.Tag.Get("cbor"), false
		if tag == "" {
			tag, isJSON = f.Tag.Get("json"), true
		}
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
			if isJSON && f.IsExported() && f.Type.Size() > 0 {
				refuse(f, `is hidden by its tag json:"-"; add cbor:"%s" to store it or cbor:"-" to leave it out`, f.Name)
			}
		case embedded != nil && name == "":
			if f.Type.Kind() == reflect.Pointer && !f.IsExported() {
				refuse(f, "is an embedded pointer to an unexported struct, which cannot be decoded")
			}
			if slices.Contains(embedding, embedded) {
				continue // as the library does
			}
			within := b.collect(p, embedded, at(path, i), append(embedding, embedded))
			if within.stored == 0 && within.hidden > 0 && methodOf(embedded) != nil {
				refuse(f, "is embedded, so that the methods of %v are not used; give it a name", embedded)
			}
			found.stored += within.stored
			found.hidden += within.hidden
		default:
			found.stored++
			if hasOption(options, "keyasint") {
				p.odd = true
			}
			p.fields = append(p.fields, step{path: at(path, i), plan: b.plan(f.Type)})
		}
	}
	return found
}

// embeddedStruct returns the struct type that f embeds, by value or by pointer,
// or nil.
func embeddedStruct(f reflect.StructField) reflect.Type {
	if !f.Anonymous {
		return nil
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

func at(path []int, i int) []int { return append(slices.Clone(path), i) }

func hasOption(options, name string) bool {
	return slices.Contains(strings.Split(options, ","), name)
}
