package region

import (
	"reflect"
	"sync"
	"time"
)

// isFlat reports whether a copy of a value of type t shares nothing with it that
// anybody could change.
func isFlat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return isFlat(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return true // nobody can change its location
		}
		for i := range t.NumField() {
			if !isFlat(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return false
}

// decoding is what the payload of a flight becomes for its waiters: of a flat type,
// one decoding for all of them, of another type one for each. A herd whose callers
// all decode the same spends most of its time on that.
type decoding struct {
	once  sync.Once
	value any
	err   error
}

func (d *decoding) of(st *state, vt *valueType, payload []byte) (any, error) {
	if d == nil || !vt.flat {
		return st.decode(vt, payload)
	}
	d.once.Do(func() { d.value, d.err = st.decode(vt, payload) })
	return d.value, d.err
}
