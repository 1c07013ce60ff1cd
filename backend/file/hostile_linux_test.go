package file_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
)

// A process that starts on a disk full of what has expired makes room for itself.
func TestFaultStartOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "size=4m")
	before := open(t, dir, file.Config{})
	var err error
	for i := 0; err == nil; i++ {
		err = put(t, before, backend.Item{Key: key(fmt.Sprint(i)), Entry: &backend.Entry{Data: make([]byte, 50<<10)}, TTL: 300 * time.Millisecond})
	}
	_ = before.Close()
	_ = os.Remove(filepath.Join(dir, "sweep")) // a sweep is due
	time.Sleep(400 * time.Millisecond)
	b := open(t, dir, file.Config{})
	for range 30 {
		time.Sleep(100 * time.Millisecond)
		if err = put(t, b, backend.Item{Key: key("new"), Entry: &backend.Entry{Data: make([]byte, 50<<10)}}); err == nil {
			return
		}
	}
	t.Errorf("after 3 s and 30 Sets on a disk that is full of expired entries: %v", err)
}

// A file that is as long as it says, with a hole of a terabyte in it, is a miss.
func TestFaultHugeFile(t *testing.T) {
	if os.Getenv("DOGPILE_TEST_HUGE_FILE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFaultHugeFile$", "-test.v")
		cmd.Env = append(os.Environ(), "DOGPILE_TEST_HUGE_FILE=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			s := string(out)
			t.Fatalf("%v: %.600s", err, s[max(0, strings.Index(s, "fatal error")):])
		}
		return
	}
	_ = syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: 8 << 30, Max: 8 << 30}) // a machine of 8 GiB
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	set(t, b, "k", make([]byte, 100<<10))
	path := filesOf(t, dir, ".v")[0]
	f, _ := os.OpenFile(path, os.O_RDWR, 0)
	_, _ = f.WriteAt([]byte{0, 0, 0, 0, 0, 1, 0, 0}, 16) // little-endian 1<<40
	if err := f.Truncate(24 + 1<<40); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if got := get(t, b, "k"); got != nil {
		t.Errorf("a file with a hole in it is read as %d bytes, want a miss", len(got))
	}
}

// A pipe in the place of a file holds nobody up.
func TestFaultPipes(t *testing.T) {
	dir := t.TempDir()
	b := file.New(dir, file.Config{})
	set(t, b, "k", []byte("v"))
	locks, _ := filepath.Glob(filepath.Join(dir, "??", "lock"))
	for _, path := range locks {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := mkfifo(path); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.Delete(ctx, []backend.Key{key("k")}) }()
	select {
	case <-done:
		done <- nil
	case <-time.After(8 * time.Second):
		t.Error("Delete with a deadline of 100 ms hangs")
	}
	for _, path := range locks { // let it go
		if f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			defer f.Close()
		}
	}
	<-done
	_ = b.Close() // at last: before, it would hang too
}
