package filelock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/filelock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errClosed = errors.New("closed")

func open(t *testing.T, dir string) *filelock.Space {
	t.Helper()
	s, err := filelock.NewSpace(dir, "p", errClosed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An operation that hangs, because its disk does, holds up others of its process for
// five seconds, not for ever.
func TestOperationHangs(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	begun, end := make(chan struct{}), make(chan struct{})
	var hanging sync.WaitGroup
	hanging.Go(func() {
		if err := s.Locked(t.Context(), 7, func() error { close(begun); <-end; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	if err := s.Locked(t.Context(), 8, func() error { return nil }); err != nil {
		t.Errorf("in another folder: %v", err)
	}
	if err := s.Locked(t.Context(), 7, func() error { return nil }); !errors.Is(err, filelock.ErrBusy) {
		t.Errorf("in the same folder: %v, want ErrBusy", err)
	}
	close(end)
	hanging.Wait()
	if err := s.Locked(t.Context(), 7, func() error { return nil }); err != nil {
		t.Errorf("after it has ended: %v", err)
	}
}

// Nothing runs twice at a time under the lock of one folder.
func TestLockedIsExclusive(t *testing.T) {
	dir := t.TempDir()
	var spaces []*filelock.Space
	for range 3 {
		spaces = append(spaces, open(t, dir))
	}
	var all sync.WaitGroup
	var inside, total atomic.Int64
	for i := range 6 {
		all.Go(func() {
			for range 200 {
				err := spaces[i%3].Locked(t.Context(), 1, func() error {
					if n := inside.Add(1); n != 1 {
						return fmt.Errorf("%d are inside", n)
					}
					total.Add(1)
					inside.Add(-1)
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := total.Load(); n != 1200 {
		t.Errorf("%d were inside, want 1200", n)
	}
	for _, s := range spaces {
		s.Close()
		if err := s.Locked(t.Context(), 1, func() error { return nil }); err != errClosed {
			t.Errorf("Locked after Close = %v, want the error for that", err)
		}
	}
}

// Close waits for what is under way, and those who wait do not wait on.
func TestCloseWaits(t *testing.T) {
	s := open(t, t.TempDir())
	begun, end := make(chan struct{}), make(chan struct{})
	over := false
	var all sync.WaitGroup
	all.Go(func() {
		_ = s.Locked(t.Context(), 7, func() error { close(begun); <-end; over = true; return nil })
	})
	<-begun
	waiting := make(chan error)
	go func() { waiting <- s.Locked(context.Background(), 7, func() error { return nil }) }()
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	if err := <-waiting; err != errClosed {
		t.Errorf("who waits when it is closed gets %v, want the error for that", err)
	}
	select {
	case <-closed:
		t.Error("Close does not wait for what is under way")
	default:
	}
	close(end)
	<-closed
	if !over {
		t.Error("Close has returned before what was under way")
	}
	all.Wait()
}

// Every folder is worked on once, with all its places, and the first error ends it.
func TestByShard(t *testing.T) {
	names := make([]filelock.Name, 1000)
	for i := range names {
		names[i][0] = byte(i % 100)
	}
	var mu sync.Mutex
	seen := map[int]int{}
	err := filelock.ByShard(names, func(shard int, places []int) error {
		mu.Lock()
		defer mu.Unlock()
		for _, i := range places {
			if names[i].Shard() != shard {
				t.Errorf("place %d is not of folder %d", i, shard)
			}
			seen[i]++
		}
		return nil
	})
	if err != nil || len(seen) != len(names) {
		t.Errorf("%d of %d places were worked on, %v", len(seen), len(names), err)
	}
	for i, n := range seen {
		if n != 1 {
			t.Errorf("place %d was worked on %d times", i, n)
		}
	}
	wrong := errors.New("wrong")
	calls := 0
	err = filelock.ByShard(names, func(int, []int) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		return wrong
	})
	if err != wrong || calls > 10 {
		t.Errorf("ByShard = %v after %d calls, want the error after few", err, calls)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	seen := map[filelock.Name]string{}
	for _, kind := range []byte("ab") {
		for _, parts := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"ab", "c"}, {"a", "bc"}, {"abc", ""}, {"../..", "x"}} {
			name := s.NameOf(kind, parts[0], parts[1])
			if other, ok := seen[name]; ok {
				t.Errorf("%q of kind %c has the name of %s", parts, kind, other)
			}
			seen[name] = fmt.Sprintf("%q of kind %c", parts, kind)
			path := s.Path(name, ".x")
			if filepath.Dir(path) != s.Folder(name.Shard()) {
				t.Errorf("%s is not in folder %s", path, s.Folder(name.Shard()))
			}
			base := filepath.Base(path)
			if back, ok := filelock.ParseName(name.Shard(), base[:len(base)-2]); !ok || back != name {
				t.Errorf("the name of %s is read as %x, want %x", path, back, name)
			}
		}
	}
	for _, text := range []string{"", "lock", "x", string(make([]byte, 62))} {
		if _, ok := filelock.ParseName(0, text); ok {
			t.Errorf("%q is taken for a name", text)
		}
	}
}

// A directory on another host is refused, as far as that can be told; the temporary one
// of this test is not.
func TestDirectoryIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	defer s.Close()
	if err := s.Read(t.Context(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v; want access for its owner alone", info, err)
	}
}
