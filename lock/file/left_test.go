package file_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/file"
)

// A directory that was removed is made anew, and leases in it exclude others as before.
func TestDirectoryIsRemoved(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{}), open(t, dir, file.Config{})
	lease, err := a.TryAcquire(t.Context(), "before")
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the directory has %v, %v", files, err)
	}
	for _, file := range files {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		mine, err := a.TryAcquire(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.TryAcquire(t.Context(), "k"); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("while one Locker holds the lease, TryAcquire of the other returns %v, want %v", err, lock.ErrHeld)
		}
		if err := mine.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Processes that end without Close leave nothing that stays.
func TestFilesOfProcessesThatEnded(t *testing.T) {
	const variable = "DOGPILE_TEST_LEAVES_A_FILE_IN"
	if dir := os.Getenv(variable); dir != "" {
		lease, err := file.New(dir, file.Config{}).TryAcquire(t.Context(), "job")
		if err != nil {
			t.Fatal(err)
		}
		_ = lease.Release(t.Context())
		os.Exit(0)
	}
	dir := t.TempDir()
	for range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFilesOfProcessesThatEnded$")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		cmd.WaitDelay = time.Minute
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	l := open(t, dir, file.Config{})
	lease, err := l.TryAcquire(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release(t.Context())
	files, err := os.ReadDir(filepath.Join(dir, "process"))
	if err != nil || len(files) != 1 {
		t.Errorf("%d files of processes are there, %v; want that of this one", len(files), err)
	}
}
