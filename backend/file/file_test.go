package file_test

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/file"
)

func open(t testing.TB, dir string, cfg file.Config) *file.Backend {
	t.Helper()
	b := file.New(dir, cfg)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	t.Run("OneSide", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backend.Backend { return open(t, t.TempDir(), file.Config{}) })
	})
	t.Run("Pair", func(t *testing.T) {
		backendtest.RunPair(t, func(t *testing.T) (a, b backend.Backend) {
			dir := t.TempDir()
			return open(t, dir, file.Config{}), open(t, dir, file.Config{})
		})
	})
}

func key(name string) backend.Key { return backend.Key{Region: "users", Name: name} }

func put(t testing.TB, b backend.Backend, item backend.Item) error {
	t.Helper()
	items := []backend.Item{item}
	if _, err := b.Set(t.Context(), items, nil); err != nil {
		t.Fatalf("Set: %v", err)
	}
	return items[0].Err
}

// set stores data for ever.
func set(t testing.TB, b backend.Backend, name string, data []byte) {
	t.Helper()
	if err := put(t, b, backend.Item{Key: key(name), Entry: &backend.Entry{Data: data}}); err != nil {
		t.Fatalf("Set: %v", err)
	}
}

// get returns what is stored, nil for a miss.
func get(t testing.TB, b backend.Backend, name string) []byte {
	t.Helper()
	found, err := b.Get(t.Context(), key(name), nil)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if found.Entry == nil {
		return nil
	}
	return found.Entry.Data
}

// filesOf returns the paths of all files below dir that end in suffix.
func filesOf(t testing.TB, dir, suffix string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Values of every size come back, those that are read with one call and the others.
func TestSizes(t *testing.T) {
	b := open(t, t.TempDir(), file.Config{})
	for _, size := range []int{0, 1, 4072, 4073, 32<<10 - 25, 32<<10 - 24, 32<<10 - 23, 32 << 10, 1 << 20, 10 << 20} {
		data := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
		set(t, b, "k", data)
		found, err := b.Get(t.Context(), key("k"), nil)
		if err != nil || found.Entry == nil || !bytes.Equal(found.Entry.Data, data) {
			t.Errorf("a value of %d bytes is not found as it was stored: %v", size, err)
		}
	}
	err := put(t, b, backend.Item{Key: key("k"), Entry: &backend.Entry{Data: make([]byte, 257<<20)}})
	if !errors.Is(err, file.ErrTooLarge) {
		t.Errorf("a value of more than a quarter of MaxSize: Err = %v, want file.ErrTooLarge", err)
	}
	if got := get(t, b, "k"); len(got) != 10<<20 {
		t.Errorf("after a Set that was refused %d bytes are stored, want what was there before", len(got))
	}
}

// Nothing of leases is left when they have ended, and nothing of a backend when it is
// closed (I5).
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{}), open(t, dir, file.Config{})
	keys := make([]backend.Key, 100)
	for i := range keys {
		keys[i] = key(strings.Repeat("x", i))
	}
	grants, _, err := a.Acquire(t.Context(), keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(filesOf(t, dir, ".l")); n != len(keys) {
		t.Fatalf("%d files for %d leases", n, len(keys))
	}
	for i, grant := range grants[:90] {
		switch i % 3 {
		case 0:
			err = grant.Lease.Release(t.Context())
		case 1:
			err = put(t, a, backend.Item{Key: keys[i], Entry: &backend.Entry{Data: []byte("x")}, Lease: grant.Lease})
		case 2:
			err = b.Delete(t.Context(), keys[i:i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(filesOf(t, dir, ".l")); n != 10 {
		t.Errorf("%d files of leases are there, want those of the 10 that are held", n)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{".l", ".t"} {
		if left := filesOf(t, dir, suffix); len(left) > 0 {
			t.Errorf("after Close these are left: %q", left)
		}
	}
	if left := filesOf(t, filepath.Join(dir, "process"), ""); len(left) > 0 {
		t.Errorf("after Close a process is left: %q", left)
	}
}

// A value is replaced in one step: whoever reads meanwhile finds the old one or the new
// one.
func TestReplacedInOneStep(t *testing.T) {
	b := open(t, t.TempDir(), file.Config{})
	values := [][]byte{bytes.Repeat([]byte("a"), 100), bytes.Repeat([]byte("b"), 300<<10)}
	set(t, b, "k", values[0])
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				set(t, b, "k", values[i%2])
			}
		}
	}()
	for range 1000 {
		if got := get(t, b, "k"); !bytes.Equal(got, values[0]) && !bytes.Equal(got, values[1]) {
			t.Errorf("%d bytes are read, want the old value or the new one", len(got))
			break
		}
	}
	close(stop)
	<-over
}
