package encrypt_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/codec/codectest"
	"github.com/dogpile-go/dogpile/codec/compress"
	"github.com/dogpile-go/dogpile/codec/encrypt"
	"github.com/dogpile-go/dogpile/codec/json"
	"github.com/dogpile-go/dogpile/codec/raw"
)

// secret returns a key that is another one for each n.
func secret(n byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i) * (2*n + 1)
	}
	b[0] = n
	return b
}

// keys returns keys with these ids, of which the first is the current one.
func keys(ids ...string) encrypt.Keys {
	k := encrypt.Keys{Current: ids[0], Keys: map[string][]byte{}}
	for _, id := range ids {
		k.Keys[id] = secret(id[0])
	}
	return k
}

func open(t testing.TB, inner codec.Codec, k encrypt.Keys) codec.Codec {
	t.Helper()
	c, err := encrypt.AESGCM(inner, k)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(t testing.TB, c codec.Codec, v any) []byte {
	t.Helper()
	data, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestContract(t *testing.T) {
	codectest.Run(t, open(t, cbor.New(), keys("a", "b")), func(name string) bool { return name == "complex" })
}

func TestNothingIsReadable(t *testing.T) {
	c := open(t, raw.New(), keys("id"))
	v := bytes.Repeat([]byte("readable"), 100)
	// The buffer is large enough for the codec to work in place, or it is not.
	for _, room := range []int{0, 10, 800, 10_000} {
		dst := append(make([]byte, 0, 3+room), "dst"...)
		out, err := c.Append(dst, v)
		if err != nil || !bytes.HasPrefix(out, []byte("dst\x01\x02id")) || len(out) != 3+4+28+801 {
			t.Fatalf("%.20q, %d bytes, %v, want dst, the head, nonce, tag and 801 bytes", out, len(out), err)
		}
		if bytes.Contains(out, []byte("read")) || bytes.Contains(out, []byte("able")) {
			t.Errorf("with room for %d bytes the value can be read", room)
		}
		var got []byte
		if err := c.Decode(out[3:], &got); err != nil || !bytes.Equal(got, v) {
			t.Errorf("%.20q, %v came back", got, err)
		}
	}
}

func TestNoncesAreRandom(t *testing.T) {
	c := open(t, raw.New(), keys("id"))
	seen := map[string]bool{}
	for range 1000 {
		seen[string(encode(t, c, "value")[4:16])] = true
	}
	if len(seen) != 1000 {
		t.Errorf("1000 values have %d nonces", len(seen))
	}
	if bytes.Equal(encode(t, c, "value")[16:], encode(t, c, "value")[16:]) {
		t.Error("a value is encrypted to the same bytes each time")
	}
}

// The format is a contract with values that are stored already.
func TestFormat(t *testing.T) {
	c := open(t, raw.New(), encrypt.Keys{Current: "2026-11", Keys: map[string][]byte{"2026-11": []byte("0123456789abcdef0123456789abcdef")}})
	// Made with crypto/cipher's plain GCM and the nonce "nonce of 12!".
	const stored = "0107323032362d31316e6f6e6365206f6620313221b6c676fad1b7e429117522" +
		"5bce7f65436cf9da8ff29c00c373ac1506ef8cf0a60ae6715f0021de05817fed" +
		"b79e"
	data, err := hex.DecodeString(stored)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := c.Decode(data, &got); err != nil || got != "a value of the first release" {
		t.Errorf("%q, %v: it cannot be read any more", got, err)
	}
}

func TestRotation(t *testing.T) {
	before, during, after := keys("old"), keys("old", "new"), keys("new", "old")
	at := []encrypt.Keys{before, during, after, keys("new")}
	for i, writes := range at {
		data := encode(t, open(t, cbor.New(), writes), "value")
		for j, reads := range at {
			var got string
			err := open(t, cbor.New(), reads).Decode(data, &got)
			if reads.Keys[writes.Current] != nil {
				if err != nil || got != "value" {
					t.Errorf("step %d does not read what step %d has written: %q, %v", j, i, got, err)
				}
			} else if !errors.Is(err, encrypt.ErrUnknownKey) || !strings.Contains(err.Error(), writes.Current) || got != "" {
				t.Errorf("step %d reads what step %d has written: %q, %v, want ErrUnknownKey and the id", j, i, got, err)
			}
		}
	}
}

func TestWhatIsNotAuthentic(t *testing.T) {
	c := open(t, cbor.New(), keys("a", "b"))
	data := encode(t, c, "value")
	refused := func(what string, c codec.Codec, data []byte, want error) {
		t.Helper()
		var got string
		if err := c.Decode(data, &got); !errors.Is(err, want) || got != "" {
			t.Errorf("%s: %q, %v, want %v", what, got, err, want)
		}
	}
	for n := range data {
		refused(fmt.Sprintf("the first %d bytes", n), c, data[:n], encrypt.ErrNotAuthentic)
	}
	refused("a byte more", c, append(bytes.Clone(data), 0), encrypt.ErrNotAuthentic)
	for at := range data {
		for bit := range 8 {
			changed := bytes.Clone(data)
			changed[at] ^= 1 << bit
			var got string
			err := c.Decode(changed, &got)
			if !errors.Is(err, encrypt.ErrNotAuthentic) && !errors.Is(err, encrypt.ErrUnknownKey) || got != "" {
				t.Fatalf("bit %d of byte %d was changed: %q, %v", bit, at, got, err)
			}
		}
	}
	other := keys("a", "b")
	other.Keys["a"] = secret('x')
	refused("another key of the same id", open(t, cbor.New(), other), data, encrypt.ErrNotAuthentic)
	same := keys("b")
	same.Keys["b"] = secret('a')
	moved := bytes.Clone(data)
	moved[2] = 'b'
	refused("another id of the same key", open(t, cbor.New(), same), moved, encrypt.ErrNotAuthentic)
	refused("another codec", open(t, json.New(), keys("a")), data, encrypt.ErrNotAuthentic)
	zstd, err := compress.Zstd(cbor.New(), compress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	refused("with compression", open(t, zstd, keys("a")), data, encrypt.ErrNotAuthentic)
	plain := encode(t, cbor.New(), strings.Repeat("long", 100))
	refused("not encrypted", c, plain, encrypt.ErrNotAuthentic)
	refused("no id", c, append([]byte{1, 0}, data[3:]...), encrypt.ErrUnknownKey)
	refused("the longest id", c, append([]byte{1, 255}, make([]byte, 300)...), encrypt.ErrUnknownKey)
}

func TestKeysMayBeOverwritten(t *testing.T) {
	k := keys("a")
	c := open(t, raw.New(), k)
	data := encode(t, c, "value")
	clear(k.Keys["a"])
	delete(k.Keys, "a")
	var got string
	if err := c.Decode(data, &got); err != nil || got != "value" {
		t.Errorf("%q, %v: the codec holds on to what it was given", got, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := open(t, raw.New(), keys("a", "b"))
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			v := bytes.Repeat([]byte{byte(i)}, 1000*i)
			for range 200 {
				var got []byte
				if err := c.Decode(encode(t, c, v), &got); err != nil || !bytes.Equal(got, v) {
					t.Errorf("%d came back as %.10v, %v", i, got, err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzDecode(f *testing.F) {
	c := open(f, raw.New(), keys("a", "b"))
	for _, v := range []string{"", "value", strings.Repeat("x", 1000)} {
		f.Add(encode(f, c, v))
	}
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		var v []byte
		if c.Decode(data, &v) != nil {
			return
		}
		// The fuzzer has the seeds and does not know the keys, so it is one of them.
		if s := string(v); s != "" && s != "value" && s != strings.Repeat("x", 1000) {
			t.Errorf("%q was read as %q", data, v)
		}
	})
}

func BenchmarkEncrypt(b *testing.B) {
	c := open(b, raw.New(), keys("2026-11", "2026-10"))
	for _, size := range []int{100, 4 << 10, 64 << 10} {
		v := make([]byte, size)
		data := encode(b, c, v)
		dst := make([]byte, 0, size+100)
		b.Run(fmt.Sprintf("append/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := c.Append(dst, v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("decode/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				var got []byte
				if err := c.Decode(data, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
