package dogpilepy_test

import (
	"errors"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/dogpilepy"
)

type (
	words string
	piece []byte
)

func TestRaw(t *testing.T) {
	c := dogpilepy.Raw()
	for _, v := range []any{"a", words("a"), []byte("a"), piece("a"), new(words("a"))} {
		if got, err := c.Append([]byte("x"), v); string(got) != "xa" || err != nil {
			t.Errorf("%T: stored as %q, %v; want the bytes", v, got, err)
		}
	}
	for _, v := range []any{nil, 1, (*string)(nil), []int{1}, [1]byte{1}, struct{}{}} {
		if got, err := c.Append([]byte("x"), v); string(got) != "x" || !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("%T: stored as %q, %v; want ErrUnsupported and what was there", v, got, err)
		}
	}
	data := []byte("a")
	var s words
	var p piece
	if err := errors.Join(c.Decode(data, &s), c.Decode(data, &p)); err != nil || s != "a" || string(p) != "a" {
		t.Errorf("read %q and %q, %v", s, p, err)
	}
	if p[0] = 'b'; data[0] != 'a' {
		t.Error("what was read shares memory with what is stored")
	}
	if err := c.Decode(nil, &p); err != nil || p == nil || len(p) != 0 {
		t.Errorf("nothing reads as %#v, %v; want what is empty and not nil", p, err)
	}
	for _, into := range []any{nil, new(int), "a", (*string)(nil), new([]int)} {
		if err := c.Decode(data, into); err == nil {
			t.Errorf("read into %T without an error", into)
		}
	}
}
