package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
)

// age makes files look as if they had been written or used some time ago.
func age(t testing.TB, by time.Duration, paths ...string) {
	t.Helper()
	then := time.Now().Add(-by)
	for _, path := range paths {
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
}

// A sweep removes what is of no use, and nothing else.
func TestSweepRemovesWhatIsUseless(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	set(t, b, "kept", []byte("x"))
	foreign := filepath.Join(filepath.Dir(filesOf(t, dir, ".v")[0]), "a foreign file.v")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stamps(t.Context(), []backend.Guard{{Region: "users"}}); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, path := range filesOf(t, dir, "") {
		known[path] = true
	}
	if err := put(t, b, backend.Item{Key: key("expires"), Entry: &backend.Entry{Data: []byte("x")}, TTL: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	set(t, b, "damaged", []byte("x"))
	for _, path := range filesOf(t, dir, ".v") {
		if !known[path] {
			age(t, time.Hour, path)
		}
	}
	for _, path := range filesOf(t, dir, ".v") {
		if content, err := os.ReadFile(path); err == nil && !known[path] && len(content) > 12 && content[8] == 0 && content[12] == 0 {
			if err := os.Truncate(path, 3); err != nil {
				t.Fatal(err)
			}
			age(t, time.Hour, path)
		}
	}
	old, young := filepath.Join(filepath.Dir(foreign), "old.t"), filepath.Join(filepath.Dir(foreign), "young.t")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	age(t, time.Hour, old)
	grants, _, err := b.Acquire(t.Context(), []backend.Key{key("held")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	held := filesOf(t, dir, ".l")[0]
	age(t, time.Hour, held)
	for get(t, b, "expires") != nil {
	}
	file.Sweep(b)
	if got := get(t, b, "kept"); string(got) != "x" {
		t.Error("a sweep removed an entry that has no TTL")
	}
	if n := len(filesOf(t, dir, ".v")); n != 2 {
		t.Errorf("%d files of values are left, want the one that is kept, and the one that is not ours", n)
	}
	for path, want := range map[string]bool{old: false, young: true, foreign: true, held: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s is there = %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
	if n := len(filesOf(t, dir, ".s")); n != 1 {
		t.Errorf("%d files of stamps are left, want 1", n)
	}
	if err := put(t, b, backend.Item{Key: key("held"), Entry: &backend.Entry{}, Lease: grants[0].Lease}); err != nil {
		t.Errorf("a lease that was held during the sweep: %v", err)
	}
}

// What was not used for longest goes first, until the directory is within its bounds.
func TestSweepBoundsTheSize(t *testing.T) {
	const maxSize, size = 4 << 20, 16 << 10
	dir := t.TempDir()
	b := open(t, dir, file.Config{MaxSize: maxSize})
	for i := range 300 {
		set(t, b, fmt.Sprint(i), make([]byte, size-100))
	}
	// The sweeps that so many bytes have caused may be running; they leave nothing
	// undone that this one would not do.
	for deadline := time.Now().Add(20 * time.Second); ; {
		file.Sweep(b)
		if n := len(filesOf(t, dir, ".v")) * size; n <= maxSize {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d bytes are left, want at most %d", n, maxSize)
		}
	}
	hits := func() (n int) {
		for i := range 300 {
			if get(t, b, fmt.Sprint(i)) != nil {
				n++
			}
		}
		return n
	}
	before := hits()
	if before < 100 {
		t.Errorf("%d of 300 entries are left, want those for which there is room", before)
	}
	if get(t, b, "0") != nil || get(t, b, "299") == nil {
		t.Error("the oldest entry is there, or the newest is not")
	}

	// What is read now and then is not old.
	paths := filesOf(t, dir, ".v")
	age(t, time.Hour, paths...)
	for i := range 20 {
		for range 500 {
			get(t, b, fmt.Sprint(280+i))
		}
	}
	for i := range 100 {
		set(t, b, fmt.Sprint("new ", i), make([]byte, size-100))
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		file.Sweep(b)
		if n := len(filesOf(t, dir, ".v")) * size; n <= maxSize {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d bytes are left, want at most %d", n, maxSize)
		}
	}
	for i := range 20 {
		if get(t, b, fmt.Sprint(280+i)) == nil {
			t.Error("an entry that is in use was removed, and others were kept that are not")
		}
	}
	if after := hits(); after >= before {
		t.Errorf("%d of the old entries are left of %d, want fewer", after, before)
	}
}

// A backend sweeps by itself, when it has written enough.
func TestSweepsByItself(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{MaxSize: 1 << 20})
	largest := 0
	for i := range 400 {
		set(t, b, fmt.Sprint(i), make([]byte, 16<<10-100))
		if i%20 == 0 {
			largest = max(largest, len(filesOf(t, dir, ".v")))
		}
	}
	for deadline := time.Now().Add(20 * time.Second); len(filesOf(t, dir, ".v"))*(16<<10) > 2<<20; {
		if time.Now().After(deadline) {
			t.Fatalf("%d entries of 16 KiB are there, want 64 at most", len(filesOf(t, dir, ".v")))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d entries of 16 KiB at most, of a MaxSize for 64", largest)
}

// Several sweep at once while others write: one does it, and nothing is removed that
// was just stored.
func TestSweepersAndWriters(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{MaxSize: 1 << 20}), open(t, dir, file.Config{MaxSize: 1 << 20})
	var all sync.WaitGroup
	stop := make(chan struct{})
	for _, side := range []*file.Backend{a, b} {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					file.Sweep(side)
				}
			}
		})
	}
	// All there is fits, so nothing needs to go but what has expired.
	for i := range 1500 {
		name := fmt.Sprint(i % 20)
		if err := put(t, a, backend.Item{Key: key(name), Entry: &backend.Entry{Data: []byte("old")}, TTL: time.Nanosecond}); err != nil {
			t.Fatal(err)
		}
		set(t, b, name, fmt.Append(nil, i))
		if got := get(t, a, name); string(got) != fmt.Sprint(i) {
			t.Fatalf("round %d: %q is found, want what was just stored", i, got)
		}
	}
	close(stop)
	all.Wait()
	for i := range 20 {
		if get(t, a, fmt.Sprint(i)) == nil {
			t.Errorf("entry %d is gone", i)
		}
	}
}

// A sweep that is not urgent is left to whoever comes first after it is due.
func TestSweepIsDueOnce(t *testing.T) {
	dir := t.TempDir()
	// They write nothing, so they do not sweep by themselves.
	a, b := open(t, dir, file.Config{}), open(t, dir, file.Config{})
	if err := a.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !file.SweepIfDue(a) {
		t.Error("a directory that was never swept is not due")
	}
	if file.SweepIfDue(b) || file.SweepIfDue(a) {
		t.Error("the directory was swept again at once")
	}
	age(t, time.Second, filepath.Join(dir, "sweep"))
	if !file.SweepIfDue(b) {
		t.Error("the directory was not swept when it was due")
	}
}
