package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// Under the race detector SQLite takes thirty times as long, and on a busy machine a value
// that lives for a second may have expired before it is asked for. What has expired and what
// was invalidated softly is treated alike.
func init() {
	days = 100
	liveFor = time.Minute
	expire = func(ctx context.Context) error { return Live.Invalidate(ctx, region.Soft) }
}

func TestStory(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"memory":    func(*testing.T) string { return "memory:" },
		"file":      func(t *testing.T) string { return "file://" + t.TempDir() },
		"memcached": func(t *testing.T) string { return memcachedtest.Start(t).URL() },
		"redis":     func(t *testing.T) string { return redistest.Start(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			at := url(t)
			tellsTheStory(t, at)
			tellsTheStory(t, at) // whatever an earlier run has left
		})
	}
}

func tellsTheStory(t *testing.T, url string) {
	rows, last, err := program(t, url)
	if err != nil {
		t.Fatal(err)
	}
	if want := "200 callers, 1 query"; last != want {
		t.Errorf("the last line is %q, not %q", last, want)
	}

	type counts struct{ name, callers, queries string }
	var got []counts
	var answers []string
	for _, r := range rows {
		got = append(got, counts{r.name, r.callers, r.queries})
		answers = append(answers, r.answer)
	}
	want := []counts{
		{"first call", "1", "1"},
		{"same call", "1", "0"},
		{"same call, after an UPDATE", "1", "0"},
		{"same call, after Invalidate", "1", "1"},
		{"200 at once, nothing kept", "200", "1"},
		{"200 at once, value expired", "200", "1"},
		{"same call", "1", "0"},
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the steps are\n%v, not\n%v", got, want)
	}
	if answers[0] != answers[1] || answers[0] != answers[2] {
		t.Error("a value that was kept has changed")
	}
	if answers[2] == answers[3] {
		t.Error("the old value has survived its invalidation")
	}
	if answers[4] == answers[6] {
		t.Error("the old value has survived its expiration")
	}
}

// A program that counts nothing, or does not look, would tell the same story.
func TestStoryWithoutRegion(t *testing.T) {
	cached := zonesOf
	zonesOf = loadZones
	defer func() { zonesOf = cached }()

	rows, last, err := program(t, "memory:")
	if err == nil || len(rows) != 2 {
		t.Fatalf("the error is %v after %d steps, and should come after the second", err, len(rows))
	}
	if want := "same call: 1 caller, 1 query instead of 0"; last != want {
		t.Errorf("the last line is %q, not %q", last, want)
	}
}

// row is what a line of the table says, but for the time.
type row struct{ name, callers, queries, answer string }

var rowPattern = regexp.MustCompile(`(?m)^(\S.*?) {2,}(\d+) +(\d+) +[\d.]+[nµm]?s +(\S.*)$`)

// program runs the program and returns its rows, its last line and its error. It
// makes sure that no files are left behind.
func program(t *testing.T, url string) (rows []row, last string, err error) {
	t.Helper()
	directory := t.TempDir()
	t.Setenv("TMPDIR", directory)

	var out strings.Builder
	err = run(t.Context(), &out, url)
	t.Logf("\n%s", out.String())

	if left, err := os.ReadDir(directory); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, match := range rowPattern.FindAllStringSubmatch(out.String(), -1) {
		rows = append(rows, row{match[1], match[2], match[3], match[4]})
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	return rows, lines[len(lines)-1], err
}
