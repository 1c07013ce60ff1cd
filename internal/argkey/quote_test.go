package argkey_test

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/internal/argkey"
)

// Whatever the string, it can be read back from its text, also when other text
// follows.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a b", `"`, `\`, `","`, "\x00", "\x7f", "\x80", "\u0080", "\ufffd", "\xff\xfe", "Zürich", "日本", "\u2028", `\x80`, "0x"} {
		f.Add(s)
	}
	encode, err := argkey.For[string]()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		dst, err := encode(nil, s)
		if err != nil {
			return // larger than a key may be
		}
		quoted, err := strconv.QuotedPrefix(string(dst) + `"),`)
		if err != nil || quoted != string(dst) {
			t.Fatalf("the text %s of %q ends early: %s, %v", dst, s, quoted, err)
		}
		if back, err := strconv.Unquote(quoted); err != nil || back != s {
			t.Fatalf("the text %s of %q reads %q, %v", dst, s, back, err)
		}

		inner := strings.TrimSuffix(strings.TrimPrefix(text(t, []byte(s)), "([]byte("), "))")
		if digits, ok := strings.CutPrefix(inner, "0x"); ok {
			if back, err := hex.DecodeString(digits); err != nil || string(back) != s {
				t.Fatalf("the bytes %q have the text %s", s, inner)
			}
		} else if inner != string(dst) {
			t.Fatalf("the bytes %q have the text %s", s, inner)
		}
	})
}
