package file_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/region"
)

// Whatever happens to a file, it is as it was written or a miss, and never an error
// (R37).
func TestDamageIsAMiss(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	data := []byte("what was stored")
	set(t, b, "k", data)
	path := filesOf(t, dir, ".v")[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n := range whole {
		write(whole[:n])
		if got := get(t, b, "k"); got != nil {
			t.Errorf("of a file that was cut off after %d bytes %q is read", n, got)
		}
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[n] ^= 1 << bit
			write(damaged)
			if got := get(t, b, "k"); got != nil {
				t.Errorf("bit %d of byte %d flipped: %q is read", bit, n, got)
			}
		}
	}
	for name, content := range map[string][]byte{
		"longer":  append(bytes.Clone(whole), 'x'),
		"foreign": []byte("#!/bin/sh\necho this is some other program's file\n"),
		"zeros":   make([]byte, 1<<20),
		"claims to be huge": func() []byte {
			c := append(bytes.Clone(whole), make([]byte, 100<<10)...)
			binary.LittleEndian.PutUint64(c[16:], 1<<62)
			return c
		}(),
		"claims a negative size": func() []byte {
			c := append(bytes.Clone(whole), make([]byte, 100<<10)...)
			binary.LittleEndian.PutUint64(c[16:], 1<<63+5)
			return c
		}(),
		"large and cut off": append(append(bytes.Clone(whole[:16]), 0, 0, 2, 0, 0, 0, 0, 0), make([]byte, 100<<10)...),
	} {
		write(content)
		if got := get(t, b, "k"); got != nil {
			t.Errorf("a file that is %s: %.20q is read", name, got)
		}
	}
	for name, replace := range map[string]func() error{
		"a folder": func() error { return os.Mkdir(path, 0o700) },
		"a link to itself": func() error {
			return os.Symlink(path, path)
		},
		"a link": func() error {
			elsewhere := filepath.Join(dir, "elsewhere")
			return errors.Join(os.WriteFile(elsewhere, whole, 0o600), os.Symlink(elsewhere, path))
		},
		"a pipe": func() error { return mkfifo(path) },
	} {
		if err := errors.Join(os.Remove(path), replace()); err != nil {
			t.Fatal(err)
		}
		if got := get(t, b, "k"); got != nil {
			t.Errorf("%s in the place of a file: %q is read", name, got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(whole)
	if got := get(t, b, "k"); !bytes.Equal(got, data) {
		t.Errorf("the file as it was reads as %q, want %q", got, data)
	}
}

// Stamps that were damaged are made anew, which kills what carries the old ones.
func TestDamagedStamps(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	guards := []backend.Guard{{Region: "users"}}
	before, err := b.Stamps(t.Context(), guards)
	if err != nil {
		t.Fatal(err)
	}
	path := filesOf(t, dir, ".s")[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		damaged := bytes.Clone(whole)
		damaged[n] ^= 1
		for _, content := range [][]byte{whole[:n], damaged} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := b.Get(t.Context(), key("k"), guards)
			if err != nil || !found.Stamps[0].Hard.IsZero() || !found.Stamps[0].Soft.IsZero() {
				t.Fatalf("of a damaged file Get returns the stamps %x, %v; want none", found.Stamps, err)
			}
		}
	}
	after, err := b.Stamps(t.Context(), guards)
	if err != nil || after[0].Hard.IsZero() || after[0].Soft.IsZero() || after[0].Hard == before[0].Hard || after[0].Soft == before[0].Soft {
		t.Errorf("stamps that were damaged are %x, %v, and were %x; want new ones", after, err, before)
	}
}

// selfTelling returns a value of a size from which its wholeness can be seen.
func selfTelling(seed uint64, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, seed)
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	r := rand.New(rand.NewPCG(seed, uint64(size)))
	for len(b) < 16+size {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:16+size]
}

func tellsItself(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	seed, size := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	return size < 1<<20 && bytes.Equal(b, selfTelling(seed, int(size)))
}

// writer writes for as long as it lives, values of all sizes, under few keys.
func writer(w *fleettest.Worker) error {
	var dir string
	if err := w.Params(&dir); err != nil {
		return err
	}
	b := file.New(dir, file.Config{})
	ctx := context.Background()
	for n := uint64(0); ; n++ {
		size := rand.IntN(1 << rand.IntN(19))
		k := key(fmt.Sprint(n % 8))
		items := []backend.Item{{Key: k, Entry: &backend.Entry{Data: selfTelling(rand.Uint64(), size)}}}
		if n%3 == 0 {
			grants, _, err := b.Acquire(ctx, []backend.Key{k}, nil)
			if err != nil {
				return err
			}
			if items[0].Lease = grants[0].Lease; items[0].Lease == nil {
				continue
			}
		}
		if n%20 == 0 {
			if err := b.Delete(ctx, []backend.Key{k}); err != nil {
				return err
			}
		}
		if _, err := b.Set(ctx, items, nil); err != nil {
			return err
		}
		if n == 20 {
			w.Ready()
		}
	}
}

// Processes are killed in the middle of their writes: what is read is a whole value or
// nothing, the keys can be used at once, and what they left is removed (R37).
func TestFaultKilledWriters(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	hits := 0
	for range rounds(6, 100) {
		fleet := fleettest.Start(t, "writer", 2, dir)
		fleet.AwaitReady()
		for end := time.Now().Add(time.Duration(rand.IntN(20)) * time.Millisecond); time.Now().Before(end); {
			for i := range 8 {
				if got := get(t, b, fmt.Sprint(i)); got != nil && !tellsItself(got) {
					t.Fatal("while others write, half a value is read")
				}
			}
		}
		fleet.Workers[0].Kill()
		fleet.Workers[1].Kill()
		for i := range 8 {
			k := key(fmt.Sprint(i))
			if got := get(t, b, k.Name); got != nil {
				hits++
				if !tellsItself(got) {
					t.Fatal("after its writer was killed, half a value is read")
				}
			}
			grants, _, err := b.Acquire(t.Context(), []backend.Key{k}, nil)
			if err != nil || grants[0].Lease == nil {
				t.Fatalf("the lease of a key whose holder was killed is not granted: %v", err)
			}
			if err := grants[0].Lease.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if hits == 0 {
		t.Error("nothing was found ever")
	}
	left := filesOf(t, dir, ".t")
	t.Logf("%d hits, %d files left behind", hits, len(left))
	old := time.Now().Add(-time.Hour)
	for _, path := range left {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	file.Sweep(b)
	if left := filesOf(t, dir, ".t"); len(left) > 0 {
		t.Errorf("a sweep leaves %d files that nobody will finish", len(left))
	}
	if left := filesOf(t, filepath.Join(dir, "process"), ""); len(left) > 1 {
		t.Errorf("a sweep leaves %d files of processes, want at most that of this one", len(left))
	}
}

// A directory that cannot be used: every write says why, reads do as well, and a region
// goes on without.
func TestFaultNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(dir, []byte("a file where the directory should be"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir, file.Config{})
	if _, err := b.Get(t.Context(), key("k"), nil); err == nil {
		t.Error("Get without a directory = nil")
	}
	if err := put(t, b, backend.Item{Key: key("k"), Entry: &backend.Entry{}}); err == nil {
		t.Error("an item that cannot be stored has no Err")
	}
	if err := b.Delete(t.Context(), []backend.Key{key("k")}); err == nil {
		t.Error("Delete without a directory = nil")
	}
	if err := b.Renew(t.Context(), []backend.Guard{{Region: "users"}}, false); err == nil {
		t.Error("Renew without a directory = nil")
	}
	if err := b.Ping(t.Context()); err == nil {
		t.Error("Ping without a directory = nil")
	}
	r, err := region.New("users", region.Config{Backend: b, Expiration: time.Hour, KeepBackendOpen: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	create := func(context.Context) (string, error) { return "made", nil }
	if got, err := region.GetOrCreate(t.Context(), r, "k", create); got != "made" || err != nil {
		t.Errorf("GetOrCreate = %q, %v; want the region to go on", got, err)
	}
	// It is used as soon as it can be.
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	set(t, b, "k", []byte("x"))
	if got := get(t, b, "k"); string(got) != "x" {
		t.Errorf("%q is found, want what was stored", got)
	}
	// It may be removed while it is used.
	removeAll(t, dir)
	if got := get(t, b, "k"); got != nil {
		t.Errorf("%q is found in a directory that was removed", got)
	}
	set(t, b, "k", []byte("y"))
	if got := get(t, b, "k"); string(got) != "y" {
		t.Errorf("%q is found, want what was stored", got)
	}
}

// removeAll removes a directory that others may be putting files into.
func removeAll(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := os.RemoveAll(dir)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Files that are removed end leases, and their holder is told.
func TestFilesAreRemoved(t *testing.T) {
	t.Parallel() // it waits for the most part
	dir := t.TempDir()
	a, b := open(t, dir, file.Config{}), open(t, dir, file.Config{})
	for name, remove := range map[string]func() error{
		"lease":   func() error { return os.Remove(filesOf(t, dir, ".l")[0]) },
		"process": func() error { return os.RemoveAll(filepath.Join(dir, "process")) },
		"all":     func() error { removeAll(t, dir); return nil },
	} {
		grants, _, err := a.Acquire(t.Context(), []backend.Key{key("k")}, nil)
		if err != nil || grants[0].Lease == nil {
			t.Fatalf("%s: Acquire = %v, %v", name, grants, err)
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if err := b.Wait(t.Context(), []backend.Key{key("k")}); err != nil {
			t.Fatalf("%s: Wait = %v", name, err)
		}
		others, _, err := b.Acquire(t.Context(), []backend.Key{key("k")}, nil)
		if err != nil || others[0].Lease == nil {
			t.Fatalf("%s: a lease whose files were removed is not granted to others: %v", name, err)
		}
		select {
		case <-grants[0].Lease.Lost():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the holder was not told that its lease is lost", name)
		}
		if err := put(t, a, backend.Item{Key: key("k"), Entry: &backend.Entry{}, Lease: grants[0].Lease}); !errors.Is(err, backend.ErrLeaseLost) {
			t.Errorf("%s: publishing under a lost lease: %v, want backend.ErrLeaseLost", name, err)
		}
		// What it takes from then on is its own.
		next, _, err := a.Acquire(t.Context(), []backend.Key{key("next")}, nil)
		if err != nil || next[0].Lease == nil {
			t.Fatalf("%s: Acquire of a free key = %v, %v", name, next, err)
		}
		if grants, _, err := b.Acquire(t.Context(), []backend.Key{key("next")}, nil); err != nil || grants[0].Lease != nil {
			t.Errorf("%s: Acquire of a key that is held = %v, %v; want no lease", name, grants, err)
		}
		if err := next[0].Lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if err := others[0].Lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// crowded is a process that may open few files.
func crowded(w *fleettest.Worker) error {
	var dir string
	if err := w.Params(&dir); err != nil {
		return err
	}
	if err := limitFiles(256); err != nil {
		return err
	}
	b := file.New(dir, file.Config{})
	ctx := context.Background()
	keys := make([]backend.Key, 1000)
	for i := range keys {
		keys[i] = key(fmt.Sprint(i))
	}
	grants, _, err := b.Acquire(ctx, keys, []backend.Guard{{Region: "users"}})
	if err != nil {
		return err
	}
	items := make([]backend.Item, len(keys))
	for i, grant := range grants {
		if grant.Lease == nil {
			return fmt.Errorf("lease %d is not granted", i)
		}
		items[i] = backend.Item{Key: keys[i], Entry: &backend.Entry{Data: []byte("x")}, Lease: grant.Lease}
	}
	var all sync.WaitGroup
	errs := make(chan error, 10*len(keys))
	for i := range keys {
		all.Go(func() {
			_, err := b.Set(ctx, items[i:i+1], []backend.Guard{{Region: "users"}})
			errs <- errors.Join(err, items[i].Err)
			_, err = b.Get(ctx, keys[i], []backend.Guard{{Region: "users"}})
			errs <- err
			errs <- b.Renew(ctx, []backend.Guard{{Region: "users", Tag: fmt.Sprint(i % 50)}}, true)
			errs <- b.Delete(ctx, keys[i:i+1])
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return b.Close()
}

// A thousand leases at once, and a thousand callers, with few descriptors.
func TestFaultFewDescriptors(t *testing.T) {
	t.Parallel() // it waits for the most part
	fleet := fleettest.Start(t, "crowded", 1, t.TempDir())
	fleet.Wait()
}

// A folder that another process keeps locked, because it is stopped, holds up nobody
// for ever, and readers not at all (I4).
func TestFaultFolderStaysLocked(t *testing.T) {
	t.Parallel() // it waits for the most part
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	set(t, b, "k", []byte("x"))
	folder := filepath.Dir(filesOf(t, dir, ".v")[0])
	stopped := flock.New(filepath.Join(folder, "lock"))
	if ok, err := stopped.TryLock(); err != nil || !ok {
		t.Fatalf("the lock of a folder in which nothing happens: %v, %v", ok, err)
	}
	defer stopped.Close()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			began := time.Now()
			if err := b.Delete(t.Context(), []backend.Key{key("k")}); !errors.Is(err, file.ErrBusy) {
				t.Errorf("Delete = %v, want file.ErrBusy", err)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %v, want five seconds however many wait", took)
			}
		})
	}
	gone := errors.New("the caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
	if err := b.Delete(ctx, []backend.Key{key("k")}); !errors.Is(err, gone) {
		t.Errorf("Delete of a caller who has gone = %v, want the cause", err)
	}
	if got := get(t, b, "k"); string(got) != "x" {
		t.Errorf("%q is read, want what is stored", got)
	}
	all.Wait()
	if err := stopped.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), []backend.Key{key("k")}); err != nil {
		t.Errorf("Delete once the folder is free = %v", err)
	}
	if got := get(t, b, "k"); got != nil {
		t.Errorf("after Delete %q is read", got)
	}
}

// filler may write files of a megabyte at most.
func filler(w *fleettest.Worker) error {
	var dir string
	if err := w.Params(&dir); err != nil {
		return err
	}
	if err := limitSizes(1 << 20); err != nil {
		return err
	}
	b := file.New(dir, file.Config{})
	items := []backend.Item{{Key: key("k"), Entry: &backend.Entry{Data: make([]byte, 3<<20)}}}
	if _, err := b.Set(context.Background(), items, nil); err != nil {
		return err
	}
	if !errors.Is(items[0].Err, syscall.EFBIG) {
		return errors.New("an item that is too large for the system has not the Err of the system")
	}
	return b.Close()
}

// A write that ends in the middle leaves what was there.
func TestFaultWriteEndsInTheMiddle(t *testing.T) {
	t.Parallel() // it waits for the most part
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	set(t, b, "k", []byte("old"))
	fleettest.Start(t, "filler", 1, dir).Wait()
	if got := get(t, b, "k"); string(got) != "old" {
		t.Errorf("%d bytes are found, want the old value", len(got))
	}
	if left := filesOf(t, dir, ".t"); len(left) > 0 {
		t.Errorf("what could not be written is left behind: %q", left)
	}
}
