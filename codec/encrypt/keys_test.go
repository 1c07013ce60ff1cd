package encrypt_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/codec/encrypt"
)

// shows reports whether text gives away something of the keys of n.
func shows(text string, n ...byte) bool {
	for _, n := range n {
		k := secret(n)
		for _, form := range []string{
			string(k), hex.EncodeToString(k), strings.ToUpper(hex.EncodeToString(k)), base64.StdEncoding.EncodeToString(k),
			base64.URLEncoding.EncodeToString(k), strings.Trim(fmt.Sprint(k), "[]"),
		} {
			// A part of it would be too much.
			if strings.Contains(text, form[2:12]) {
				return true
			}
		}
	}
	return false
}

func text(n byte) string { return base64.StdEncoding.EncodeToString(secret(n)) }

func TestKeysAreNotPrinted(t *testing.T) {
	k := keys("a", "b")
	k.Keys[text('c')] = secret('d') // somebody has mixed them up
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%U", "%t", "%10v"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", &k)
		fmt.Fprintf(&out, verb+"\n", struct{ Keys encrypt.Keys }{k})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "keys", k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "keys", k)
	j, err := stdjson.Marshal(struct{ Keys encrypt.Keys }{k})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	out.WriteString(fmt.Sprintf("%+v %#v", open(t, cbor.New(), keys("a", "b")), open(t, cbor.New(), keys("a", "b"))))
	if shows(out.String(), 'a', 'b', 'c', 'd') {
		t.Errorf("a key is shown: %s", out.String())
	}
	if want := `3 keys, current "a", "?", "b"`; k.String() != want {
		t.Errorf("it prints %s, want %s", k.String(), want)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	with := func(id string, secret []byte) encrypt.Keys {
		k := keys("a")
		k.Keys[id] = secret
		return k
	}
	for _, c := range []struct {
		name string
		keys encrypt.Keys
		want string
	}{
		{"none", encrypt.Keys{}, "there are no keys"},
		{"no current", encrypt.Keys{Keys: keys("a").Keys}, "Current is not set"},
		{"unknown current", encrypt.Keys{Current: "c", Keys: keys("a").Keys}, `no key "c"`},
		{"a key as current", encrypt.Keys{Current: text('b'), Keys: keys("a").Keys}, "Current is not the id of one"},
		{"nil", with("b", nil), `"b" has 0 bytes`},
		{"nil, current", encrypt.Keys{Current: "b", Keys: map[string][]byte{"b": nil}}, `"b" has 0 bytes`},
		{"AES-128", with("b", secret('b')[:16]), `"b" has 16 bytes: AES-256 needs 32`},
		{"AES-192", with("b", secret('b')[:24]), "has 24 bytes"},
		{"too long", with("b", append(secret('b'), 0)), "has 33 bytes"},
		{"in base64", with("b", []byte(text('b'))), "has 44 bytes"},
		{"zeros", with("b", make([]byte, 32)), "never set"},
		{"twice", with("b", secret('a')), `"a" and "b" are the same key`},
		{"no id", with("", secret('b')), "an id has something else"},
		{"a long id", with(strings.Repeat("x", 33), secret('b')), "an id has something else"},
		{"a key as id", with(text('c'), secret('b')), "an id has something else"},
		{"odd id", with("a,b", secret('b')), "an id has something else"},
	} {
		c2, err := encrypt.AESGCM(cbor.New(), c.keys)
		if err == nil || c2 != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error that says %s", c.name, err, c.want)
		}
		if err != nil && shows(err.Error(), 'a', 'b', 'c') {
			t.Errorf("%s: a key is shown: %v", c.name, err)
		}
	}
	if _, err := encrypt.AESGCM(cbor.New(), keys(strings.Repeat("x", 32))); err != nil {
		t.Errorf("an id of 32 characters: %v", err)
	}
	if _, err := encrypt.AESGCM(nil, keys("a")); err == nil {
		t.Error("nothing was wrapped")
	}
	if _, err := encrypt.AESGCM(open(t, cbor.New(), keys("a")), keys("b")); err == nil {
		t.Error("it encrypts twice")
	}
}

func TestFromEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	url := strings.TrimRight(base64.URLEncoding.EncodeToString(secret('a')), "=")
	ab, ba := keys("a", "b"), keys("b", "a")
	for _, c := range []struct {
		name, variable, file string
		want                 encrypt.Keys
	}{
		{"one", "a:" + text('a'), "", keys("a")},
		{"two", "a:" + text('a') + ",b:" + text('b'), "", ab},
		{"the first is current", "b:" + text('b') + ", a : " + text('a') + " ", "", ba},
		{"another alphabet", "a:" + url, "", keys("a")},
		{"a file", "", "a:" + text('a') + "\n", keys("a")},
		{"comments", "", "# keys\r\n\r\nb:" + text('b') + "\r\n  # the old one\n a:" + text('a'), ba},
	} {
		t.Setenv(encrypt.EnvKeys, c.variable)
		t.Setenv(encrypt.EnvKeysFile, "")
		if c.file != "" {
			t.Setenv(encrypt.EnvKeysFile, path)
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := encrypt.FromEnvironment(); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestEnvironmentThatIsRefused(t *testing.T) {
	a, b := "a:"+text('a'), "b:"+text('b')
	dir := t.TempDir()
	refused := func(name, variable, path string, want ...string) {
		t.Helper()
		t.Setenv(encrypt.EnvKeys, variable)
		t.Setenv(encrypt.EnvKeysFile, path)
		got, err := encrypt.FromEnvironment()
		if err == nil || !reflect.DeepEqual(got, encrypt.Keys{}) {
			t.Errorf("%s: %v, %v, want an error", name, got, err)
			return
		}
		for _, want := range want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want it to say %s", name, err, want)
			}
		}
		if shows(err.Error(), 'a', 'b') {
			t.Errorf("%s: a key is shown: %v", name, err)
		}
		if c, opened := codec.Open("cbor+aesgcm"); opened == nil || c != nil || !strings.Contains(opened.Error(), err.Error()) {
			t.Errorf("%s: by name the error is %v", name, opened)
		}
	}
	refused("nothing", "", "", "DOGPILE_AESGCM_KEYS to", "openssl rand")
	refused("both", a, "/file", "both")
	const entry = "DOGPILE_AESGCM_KEYS: entry "
	for name, c := range map[string]struct{ text, want string }{
		"a key only":                      {text('a'), "1 has no colon"},
		"the second has no id":            {a + "," + text('b'), "2 has no colon"},
		"an empty id":                     {":" + text('a'), "1 does not begin with an id"},
		"the wrong way round":             {text('a') + ":a", "1 does not begin with an id"},
		"the wrong way round, no padding": {strings.TrimRight(text('a'), "=") + ":a", "1 does not begin with an id"},
		"a comma at the end":              {a + ",", "2 is empty"},
		"no key":                          {"a:", "1 has 0 bytes"},
		"short":                           {"a:" + text('a')[:24], "1 has 18 bytes"},
		"long":                            {"a:" + base64.StdEncoding.EncodeToString(append(secret('a'), 1)), "1 has 33 bytes"},
		"hex":                             {"a:" + hex.EncodeToString(secret('a')), "1 has 48 bytes"},
		"not base64":                      {"a:" + strings.Replace(text('a'), text('a')[5:6], "!", 1), "1 is not in base64"},
		"cut off":                         {"a:" + text('a')[:41], "1 is not in base64"},
		"bits too many":                   {"a:" + text('a')[:42] + string(text('a')[42]+1) + "=", "1 is not in base64"},
		"a line end in it":                {"a:" + text('a')[:20] + "\n" + text('a')[20:], "1 is not in base64"},
		"an id twice":                     {a + ",a:" + text('b'), "2 has an id that stood there before"},
		"zeros":                           {"a:" + base64.StdEncoding.EncodeToString(make([]byte, 32)), "1 is one byte repeated"},
	} {
		refused(name, c.text, "", entry+c.want)
	}
	refused("a key twice", a+",b:"+text('a'), "", `"a" and "b" are the same key`)
	refused("all at once", ","+text('a')+","+b, "", entry+"1 is empty", entry+"2 has no colon")

	path := filepath.Join(dir, "keys")
	if err := os.WriteFile(path, []byte("# keys\n"+a+"\n"+text('b')), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a line", "", path, path+":3 has no colon")
	if err := os.WriteFile(path, []byte("# none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("no line", "", path, "there are no keys")
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("no file of keys", "", path, "more than 1048576 bytes")
	refused("a directory", "", dir, "the file that DOGPILE_AESGCM_KEYS_FILE names")
	refused("no file", "", filepath.Join(dir, "none"), "no such file")
	refused("keys in the variable for the path", "", a, "the file that DOGPILE_AESGCM_KEYS_FILE names")
}
