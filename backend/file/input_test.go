package file_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
)

// Whatever a key is, it names nothing outside of the directory, and nothing in it but
// by its digest (R28).
func TestHostileKeys(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "cache")
	secret := filepath.Join(parent, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir, file.Config{})
	names := []string{
		"../../secret", "../secret", "/etc/passwd", secret, "", ".", "..", "lock", "a/b", "a\\b", "a\x00b", "\x00", "*", "?[a]", "~",
		"\x80", "\xff\xfe", "\r\n", "CON", "a.", "a ", strings.Repeat("k", 64<<10), strings.Repeat("../", 20<<10), "A", "a", "\u202e",
	}
	for i, name := range names {
		for _, r := range []string{"users", "..", "", "a/b", "\x00"} {
			k := backend.Key{Region: r, Name: name}
			data := fmt.Append(nil, r, i)
			items := []backend.Item{{Key: k, Entry: &backend.Entry{Data: data}}}
			if _, err := b.Set(t.Context(), items, []backend.Guard{{Region: r, Tag: name}}); err != nil || items[0].Err != nil {
				t.Fatalf("Set of region %q, key %.40q: %v, %v", r, name, err, items[0].Err)
			}
		}
	}
	for i, name := range names {
		for _, r := range []string{"users", "..", "", "a/b", "\x00"} {
			found, err := b.Get(t.Context(), backend.Key{Region: r, Name: name}, nil)
			if err != nil || found.Entry == nil || !bytes.Equal(found.Entry.Data, fmt.Append(nil, r, i)) {
				t.Errorf("Get of region %q, key %.40q = %v, %v; want what was stored", r, name, found.Entry, err)
			}
		}
	}
	// What ends up where is the same on a file system that ignores case.
	legal := regexp.MustCompile(`^([0-9a-f]{2}/([0-9a-f]{62}\.[vs]|lock)|sweep)$`)
	for _, path := range filesOf(t, parent, "") {
		rel, err := filepath.Rel(dir, path)
		if err != nil || path != secret && !legal.MatchString(filepath.ToSlash(rel)) && !strings.HasSuffix(path, ".t") {
			t.Errorf("there is a file %q", path)
		}
	}
	if text, err := os.ReadFile(secret); string(text) != "secret" || err != nil {
		t.Errorf("the file beside the directory says %q, %v", text, err)
	}
}

// Names are the same for the same key and different for different ones, also where
// region, key and prefix can be cut in several ways.
func TestPrefixes(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{Prefix: "a"}), open(t, dir, file.Config{Prefix: "b"})
	again := open(t, dir, file.Config{Prefix: "a"})
	set(t, a, "k", []byte("of a"))
	if got := get(t, b, "k"); got != nil {
		t.Errorf("under another prefix %q is found, want a miss", got)
	}
	if got := get(t, again, "k"); string(got) != "of a" {
		t.Errorf("under the same prefix %q is found, want what was stored", got)
	}
	guard := []backend.Guard{{Region: "users"}}
	s1, err1 := a.Stamps(t.Context(), guard)
	s2, err2 := b.Stamps(t.Context(), guard)
	if err1 != nil || err2 != nil || s1[0] == s2[0] {
		t.Errorf("stamps under two prefixes are %x and %x (%v, %v), want different ones", s1, s2, err1, err2)
	}
}

