package memory

import (
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

const (
	// overhead is what an entry takes besides the bytes of its key and value:
	// otter's node, its share of the hash table and of the eviction policy, and
	// the Entry itself. TestOverhead measures it.
	overhead = 256

	// maxVisits bounds the work of one estimate.
	maxVisits = 10_000

	// mapHeader and mapShare stand for the parts of a Go map that are no keys and
	// values: a fixed one, and one for each element, for control bytes and free
	// slots.
	mapHeader, mapShare = 48, 8

	// tagShare is what a tag takes besides its text: in the entry, and its stamps.
	tagShare = 160
)

// weigh returns what an item counts against Config.MaxBytes. A panic of Config.Weigh
// is returned as an error: it must not end the process from the goroutine of a
// creation.
func (b *Backend) weigh(item *backend.Item) (weight uint32, err error) {
	if b.config.MaxBytes == 0 || item.Entry == nil {
		return 1, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("memory: the value cannot be weighed, because Weigh panicked: %v", r)
		}
	}()
	size := int64(overhead + len(item.Key.Name))
	for _, t := range item.Entry.Tags {
		size += int64(tagShare + len(t.Tag))
	}
	switch value := item.Entry.Value; {
	case b.config.Copy:
		size += int64(len(item.Entry.Data))
	case value == nil:
	case b.config.Weigh != nil:
		size += min(max(0, int64(b.config.Weigh(pointedTo(value)))), math.MaxUint32)
	default:
		size += min(sizeOf(value), math.MaxUint32)
	}
	return uint32(min(size, math.MaxUint32)), nil
}

// pointedTo returns the value that an entry holds a pointer to.
func pointedTo(pointer any) any {
	if v := reflect.ValueOf(pointer); v.Kind() == reflect.Pointer && !v.IsNil() {
		return v.Elem().Interface()
	}
	return pointer
}

// sizeOf estimates the bytes that value takes with all that it refers to; what
// several pointers, slices or maps share is counted once. It looks at 10,000
// parts at most and takes the rest of a slice or map to be like the part of it
// that was seen. What functions and channels hold is not counted. It returns at
// least 1.
func sizeOf(value any) int64 {
	v := reflect.ValueOf(value)
	if !v.IsValid() {
		return 1
	}
	return int64(min(max(1, newSizer().boxed(v)), 1<<62))
}

// sizer is one estimate. Sizes are floating-point numbers, because what is
// extrapolated from hostile values must not overflow.
type sizer struct {
	visits int
	seen   map[part]bool
}

func newSizer() *sizer { return &sizer{visits: maxVisits, seen: map[part]bool{}} }

// part is something that is referred to. The type belongs to it, because a struct
// and its first field have one address.
type part struct {
	address uintptr
	typ     reflect.Type
}

// again reports whether the part at v's address was counted before.
func (s *sizer) again(v reflect.Value) bool {
	p := part{v.Pointer(), v.Type()}
	if p.address == 0 || s.seen[p] {
		return true
	}
	s.seen[p] = true
	return false
}

// boxed returns the bytes behind an interface that holds v.
func (s *sizer) boxed(v reflect.Value) float64 {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return s.behind(v) // is itself the interface's data word
	}
	return float64(v.Type().Size()) + s.behind(v)
}

// behind returns the bytes that v refers to, without those of v itself.
func (s *sizer) behind(v reflect.Value) float64 {
	s.visits--
	if s.visits < 0 || flat(v.Type()) {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return float64(v.Len())
	case reflect.Pointer:
		if s.again(v) {
			return 0
		}
		return float64(v.Type().Elem().Size()) + s.behind(v.Elem())
	case reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return s.boxed(v.Elem())
	case reflect.Slice:
		if s.again(v) {
			return 0
		}
		return float64(v.Cap())*float64(v.Type().Elem().Size()) + s.elements(v)
	case reflect.Array:
		return s.elements(v)
	case reflect.Map:
		if s.again(v) {
			return 0
		}
		return s.table(v)
	case reflect.Struct:
		size := 0.0
		for i := range v.NumField() {
			size += s.behind(v.Field(i))
		}
		return size
	}
	return 0
}

// elements returns what the elements of a slice or an array refer to.
func (s *sizer) elements(v reflect.Value) float64 {
	if flat(v.Type().Elem()) {
		return 0
	}
	size := 0.0
	for i := range v.Len() {
		if s.visits <= 0 && i > 0 {
			return size / float64(i) * float64(v.Len())
		}
		size += s.behind(v.Index(i))
	}
	return size
}

// table returns the bytes of a map and what its keys and values refer to.
func (s *sizer) table(v reflect.Value) float64 {
	key, elem, n := v.Type().Key(), v.Type().Elem(), float64(v.Len())
	size := mapHeader + n*float64(key.Size()+elem.Size()+mapShare)
	if flat(key) && flat(elem) {
		return size
	}
	behind, seen := 0.0, 0.0
	for entries := v.MapRange(); entries.Next(); seen++ {
		if s.visits <= 0 && seen > 0 {
			return size + behind/seen*n
		}
		behind += s.behind(entries.Key()) + s.behind(entries.Value())
	}
	return size + behind
}

// flat reports whether values of type t refer to nothing that counts. A location
// is shared by all times that are in it.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Interface, reflect.Slice, reflect.Map:
		return false
	case reflect.Pointer:
		return t.Elem() == reflect.TypeFor[time.Location]()
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !flat(t.Field(i).Type) {
				return false
			}
		}
	}
	return true
}
