// Package codectest is the suite that every [codec.Codec] passes, those of this
// module and those of its users.
package codectest

import (
	"bytes"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
)

// Run checks that c keeps the contract of [codec.Codec] for the values of [Cases].
// Those that refuses names, by Case.Name, c must refuse with an error that wraps
// [codec.ErrUnsupported]; all others must come back as they were. A nil refuses
// names none. Values that no codec can encode, such as cyclic ones, are always
// among those that must be refused.
func Run(t *testing.T, c codec.Codec, refuses func(name string) bool) {
	t.Helper()
	if name := c.Name(); name == "" || name != c.Name() {
		t.Errorf("the name %q is empty or changes", name)
	}
	for _, tc := range Cases() {
		t.Run(tc.Name, func(t *testing.T) {
			if refuses != nil && refuses(tc.Name) {
				refused(t, c, tc.Value)
				return
			}
			roundTrip(t, c, tc)
		})
	}
	for name, v := range hopeless() {
		t.Run(name, func(t *testing.T) { refused(t, c, v) })
	}
	t.Run("concurrent use", func(t *testing.T) { concurrent(t, c, refuses) })
}

// roundTrip encodes the value of tc, passed as it is and by pointer, behind bytes
// that must stay, and decodes it again.
func roundTrip(t *testing.T, c codec.Codec, tc Case) {
	typ := reflect.TypeOf(tc.Value)
	byPointer := reflect.New(typ)
	byPointer.Elem().Set(reflect.ValueOf(tc.Value))
	for how, v := range map[string]any{"by value": tc.Value, "by pointer": byPointer.Interface()} {
		prefix := []byte("prefix")
		data, err := c.Append(prefix[:len(prefix):len(prefix)], v)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if !bytes.HasPrefix(data, prefix) {
			t.Fatalf("%s: what stood in dst was lost: %q", how, data)
		}
		data = data[len(prefix):]
		into := reflect.New(typ)
		if err := c.Decode(data, into.Interface()); err != nil {
			t.Fatalf("%s: decode %.100q: %v", how, data, err)
		}
		// Nothing of data may be in what was decoded.
		for i := range data {
			data[i] ^= 0xff
		}
		if got := into.Elem().Interface(); !tc.same(got) {
			t.Errorf("%s: came back as %.300v, want %.300v", how, got, tc.Value)
		}
	}
}

// refused checks that c does not encode v, and says so as it should.
func refused(t *testing.T, c codec.Codec, v any) {
	dst := append(make([]byte, 0, 100), "prefix"...)
	got, err := c.Append(dst, v)
	if !errors.Is(err, codec.ErrUnsupported) {
		t.Errorf("Append: %v, want an error that wraps ErrUnsupported", err)
	}
	if string(got) != "prefix" {
		t.Errorf("after the error dst is %.100q, want it as it was", got)
	}
}

func concurrent(t *testing.T, c codec.Codec, refuses func(string) bool) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, tc := range Cases() {
				data, err := c.Append(nil, tc.Value)
				if err != nil {
					if refuses == nil || !refuses(tc.Name) {
						t.Errorf("%s: %v", tc.Name, err)
					}
					continue
				}
				into := reflect.New(reflect.TypeOf(tc.Value))
				if err := c.Decode(data, into.Interface()); err != nil {
					t.Errorf("%s: %v", tc.Name, err)
				} else if !tc.same(into.Elem().Interface()) {
					t.Errorf("%s: came back as %.300v", tc.Name, into.Elem())
				}
			}
		})
	}
	all.Wait()
}
