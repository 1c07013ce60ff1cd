package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
)

// mountImage mounts the file system in a file, or skips the test.
func mountImage(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	// Nothing is written to the disk on its own for the time of the test.
	if out, err := exec.Command("mount", "-o", "loop,commit=300", image, dir).CombinedOutput(); err != nil {
		t.Skipf("a file system cannot be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// newImage makes a file with a file system, or skips the test.
func newImage(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(32<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("a file system cannot be made here: %v: %s", err, out)
	}
	return image
}

// afterPowerFailure returns a directory as it is found when the power has failed now:
// with what has reached the disk, which is the image, and nothing else.
func afterPowerFailure(t *testing.T, image string) string {
	t.Helper()
	from, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	to, err := os.Create(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
	return mountImage(t, snapshot)
}

// What was deleted or invalidated stays so when the power fails (I1). What was stored
// is there or not, but whole.
func TestFaultPowerFails(t *testing.T) {
	image := newImage(t)
	dir := mountImage(t, image)
	b := open(t, dir, file.Config{})
	hard, soft := []backend.Guard{{Region: "hard"}}, []backend.Guard{{Region: "soft"}}
	tags := []backend.Guard{{Region: "tags", Tag: "any"}, {Region: "tags", Tag: "a"}, {Region: "tags", Tag: "b"}, {Region: "tags", Tag: "removed"}}
	names := []string{"one", "two", "three", "four"}
	old := func(name string) []byte { return fmt.Append(nil, "the old value of ", name) }
	for _, name := range append(names, "replaced", "kept") {
		set(t, b, name, old(name))
	}
	both := []backend.Guard{hard[0], soft[0]}
	before, err := b.Stamps(t.Context(), both)
	if err != nil {
		t.Fatal(err)
	}
	beforeTags := stampsNow(t, b, tags...)
	if _, err := b.Set(t.Context(), []backend.Item{{Key: key("tagged"), Entry: &backend.Entry{Data: []byte("x")}, TTL: time.Hour}}, tags); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sync").CombinedOutput(); err != nil {
		t.Fatalf("sync: %v: %s", err, out)
	}
	atFirst := open(t, afterPowerFailure(t, image), file.Config{})
	for _, name := range append(names, "replaced", "kept") {
		if got := get(t, atFirst, name); string(got) != string(old(name)) {
			t.Fatalf("what had reached the disk reads as %q, want %q", got, old(name))
		}
	}

	// In this order: whatever makes the disk write writes what came before as well.
	set(t, b, "replaced", []byte("the new value"))
	check := func(how string, test func(b backend.Backend)) {
		t.Helper()
		dir := afterPowerFailure(t, image)
		crashed := open(t, dir, file.Config{})
		for _, name := range []string{"kept", "replaced"} {
			switch got := string(get(t, crashed, name)); got {
			case "", "the new value", string(old(name)):
			default:
				t.Errorf("after %s and a power failure %s is %q", how, name, got)
			}
		}
		test(dirOf{crashed, dir})
	}
	for i, some := range [][]string{{"one"}, {"two", "three"}} {
		keys := make([]backend.Key, len(some))
		for i, name := range some {
			keys[i] = key(name)
		}
		if err := b.Delete(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		check("Delete", func(crashed backend.Backend) {
			for _, name := range some {
				if got := get(t, crashed, name); got != nil {
					t.Errorf("Delete %d: after a power failure %q is back", i, got)
				}
			}
		})
	}
	// Removed by somebody who does not make it last, as a sweep does, and then deleted.
	for _, path := range filesOf(t, dir, ".v") {
		content, err := os.ReadFile(path)
		if err == nil && string(content[24:]) == string(old("four")) {
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(t.Context(), []backend.Key{key("four")}); err != nil {
		t.Fatal(err)
	}
	check("Delete of what a sweep has removed", func(crashed backend.Backend) {
		if got := get(t, crashed, "four"); got != nil {
			t.Errorf("after a power failure %q is back", got)
		}
	})
	if err := b.Renew(t.Context(), hard, false); err != nil {
		t.Fatal(err)
	}
	renewed, err := b.Stamps(t.Context(), hard)
	if err != nil {
		t.Fatal(err)
	}
	check("Renew", func(crashed backend.Backend) {
		after, err := crashed.Stamps(t.Context(), hard)
		if err != nil || after[0] != renewed[0] || after[0].Hard == before[0].Hard {
			t.Errorf("after Renew and a power failure the stamps are %x, %v; want %x, and not %x", after, err, renewed, before[0])
		}
	})
	if err := b.Renew(t.Context(), soft, true); err != nil {
		t.Fatal(err)
	}
	check("a soft Renew", func(crashed backend.Backend) {
		after, err := crashed.Stamps(t.Context(), soft)
		if err != nil || after[0].Soft == before[1].Soft {
			t.Errorf("after a soft Renew and a power failure the stamps are %x, %v; want not the old ones, %x", after, err, before[1])
		}
	})

	// The first tag is on the disk before another one is begun.
	first, third := pathOfStamps(t, dir, read(t, b, tags[0])[0]), pathOfStamps(t, dir, read(t, b, tags[2])[0])
	if filepath.Dir(first) == filepath.Dir(third) {
		t.Fatal("the tags of this test are in one folder; give them other names")
	}
	whileLocked(t, dir, third, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := b.Renew(ctx, tags[:3], false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Renew = %v, want the end of its ctx", err)
		}
	})
	check("a Renew that has got as far as the first tag", func(crashed backend.Backend) {
		if after := read(t, crashed, tags[0]); after[0].Hard == beforeTags[0].Hard || after[0] == (backend.Stamps{}) {
			t.Errorf("after a power failure the stamps of the first tag are %x, and were %x before they were renewed", after, beforeTags[0])
		}
	})
	// Removed by somebody who does not make it last, and then renewed.
	if err := os.Remove(pathOfStamps(t, dir, beforeTags[3])); err != nil {
		t.Fatal(err)
	}
	if err := b.Renew(t.Context(), tags, true); err != nil {
		t.Fatal(err)
	}
	check("a soft Renew of tags", func(crashed backend.Backend) {
		for i, after := range read(t, crashed, tags...) {
			if after.Soft == beforeTags[i].Soft {
				t.Errorf("after a Renew and a power failure tag %d has the soft stamp of before", i)
			}
		}
		for _, path := range filesOf(t, crashed.(dirOf).dir, ".g") {
			if got := needed(t, path); got < 59*time.Minute {
				t.Errorf("after a Renew and a power failure stamps are noted to be needed for %v, want an hour", got)
			}
		}
	})
}

// dirOf is a backend with its directory.
type dirOf struct {
	backend.Backend
	dir string
}

// pathOfStamps returns the path of the file that has the stamps s of a tag.
func pathOfStamps(t *testing.T, dir string, s backend.Stamps) string {
	t.Helper()
	for _, path := range filesOf(t, dir, ".g") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, s.Hard[:]) && bytes.Contains(content, s.Soft[:]) {
			return path
		}
	}
	t.Fatalf("no file has the stamps %x", s)
	return ""
}
