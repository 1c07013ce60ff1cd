package fill

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Record is what a struct is stored as: the fields that have names.
type Record struct {
	Fields []Field

	// Hidden says that the struct has fields that are not exported and hold something.
	Hidden bool

	// Lost says which exported fields are not among Fields though nothing else stands in
	// their place, and why. It is empty if there are none.
	Lost string

	exact, folded map[string]int // by name, and by name in lower case
}

// Field is a field of a struct, or of one that is embedded in it.
type Field struct {
	Name   string
	Index  []int // for reflect.Value.FieldByIndex
	Type   reflect.Type
	tagged bool
}

// Find returns the field of that name, or else the first one whose name differs in case
// only.
func (r *Record) Find(name string) (Field, bool) {
	i, found := r.exact[name]
	if !found {
		if i, found = r.folded[strings.ToLower(name)]; !found {
			return Field{}, false
		}
	}
	return r.Fields[i], true
}

type recordKey struct {
	typ reflect.Type
	tag string
}

// records caches RecordOf.
var records sync.Map

// RecordOf returns what the struct type t is stored as. A field is named by the tag of that
// name, else by its tag json, else by its own name, and left out if that is "-". Options in
// tags do not count. Embedded structs without a tag are stored as if their fields were those
// of t, as encoding/json does.
func RecordOf(t reflect.Type, tag string) *Record {
	key := recordKey{t, tag}
	if known, ok := records.Load(key); ok {
		return known.(*Record)
	}
	r := &Record{exact: map[string]int{}, folded: map[string]int{}}
	var all []Field
	r.collect(t, tag, nil, []reflect.Type{t}, &all)
	for i, f := range all {
		others := slices.Delete(slices.Clone(all), i, i+1)
		switch at := slices.IndexFunc(others, func(o Field) bool { return hides(o, f) }); {
		case at >= 0 && hides(f, others[at]):
			r.Lost = fmt.Sprintf("it has several fields with the name %q, of which none counts", f.Name)
		case at < 0:
			r.exact[f.Name] = len(r.Fields)
			if low := strings.ToLower(f.Name); !has(r.folded, low) {
				r.folded[low] = len(r.Fields)
			}
			r.Fields = append(r.Fields, f)
		}
	}
	records.Store(key, r)
	return r
}

func has(m map[string]int, name string) bool { _, ok := m[name]; return ok }

// hides reports whether f is not stored because there is o, which has its name: the one
// that is embedded less deep counts, then the one that has a tag. If both are alike neither
// is stored.
func hides(o, f Field) bool {
	if o.Name != f.Name || len(o.Index) > len(f.Index) {
		return false
	}
	return len(o.Index) < len(f.Index) || o.tagged || !f.tagged
}

// collect appends the fields of t, which stands at path, to all. Embedding holds the
// structs on the way there.
func (r *Record) collect(t reflect.Type, tag string, path []int, embedding []reflect.Type, all *[]Field) {
	for i := range t.NumField() {
		f := t.Field(i)
		text := f.Tag.Get(tag)
		if text == "" {
			text = f.Tag.Get("json")
		}
		name, _, _ := strings.Cut(text, ",")
		if text == "-" || f.Name == "_" {
			continue
		}
		embedded := f.Type
		if f.Anonymous && embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		index := append(slices.Clone(path), i)
		switch inline := f.Anonymous && name == "" && embedded.Kind() == reflect.Struct; {
		case inline && (f.IsExported() || f.Type.Kind() == reflect.Struct):
			if !slices.Contains(embedding, embedded) {
				r.collect(embedded, tag, index, append(slices.Clone(embedding), embedded), all)
			}
		case inline:
			r.Hidden = true
			if len(RecordOf(embedded, tag).Fields) > 0 {
				r.Lost = fmt.Sprintf("its %s is an embedded pointer to a struct that is not exported, and could not be set", f.Name)
			}
		case !f.IsExported():
			r.Hidden = r.Hidden || f.Type.Size() > 0
		default:
			if name == "" {
				name = f.Name
			}
			*all = append(*all, Field{name, index, f.Type, text != ""})
		}
	}
}
