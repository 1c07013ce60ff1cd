package backendtest

import (
	"fmt"
	"strings"

	"github.com/dogpile-go/dogpile/backend"
)

// names are what a backend has to tell apart, whatever it is made of: nothing, the
// control and separator characters of the protocols, bytes that are no text, names
// longer than any server's own keys, and pairs that differ in one byte.
func names() []string {
	long := strings.Repeat("k", 64<<10)
	return []string{
		"", " ", "  ", "a", "a ", " a", "A", "a\x00", "a\x00\x00", "a\x00b", "a:b", "a::b", ":", "a/b", "a/../b", "..", ".", "%41", "a%00",
		"a\r\nb", "a\nb", "a\tb", "{a}", "{a}b", "{", "}", "a*", "a?", "a\x7f", "\xff", "\xff\xfe", "a\xc3", "é", "e\u0301", "日本語", "😀",
		"CON", "a.lock", "a.tmp", "-", "--", "$a", "'", "\"", "\\", "`", "|",
		long, long[1:], long[1:] + "l", "l" + long[1:], strings.Repeat("k", 249), strings.Repeat("k", 250), strings.Repeat("k", 251),
		strings.Repeat("k", 255), strings.Repeat("k", 256), strings.Repeat("\xff", 64<<10),
	}
}

func keysAreIndependent(t *trial) {
	all := names()
	for i, name := range all {
		t.set(t.a, user(name), fmt.Sprint("value ", i))
	}
	for i, name := range all {
		t.holds(user(name), fmt.Sprint("value ", i))
	}

	grants := t.grants(t.a, users(all...)...)
	for i, grant := range grants {
		if grant.Lease == nil {
			t.Fatalf("the lease of %s was not granted", brief(user(all[i])))
		}
		if got, want := says(grant.Entry), t.kept(fmt.Sprint("value ", i)); got != want {
			t.Fatalf("Acquire found %q under %s, want %q", got, brief(user(all[i])), want)
		}
	}
	// Each name takes its own lease and nobody else's.
	for i, name := range all {
		switch i % 3 {
		case 0:
			t.published(t.a, user(name), grants[i].Lease, fmt.Sprint("published ", i))
		case 1:
			t.delete(t.a, user(name))
		}
	}
	for i, name := range all {
		switch i % 3 {
		case 0:
			t.holds(user(name), fmt.Sprint("published ", i))
		case 1:
			t.holds(user(name), says(nil))
			t.refused(t.a, user(name), grants[i].Lease)
		case 2:
			t.holds(user(name), fmt.Sprint("value ", i))
			t.isHeld(user(name))
		}
	}
}

func regionsAreIndependent(t *trial) {
	keys := []backend.Key{
		{Region: "users", Name: "1"}, {Region: "posts", Name: "1"}, {Region: "users1", Name: ""}, {Region: "users", Name: ""},
		{Region: "user", Name: "s:1"}, {Region: "users", Name: ":1"}, {Region: "users", Name: "users:1"}, {Region: "Users", Name: "1"},
		{Region: "é", Name: "1"}, {Region: "a b", Name: "1"}, {Region: "a/b", Name: "1"},
	}
	for i, key := range keys {
		t.set(t.a, key, fmt.Sprint("value ", i))
	}
	grants := t.grants(t.b, keys...)
	for i, key := range keys {
		t.holds(key, fmt.Sprint("value ", i))
		if grants[i].Lease == nil {
			t.Errorf("the lease of %s was not granted: it is taken for that of another key", brief(key))
		}
	}
	t.delete(t.a, keys[0])
	for i, key := range keys[1:] {
		t.holds(key, fmt.Sprint("value ", i+1))
		t.isHeld(key)
	}
}

// guardsAreNoKeys looks for backends that keep stamps where an entry may stand.
func guardsAreNoKeys(t *trial) {
	guards := []backend.Guard{{Region: "users"}, {Region: "users", Tag: "x"}}
	before, err := t.a.Stamps(t.ctx, guards)
	t.must(err)
	keys := users("", "x", "stamps", "tag:x")
	for _, key := range keys {
		t.holds(key, says(nil))
		t.set(t.a, key, "an entry")
	}
	t.delete(t.a, keys...)
	after, err := t.a.Stamps(t.ctx, guards)
	t.must(err)
	t.sameStamps("Stamps after entries came and went", after, before)
}
