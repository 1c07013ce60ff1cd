package redis

import (
	"slices"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
)

// Names of different things are different, whatever they have in them.
func TestNamesAreDifferent(t *testing.T) {
	n := newNames("p")
	parts := []string{"a", "b", "{", "}", "%", "{a", "a}", "}a", "{a}", "%a", "a%", "%}", "%%", "a{", "{}", "}{", "{a}{", "\x00", "\xff", "stamp", "lock"}
	tags := append(slices.Clone(parts), ":", "::", ":a", "a:", "{a}:", "}:a", "p:stamp:{a}", strings.Repeat("a", 64<<10))
	seen := make(map[string]string)
	add := func(name, what string) {
		t.Helper()
		if other, ok := seen[name]; ok {
			t.Errorf("%.60q is the name of %.60q and of %.60q", name, what, other)
		}
		seen[name] = what
	}
	for _, region := range append(parts, "") {
		add(n.stampOf(backend.Guard{Region: region}), "the region "+region)
		for _, tag := range tags {
			add(n.stampOf(backend.Guard{Region: region, Tag: tag}), "the tag "+tag+" of "+region)
			key := backend.Key{Region: region, Name: tag}
			add(n.valueOf(key), "the value "+key.String())
			add(n.lockOf(key), "the lock "+key.String())
			add(n.noteOf(key), "the note "+key.String())
		}
	}
}

// Names that are made together are those that are made one by one.
func TestNamesOfSeveralStamps(t *testing.T) {
	n := newNames("p")
	guards := []backend.Guard{{Region: "a"}, {Region: "a", Tag: "1"}, {Region: "a", Tag: "22"}, {Region: "b", Tag: "1"}, {Region: "a", Tag: "333"}, {Region: "a"}, {Region: "", Tag: "x"}, {Region: ""}}
	for from := range guards {
		for to := from; to <= len(guards); to++ {
			got := n.appendStamps([]string{"first"}, guards[from:to])
			want := []string{"first"}
			for _, guard := range guards[from:to] {
				want = append(want, n.stampOf(guard))
			}
			if !slices.Equal(got, want) {
				t.Errorf("the stamps of %q are called %q, want %q", guards[from:to], got, want)
			}
		}
	}
	tags := guards[1:3]
	list := make([]string, 0, 8)
	if allocs := testing.AllocsPerRun(100, func() { list = n.appendStamps(list[:0], tags) }); allocs > 1 {
		t.Errorf("the names of several tags take %v pieces of memory, want one", allocs)
	}
}
