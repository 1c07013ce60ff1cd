package file_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/file"
	"github.com/dogpile-go/dogpile/lock/locktest"
)

func open(t *testing.T, dir string, cfg file.Config) *file.Locker {
	t.Helper()
	l := file.New(dir, cfg)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestConformance(t *testing.T) {
	t.Run("OneSide", func(t *testing.T) {
		locktest.Run(t, func(t *testing.T) lock.Locker { return open(t, t.TempDir(), file.Config{}) })
	})
	t.Run("Pair", func(t *testing.T) {
		locktest.RunPair(t, func(t *testing.T) (a, b lock.Locker) {
			dir := t.TempDir()
			return open(t, dir, file.Config{}), open(t, dir, file.Config{})
		})
	})
}

func TestConfig(t *testing.T) {
	for _, l := range []*file.Locker{
		file.New("", file.Config{}), file.New("a\x00b", file.Config{}),
		file.New("x", file.Config{LeaseTTL: -1}), file.New("x", file.Config{LeaseTTL: 1}),
	} {
		if !errors.Is(l.Err(), file.ErrConfig) {
			t.Errorf("Err = %v, want file.ErrConfig", l.Err())
		}
		if _, err := l.TryAcquire(t.Context(), "k"); !errors.Is(err, file.ErrConfig) {
			t.Errorf("TryAcquire = %v, want file.ErrConfig", err)
		}
		if err := l.Wait(t.Context(), "k"); !errors.Is(err, file.ErrConfig) {
			t.Errorf("Wait = %v, want file.ErrConfig", err)
		}
		if err := l.Void(t.Context(), "k"); !errors.Is(err, file.ErrConfig) {
			t.Errorf("Void = %v, want file.ErrConfig", err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	}
}

// Prefixes keep locks of one directory apart.
func TestPrefixes(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{}), open(t, dir, file.Config{Prefix: "pilegod"})
	same := open(t, dir, file.Config{Prefix: file.DefaultPrefix})
	if _, err := a.TryAcquire(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TryAcquire(t.Context(), "k"); err != nil {
		t.Errorf("TryAcquire under another prefix = %v, want a lease", err)
	}
	if _, err := same.TryAcquire(t.Context(), "k"); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("TryAcquire under the same prefix = %v, want lock.ErrHeld", err)
	}
}

// A directory that cannot be made is an error, and is used as soon as it can be.
func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "locks")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, file.Config{})
	if lease, err := l.TryAcquire(t.Context(), "k"); err == nil || errors.Is(err, lock.ErrHeld) || lease != nil {
		t.Errorf("TryAcquire without a directory = %v, %v; want its error", lease, err)
	}
	if err := l.Void(t.Context(), "k"); err == nil {
		t.Error("Void without a directory = nil")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := l.TryAcquire(t.Context(), "k"); err != nil {
		t.Errorf("TryAcquire once there can be a directory = %v", err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v; want access for its owner alone", info.Mode(), err)
	}
}

// A lease file that is no lease, or not a whole one, holds nothing.
func TestDamagedLeases(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Config{})
	lease, err := l.TryAcquire(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	path := leaseFiles(t, dir)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	contents := []string{strings.Repeat("x", 1<<20), strings.Repeat("../", len(whole)/3), string(whole) + "x", strings.ToUpper(string(whole))}
	for n := range whole {
		contents = append(contents, string(whole[:n]))
	}
	for _, content := range contents {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.Wait(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		lease, err := l.TryAcquire(t.Context(), "k")
		if err != nil {
			t.Fatalf("TryAcquire over a file of %d bytes that is no lease = %v", len(content), err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left := leaseFiles(t, dir); len(left) != 0 {
		t.Errorf("files of leases are left: %q", left)
	}
}

func leaseFiles(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := fs.Glob(os.DirFS(dir), "*/*.l")
	if err != nil {
		t.Fatal(err)
	}
	for i := range paths {
		paths[i] = filepath.Join(dir, paths[i])
	}
	return paths
}

// holder holds leases until it is killed, or told to end.
func holder(w *fleettest.Worker) error {
	var dir string
	if err := w.Params(&dir); err != nil {
		return err
	}
	l := file.New(dir, file.Config{LeaseTTL: time.Second})
	for i := range 10 {
		lease, err := l.TryAcquire(context.Background(), fmt.Sprint(i))
		if err != nil {
			return err
		}
		go func() {
			<-lease.Lost()
			w.Event("lost", i)
		}()
	}
	w.Ready()
	w.Await("end")
	return l.Close()
}

// The leases of a process that is killed are free at once (R3).
func TestFaultHolderIsKilled(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Config{LeaseTTL: time.Hour})
	for range 3 {
		fleet := fleettest.Start(t, "holder", 1, dir)
		fleet.AwaitReady()
		if _, err := l.TryAcquire(t.Context(), "3"); !errors.Is(err, lock.ErrHeld) {
			t.Fatalf("TryAcquire of what another process holds = %v, want lock.ErrHeld", err)
		}
		woken := make(chan error, 1)
		go func() { woken <- l.Wait(t.Context(), "1", "2", "3") }()
		fleet.Workers[0].Kill()
		killed := time.Now()
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		took := time.Since(killed)
		t.Logf("woken %v after the kill", took)
		if took > time.Second {
			t.Errorf("woken %v after the kill, want at once", took)
		}
		for i := range 10 {
			lease, err := l.TryAcquire(t.Context(), fmt.Sprint(i))
			if err != nil {
				t.Fatalf("TryAcquire of what a dead process held = %v", err)
			}
			if err := lease.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Those of one that is stopped are free after LeaseTTL, and it learns of that when it
// goes on (R4).
func TestFaultHolderIsStopped(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Config{LeaseTTL: time.Second})
	fleet := fleettest.Start(t, "holder", 1, dir)
	fleet.AwaitReady()
	fleet.Workers[0].Stop()
	stopped := time.Now()
	if err := l.Wait(t.Context(), "3"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(stopped); took < 500*time.Millisecond {
		t.Errorf("free %v after its holder was stopped, want after its TTL of 1s", took)
	}
	lease, err := l.TryAcquire(t.Context(), "3")
	if err != nil {
		t.Fatalf("TryAcquire of what a stopped process held = %v", err)
	}
	fleet.Workers[0].Continue()
	fleet.AwaitEvents("lost", 1)
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	fleet.Send("end")
	fleet.Wait()
	if n := len(leaseFiles(t, dir)); n != 0 {
		t.Errorf("%d files of leases are left", n)
	}
}

// A holder is told at once when another process voids its lease.
func TestVoidedElsewhere(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Config{})
	fleet := fleettest.Start(t, "holder", 1, dir)
	fleet.AwaitReady()
	first := time.Now()
	for i := range 5 {
		began := time.Now()
		if err := l.Void(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		events := fleet.AwaitEvents("lost", i+1)
		if len(events) != i+1 {
			t.Fatalf("%d leases were lost, %d were voided", len(events), i+1)
		}
		t.Logf("told %v after the call", events[i].At.Sub(began))
	}
	// A holder that was not told looks by itself every second.
	if took := time.Since(first); took > 3*time.Second {
		t.Errorf("it took %v to tell of five leases one after the other, want at once", took)
	}
	fleet.Send("end")
	fleet.Wait()
}

// turns takes the lease as often as it can; who has it says so, for long enough for
// others to say so too if they had it.
func turns(w *fleettest.Worker) error {
	var dir string
	if err := w.Params(&dir); err != nil {
		return err
	}
	l := file.New(dir, file.Config{})
	inside := filepath.Join(dir, "inside")
	w.Ready()
	w.Await("go")
	for range 40 {
		var lease lock.Lease
		for lease == nil {
			var err error
			if lease, err = l.TryAcquire(context.Background(), "k"); errors.Is(err, lock.ErrHeld) {
				err = l.Wait(context.Background(), "k")
			}
			if err != nil {
				return err
			}
		}
		if err := os.Mkdir(inside, 0o700); err != nil {
			return fmt.Errorf("somebody else has the lease as well: %w", err)
		}
		if err := os.Remove(inside); err != nil {
			return err
		}
		if err := lease.Release(context.Background()); err != nil {
			return err
		}
	}
	return l.Close()
}

// Processes take turns.
func TestProcessesTakeTurns(t *testing.T) {
	fleet := fleettest.Start(t, "turns", 6, t.TempDir())
	fleet.AwaitReady()
	fleet.Send("go")
	fleet.Wait()
}

// A lease that its holder has released is not lost, also if its process looks at its
// leases at that moment because others were voided.
func TestReleasedIsNotLost(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{}), open(t, dir, file.Config{})
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := a.TryAcquire(t.Context(), "voided"); err != nil && !errors.Is(err, lock.ErrHeld) {
				t.Errorf("TryAcquire = %v", err)
				return
			}
			if err := b.Void(t.Context(), "voided"); err != nil {
				t.Errorf("Void = %v", err)
				return
			}
		}
	}()
	for range 3000 {
		lease, err := a.TryAcquire(t.Context(), "released")
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-lease.Lost():
			t.Fatal("a lease was lost while its holder released it")
		default:
		}
	}
	close(stop)
	<-over
}

// A lease that cannot be released, because somebody who is stopped has its folder
// locked, is released when it can be.
func TestFaultReleasedLater(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{}), open(t, dir, file.Config{})
	lease, err := a.TryAcquire(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	stopped := flock.New(filepath.Join(filepath.Dir(leaseFiles(t, dir)[0]), "lock"))
	if ok, err := stopped.TryLock(); err != nil || !ok {
		t.Fatalf("the lock of a folder in which nothing happens: %v, %v", ok, err)
	}
	defer stopped.Close()
	if err := lease.Release(t.Context()); !errors.Is(err, file.ErrBusy) {
		t.Errorf("Release = %v, want file.ErrBusy", err)
	}
	if err := stopped.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TryAcquire(t.Context(), "k"); err != nil {
		t.Errorf("TryAcquire of what was released = %v", err)
	}
	select {
	case <-lease.Lost():
		t.Error("a lease that was released is lost")
	default:
	}
}
