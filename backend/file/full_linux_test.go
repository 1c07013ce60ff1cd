package file_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/region"
)

// smallDisk returns a directory on a file system of its own, or skips the test.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// On a disk that is full a Set says so and leaves what was stored; invalidation works,
// and the region goes on (R37).
func TestFaultDiskFull(t *testing.T) {
	dir := smallDisk(t, "size=2m")
	b := open(t, dir, file.Config{})
	old, guards := bytes.Repeat([]byte("old"), 1000), []backend.Guard{{Region: "users"}}
	set(t, b, "k", old)
	if _, err := b.Stamps(t.Context(), guards); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = put(t, b, backend.Item{Key: key("fill " + string(rune('A'+i))), Entry: &backend.Entry{Data: make([]byte, 100<<10)}})
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: Err = %v, want one that wraps ENOSPC", err)
	}
	grants, _, err := b.Acquire(t.Context(), []backend.Key{key("k")}, nil)
	if err == nil && grants[0].Lease != nil {
		large := &backend.Entry{Data: make([]byte, 200<<10)}
		if err := put(t, b, backend.Item{Key: key("k"), Entry: large, Lease: grants[0].Lease}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("publishing on a full disk: Err = %v, want one that wraps ENOSPC", err)
		}
		if err := put(t, b, backend.Item{Key: key("k"), Lease: grants[0].Lease}); err != nil {
			t.Errorf("after an item that could not be stored its lease is not held: %v", err)
		}
	}
	if got := get(t, b, "k"); !bytes.Equal(got, old) {
		t.Error("a Set that failed has changed what was stored")
	}
	if left := filesOf(t, dir, ".t"); len(left) > 0 {
		t.Errorf("what could not be written is left behind: %q", left)
	}
	r, err := region.New("other", region.Config{Backend: b, Expiration: time.Hour, KeepBackendOpen: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	create := func(context.Context) ([]byte, error) { return make([]byte, 300<<10), nil }
	for range 3 {
		if got, err := region.GetOrCreate(t.Context(), r, "k", create); len(got) != 300<<10 || err != nil {
			t.Errorf("GetOrCreate on a full disk = %d bytes, %v; want the region to go on", len(got), err)
		}
	}
	if err := b.Delete(t.Context(), []backend.Key{key("k")}); err != nil {
		t.Errorf("Delete on a full disk = %v", err)
	}
	if got := get(t, b, "k"); got != nil {
		t.Error("Delete on a full disk leaves the entry")
	}
}

// On a disk that cannot be written reads go on, and writes say why.
func TestFaultReadOnly(t *testing.T) {
	dir := smallDisk(t, "size=2m")
	b := open(t, dir, file.Config{})
	guards := []backend.Guard{{Region: "users"}}
	set(t, b, "k", []byte("x"))
	stamps, err := b.Stamps(t.Context(), guards)
	if err != nil {
		t.Fatal(err)
	}
	b.Close() // a file that is open for writing would be in the way
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("it cannot be made read-only: %v", err)
	}
	b = open(t, dir, file.Config{})
	found, err := b.Get(t.Context(), key("k"), guards)
	if err != nil || found.Entry == nil || string(found.Entry.Data) != "x" || found.Stamps[0] != stamps[0] {
		t.Errorf("Get = %+v, %v; want what was stored", found, err)
	}
	for name, err := range map[string]error{
		"Set":    put(t, b, backend.Item{Key: key("k"), Entry: &backend.Entry{}}),
		"Delete": b.Delete(t.Context(), []backend.Key{key("k")}),
		"Renew":  b.Renew(t.Context(), guards, false),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s = %v, want an error that wraps EROFS", name, err)
		}
	}
}

// On a disk without a single free block there is no room for new stamps. What is to be
// invalidated hard is so all the same, because the old ones can be removed.
func TestFaultInvalidationOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "size=4m")
	ctx := t.Context()
	on := func() *region.Region {
		r, err := region.New("users", region.Config{Backend: open(t, dir, file.Config{}), Expiration: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	r, elsewhere := on(), on()
	if err := region.Set(ctx, r, "k", "old", region.WithTags("t")); err != nil {
		t.Fatal(err)
	}
	fill, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	if err := r.InvalidateTags(ctx, "t"); err != nil {
		t.Errorf("InvalidateTags: %v", err)
	}
	if v, ok, err := region.Get[string](ctx, elsewhere, "k", region.AllowStale()); ok || err != nil {
		t.Errorf("%q, %v, %v is found elsewhere", v, ok, err)
	}
	if err := r.Invalidate(ctx, region.Hard); err != nil {
		t.Errorf("Invalidate: %v", err)
	}
}
