package raw_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/codectest"
	"github.com/dogpile-go/dogpile/codec/raw"
)

func TestContract(t *testing.T) {
	codectest.Run(t, raw.New(), func(name string) bool {
		return !strings.HasPrefix(name, "bytes/") && !strings.HasPrefix(name, "string/")
	})
}

// The format is a contract with values that are stored already.
func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{"", "\x01"},
		{"text", "\x01text"},
		{[]byte(nil), "\x00"},
		{[]byte{}, "\x01"},
		{[]byte("\x00"), "\x01\x00"},
		{new([]byte), "\x00"},
		{new(string), "\x01"},
	} {
		got, err := raw.New().Append([]byte("dst"), c.v)
		if err != nil || string(got) != "dst"+c.want {
			t.Errorf("%T %v became %q, %v, want %q", c.v, c.v, got, err, "dst"+c.want)
		}
	}
}

func TestBytesAreCopied(t *testing.T) {
	v := []byte("value")
	data, err := raw.New().Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	v[0] = 'X'
	var got []byte
	if err := raw.New().Decode(data, &got); err != nil || string(got) != "value" {
		t.Errorf("%q, %v: the stored bytes follow the value", got, err)
	}
	data[1] = 'Y'
	if string(got) != "value" {
		t.Errorf("%q: the value follows the stored bytes", got)
	}
}

func TestUnsupported(t *testing.T) {
	s := "s"
	p := &s
	for _, v := range []any{nil, 1, (*string)(nil), (*[]byte)(nil), &p, [2]byte{}, []string{}, struct{}{}} {
		got, err := raw.New().Append([]byte("dst"), v)
		if !errors.Is(err, codec.ErrUnsupported) || !strings.Contains(err.Error(), "use codec/cbor") || string(got) != "dst" {
			t.Errorf("%T: %q, %v", v, got, err)
		}
	}
	for _, into := range []any{nil, "", []byte{}, (*string)(nil), new(int), new([]string), &p} {
		if err := raw.New().Decode([]byte("\x01x"), into); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("into %T: %v, want an error that wraps ErrUnsupported", into, err)
		}
	}
}

func TestForeignBytes(t *testing.T) {
	for _, data := range []string{"", "\x00\x00", "\x00x", "\x02", "text", "\xff\xff"} {
		var b []byte
		if err := raw.New().Decode([]byte(data), &b); err == nil {
			t.Errorf("%q was read as bytes %q", data, b)
		}
		var s string
		if err := raw.New().Decode([]byte(data), &s); err == nil {
			t.Errorf("%q was read as text %q", data, s)
		}
	}
	var s string
	if err := raw.New().Decode([]byte{0}, &s); err == nil {
		t.Error("a nil slice was read as text")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("\x01bytes"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v []byte
		if raw.New().Decode(data, &v) != nil {
			return
		}
		if again, err := raw.New().Append(nil, v); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q was read as %q, which is stored as %q, %v", data, v, again, err)
		}
	})
}
