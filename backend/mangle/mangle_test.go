package mangle_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/backend/mangle"
)

func TestSHA1IsDogpiles(t *testing.T) {
	// Made by hashlib.sha1(key.encode("utf-8")).hexdigest(), which is sha1_mangle_key.
	for key, want := range map[string]string{
		"":                       "da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"abc":                    "a9993e364706816aba3e25717850c26c9cd0d89d",
		"pkg:func|1 2":           "9ad7c1548988f6f444006a9b3834c6ac7fbd5ef0",
		"é日本語😀":                  "d13f8d2d5beac542b30abee5f6f4c2f2689ed317",
		strings.Repeat("k", 300): "3413fbe006ad15aea62a1f28045806be6e49b709",
	} {
		if got := mangle.SHA1(key); got != want {
			t.Errorf("SHA1(%.20q) = %s, want %s", key, got, want)
		}
	}
}

// length_conditional_mangler mangles what is as long as length, and counts characters.
func TestSHA1FromIsDogpiles(t *testing.T) {
	from5 := mangle.SHA1From(5)
	for key, mangled := range map[string]bool{"": false, "abcd": false, "abcde": true, "abcdef": true, "éééé": false, "日本語": false, "ééééé": true} {
		want := key
		if mangled {
			want = mangle.SHA1(key)
		}
		if got := from5(key); got != want {
			t.Errorf("SHA1From(5)(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestSHA256Over(t *testing.T) {
	f := mangle.SHA256Over(3)
	for key, want := range map[string]string{
		"": "", "abc": "abc", "é": "é",
		"abcd": "sha256-88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589",
		"éé":   "sha256-f13c007a1d8e6e1300b5957a143810cdd3555825466cf5d2617b1ac2fd8bd76b",
	} {
		if got := f(key); got != want {
			t.Errorf("SHA256Over(3)(%q) = %q, want %q", key, got, want)
		}
	}
	f = mangle.SHA256Over(80)
	digest := f(strings.Repeat("k", 81))
	for key, same := range map[string]bool{digest: false, digest[:70]: true, digest[7:]: true, digest + "0": true, strings.ToUpper(digest): true, "sha256-" + strings.Repeat("x", 64): true} {
		if got := f(key); (got == key) != same {
			t.Errorf("SHA256Over(80)(%q) = %q; want another key only for what looks like a digest", key, got)
		}
	}
	if got := mangle.SHA256Over(-1)(""); len(got) != 71 {
		t.Errorf(`with a negative length "" becomes %q, want a digest of 71 bytes`, got)
	}
}

// hostile are keys that look like what becomes of others, again and again.
func hostile(f mangle.Func) (keys []string) {
	keys = []string{"", "a", "+", ":", "\xff", "\x00", "é", "sha256-", "v2-", "v2-a"}
	for _, n := range []int{1, 5, 39, 40, 41, 64, 70, 71, 72, 199, 200, 201, 1000, 64 << 10} {
		keys = append(keys, strings.Repeat("k", n), "sha256-"+strings.Repeat("a", n))
	}
	for range 4 {
		for _, key := range keys[:min(len(keys), 100)] {
			digest := f(key)
			keys = append(keys, digest, "v2-"+key, strings.ToUpper(digest), digest[:len(digest)/2], digest+"0")
		}
	}
	return keys
}

func TestNoTwoKeysBecomeOne(t *testing.T) {
	for name, f := range map[string]mangle.Func{
		"SHA256Over(-1)":  mangle.SHA256Over(-1),
		"SHA256Over(0)":   mangle.SHA256Over(0),
		"SHA256Over(70)":  mangle.SHA256Over(70),
		"SHA256Over(71)":  mangle.SHA256Over(71),
		"SHA256Over(200)": mangle.SHA256Over(200),
		"SHA1":            mangle.SHA1,
		"Prefix":          mangle.Prefix("v2-"),
		"Chain":           mangle.Chain(mangle.Prefix("v2-"), mangle.SHA256Over(100), nil, mangle.Prefix("v2-"), mangle.SHA256Over(80)),
		"Chain()":         mangle.Chain(),
	} {
		was := map[string]string{}
		for _, key := range hostile(f) {
			mangled := f(key)
			if again := f(key); again != mangled {
				t.Fatalf("%s makes %q and then %q of %.80q", name, mangled, again, key)
			}
			if other, ok := was[mangled]; ok && other != key {
				t.Errorf("%s makes %q of %.80q and of %.80q", name, mangled, key, other)
			}
			was[mangled] = key
		}
	}
}

func FuzzSHA256Over(f *testing.F) {
	f.Add("a", "b", 0)
	f.Add("sha256-"+strings.Repeat("0", 64), strings.Repeat("x", 300), 200)
	f.Fuzz(func(t *testing.T, a, b string, length int) {
		m := mangle.SHA256Over(length)
		for _, pair := range [][2]string{{a, b}, {a, m(b)}, {m(a), b}, {m(a), m(b)}, {a, m(a)}} {
			if pair[0] != pair[1] && m(pair[0]) == m(pair[1]) {
				t.Errorf("%q is made of %q and of %q", m(pair[0]), pair[0], pair[1])
			}
		}
	})
}

func TestParse(t *testing.T) {
	long := strings.Repeat("k", 300)
	for spec, want := range map[string]mangle.Func{
		"sha1":                  mangle.SHA1,
		"SHA1:200":              mangle.SHA1From(200),
		"sha256:200":            mangle.SHA256Over(200),
		"prefix:v2-":            mangle.Prefix("v2-"),
		"Prefix:V2:%2B%25 é-":   mangle.Prefix("V2:+% é-"),
		"prefix:v2-+sha256:200": mangle.Chain(mangle.Prefix("v2-"), mangle.SHA256Over(200)),
		"sha256:200+prefix:v2-": mangle.Chain(mangle.SHA256Over(200), mangle.Prefix("v2-")),
		"prefix:a+prefix:b+sha1": func(key string) string {
			return mangle.SHA1("ba" + key)
		},
	} {
		f, err := mangle.Parse(spec)
		if err != nil || f == nil {
			t.Errorf("Parse(%q) = %v", spec, err)
			continue
		}
		for _, key := range []string{"", "a", strings.Repeat("k", 199), strings.Repeat("k", 200), long} {
			if got := f(key); got != want(key) {
				t.Errorf("Parse(%q) makes %q of a key of %d bytes, want %q", spec, got, len(key), want(key))
			}
		}
	}
	for spec, words := range map[string][]string{
		"":                        {"empty", `"prefix:v2-"`, `"sha256:200"`},
		"sha1+":                   {"empty"},
		"sh1":                     {`"sh1"`, `did you mean "sha1"?`},
		"sha-256:200":             {`did you mean "sha256:200"?`},
		"sha256":                  {`write for example "sha256:200"`},
		"sha256:":                 {`write for example "sha256:200"`},
		"sha256:0":                {"positive", `"sha256:200"`},
		"sha256:-1":               {"positive"},
		"sha256:4294967296":       {"positive"},
		"SHA1:x":                  {`write for example "sha1:200"`},
		"prefix":                  {`write for example "prefix:v2-"`},
		"prefix:":                 {`write for example "prefix:v2-"`},
		"prefix:5%":               {"%25"},
		"prfix:v2-":               {`did you mean "prefix:v2-"?`},
		"sha1+perfix:a":           {`"perfix:a"`, `did you mean "prefix:v2-"?`},
		"something else":          {`there are "prefix:v2-", "sha1", "sha256:200"`},
		"prefix:a+b":              {`"b"`},
		strings.Repeat("x", 1000): {"there are"},
	} {
		f, err := mangle.Parse(spec)
		if f != nil || !errors.Is(err, mangle.ErrSpec) {
			t.Errorf("Parse(%.60q) = %p, %v; want nil and mangle.ErrSpec", spec, f, err)
			continue
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("Parse(%.60q) says %q, without %s", spec, err, word)
			}
		}
		if len(err.Error()) > 300 {
			t.Errorf("Parse of %d bytes has an error of %d bytes", len(spec), len(err.Error()))
		}
	}
}

func ExampleParse() {
	short, err := mangle.Parse("prefix:v2-+sha256:20")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(short("user:42"))
	fmt.Println(short("user:42:friends:of:friends"))
	_, err = mangle.Parse("sha265:200")
	fmt.Println(err)
	// Output:
	// v2-user:42
	// sha256-1b885d872bdf3dbac7831fb9045a6ad736d7dafe5aed12732cc60d7312ba9242
	// mangle: this is no key mangler: "sha265:200": did you mean "sha256:200"? There are "prefix:v2-", "sha1", "sha256:200"
}