// What a TTL becomes (R29).
func TestTTL(t *testing.T) {
	b := open(t, t.TempDir(), file.Config{})
	for _, ttl := range []time.Duration{0, 3 * time.Second, time.Hour, 31 * 24 * time.Hour, 100 * 365 * 24 * time.Hour, math.MaxInt64 - 1, math.MaxInt64} {
		if err := put(t, b, backend.Item{Key: key("k"), Entry: &backend.Entry{Data: []byte("x")}, TTL: ttl}); err != nil {
			t.Errorf("TTL %v: Err = %v", ttl, err)
		}
		if got := get(t, b, "k"); string(got) != "x" {
			t.Errorf("TTL %v: %q is found at once, want what was stored", ttl, got)
		}
	}
	for _, ttl := range []time.Duration{-1, math.MinInt64} {
		if err := put(t, b, backend.Item{Key: key("k"), Entry: &backend.Entry{Data: []byte("y")}, TTL: ttl}); err == nil {
			t.Errorf("TTL %v is not refused", ttl)
		}
	}
	for _, ttl := range []time.Duration{1, time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
		called := time.Now()
		if err := put(t, b, backend.Item{Key: key("k"), Entry: &backend.Entry{Data: []byte("x")}, TTL: ttl}); err != nil {
			t.Errorf("TTL %v: Err = %v", ttl, err)
		}
		for deadline := called.Add(20 * time.Second); ; {
			got := get(t, b, "k")
			now := time.Now()
			if got == nil && now.Sub(called) < ttl {
				t.Errorf("TTL %v: gone after %v", ttl, now.Sub(called))
			}
			if got == nil {
				break
			}
			if now.After(deadline) {
				t.Fatalf("TTL %v: it is still there", ttl)
			}
		}
	}
}

func TestURLs(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	t.Chdir(t.TempDir())
	for _, url := range []string{
		"file://" + dir, "file://localhost" + dir, "file:" + dir, "file:cache/app", "file:./cache%20app", "FILE:cache",
		"file://" + dir + "?", "file:cache?prefix=app&max_size=512MiB&lease_ttl=30s", "file:cache?max_size=1048576&", "file:cache?max_size=2gb",
	} {
		b, err := backend.Open(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := b.(*file.Backend).Ping(t.Context()); err != nil {
			t.Errorf("%s: Ping: %v", url, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: Close: %v", url, err)
		}
	}
	for _, made := range []string{"cache/app", "cache app"} {
		info, err := os.Stat(made)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("directory %s: %v, %v; want one with access for its owner alone", made, info, err)
		}
	}
	for url, want := range map[string]string{
		"file:":                            "no directory",
		"file://":                          "no directory",
		"file://var/cache":                 "three slashes",
		"file://user:pass@/var":            "no user and no password",
		"file:///var#x":                    "%23",
		"file:cache?maxsize=1GiB":          `did you mean "max_size"`,
		"file:cache?Prefix=x":              `did you mean "prefix"`,
		"file:cache?leasettl=1s":           `did you mean "lease_ttl"`,
		"file:cache?colour=red":            "there are prefix, max_size, lease_ttl",
		"file:cache?prefix=a&prefix=b":     "given twice",
		"file:cache?prefix=":               "no value",
		"file:cache?max_size=1KiB":         "at least 1MiB",
		"file:cache?max_size=-5GiB":        "at least 1MiB",
		"file:cache?max_size=9999999TiB":   "at least 1MiB",
		"file:cache?max_size=1.5GiB":       "at least 1MiB",
		"file:cache?lease_ttl=5":           "with its unit",
		"file:cache?lease_ttl=1ms":         "at least 100ms",
		"file:cache?prefix=a;max_size=1GB": "put & between them",
		"file:cache%00":                    "NUL",
	} {
		b, err := backend.Open(url)
		if err == nil {
			b.Close()
			t.Errorf("%s is taken, want an error", url)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s: %q, want it to say %q", url, err, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, b := range []*file.Backend{
		file.New("", file.Config{}), file.New("a\x00b", file.Config{}), file.New("x", file.Config{MaxSize: -1}),
		file.New("x", file.Config{MaxSize: 4096}), file.New("x", file.Config{LeaseTTL: -1}), file.New("x", file.Config{LeaseTTL: 1}),
	} {
		if b.Err() == nil {
			t.Error("a configuration that cannot work has no Err")
		}
		if _, err := b.Get(t.Context(), key("k"), nil); err == nil || err.Error() != b.Err().Error() {
			t.Errorf("Get = %v, want what Err says: %v", err, b.Err())
		}
		if err := b.Ping(t.Context()); err == nil {
			t.Error("Ping of a configuration that cannot work = nil")
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	}
}
