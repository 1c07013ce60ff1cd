package region

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/envelope"
	"github.com/dogpile-go/dogpile/internal/schema"
)

// A value travels through the region as a pointer to it, in an any: the pointer's
// type tells values of different types apart even where they are interfaces, and
// nil is a value like any other.

// valueType is what the region has to know of the type T of its values.
type valueType struct {
	typ    reflect.Type // T
	schema uint64

	flat  bool                        // a copy of a T shares nothing that could be changed
	is    func(value any) bool        // value is a *T
	fresh func() any                  // new(T)
	plain func(value any) (boxed any) // the T that value points to
}

var valueTypes sync.Map // reflect.Type of T → *valueType

// typeOf returns what there is to know of T.
func typeOf[T any]() *valueType {
	typ := reflect.TypeFor[T]()
	if known, ok := valueTypes.Load(typ); ok {
		return known.(*valueType)
	}
	known, _ := valueTypes.LoadOrStore(typ, &valueType{
		typ:    typ,
		schema: schema.Fingerprint(typ),
		flat:   isFlat(typ),
		is:     func(value any) bool { _, ok := value.(*T); return ok },
		fresh:  func() any { return new(T) },
		plain:  func(value any) any { return *value.(*T) },
	})
	return known.(*valueType)
}

// errOtherType says that what is stored is of another type than what is asked for.
var errOtherType = errors.New("the stored value is of another type than the one asked for")

// encode makes the bytes under which a value is stored at a key; of is not nil for a
// variant.
func (st *state) encode(key backend.Key, of *mainEntry, e *backend.Entry, vt *valueType, value any) (data []byte, err error) {
	if st.Interop != nil {
		return st.encodeShared(e, vt, value)
	}
	buf := envelope.Begin(nil, envelope.Header{
		Codec:      st.codecID,
		Schema:     vt.schema,
		Created:    e.Created,
		Cost:       e.Cost,
		Expiration: e.Expiration,
		NotFound:   e.NotFound,
		Stamps:     e.Stamps,
		Tags:       e.Tags,
		Nonce:      1 + rand.Uint32N(envelope.MostNonce),
	}, key)
	if of != nil {
		buf = append(buf, of.id[:]...)
	}
	if !e.NotFound {
		if buf, err = appendValue(st.Codec, buf, value); err != nil {
			return nil, fmt.Errorf("%w: %v as %s: %w", ErrEncode, vt.typ, st.Codec.Name(), err)
		}
	}
	return envelope.Finish(buf, 0), nil
}

// appendValue is c.Append with a panic of the value's own methods as an error.
func appendValue(c codec.Codec, dst []byte, value any) (_ []byte, err error) {
	defer recovered(&err)
	return c.Append(dst, value)
}

// decode makes a value of its payload.
func (st *state) decode(vt *valueType, payload []byte) (value any, err error) {
	defer recovered(&err)
	value = vt.fresh()
	if err := st.Codec.Decode(payload, value); err != nil {
		return nil, fmt.Errorf("decode %s into %v: %w", st.Codec.Name(), vt.typ, err)
	}
	return value, nil
}

// recovered turns a panic into the error of the function that deferred it.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}
