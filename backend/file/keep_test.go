package file_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/file"
	"github.com/dogpile-go/dogpile/internal/filelock"
)

func tag(name string) backend.Guard { return backend.Guard{Region: "users", Tag: name} }

func stampsNow(t testing.TB, b backend.Backend, guards ...backend.Guard) []backend.Stamps {
	t.Helper()
	stamps, err := b.Stamps(t.Context(), guards)
	if err != nil {
		t.Fatalf("Stamps: %v", err)
	}
	return stamps
}

// read returns the stamps that are there, and makes none.
func read(t testing.TB, b backend.Backend, guards ...backend.Guard) []backend.Stamps {
	t.Helper()
	_, stamps, err := b.GetMulti(t.Context(), nil, guards)
	if err != nil {
		t.Fatalf("GetMulti: %v", err)
	}
	return stamps
}

// newTag makes the stamps of a tag and returns the path of their file.
func newTag(t testing.TB, b backend.Backend, dir, name string) string {
	t.Helper()
	return newGuard(t, b, dir, tag(name))
}

func newGuard(t testing.TB, b backend.Backend, dir string, guard backend.Guard) string {
	t.Helper()
	known := map[string]bool{}
	for _, path := range filesOf(t, dir, ".g") {
		known[path] = true
	}
	stampsNow(t, b, guard)
	for _, path := range filesOf(t, dir, ".g") {
		if !known[path] {
			return path
		}
	}
	t.Fatalf("the tag %q has no file of its own", guard.Tag)
	return ""
}

// needed returns for how long from now the stamps in a file are noted to be needed.
func needed(t testing.TB, path string) time.Duration {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return time.Until(info.ModTime())
}

// store stores a value for each of ttls, all with the same guards.
func store(t testing.TB, b backend.Backend, guards []backend.Guard, ttls ...time.Duration) []backend.Stamps {
	t.Helper()
	items := make([]backend.Item, len(ttls))
	for i, ttl := range ttls {
		items[i] = backend.Item{Key: key(fmt.Sprint("value ", i)), Entry: &backend.Entry{Data: []byte("x")}, TTL: ttl}
	}
	stamps, err := b.Set(t.Context(), items, guards)
	if err != nil {
		t.Fatalf("Set: %v", err)
	}
	return stamps
}

// The stamps of a tag are needed for as long as the value of the longest life that was
// ever stored with them.
func TestStampsAreNeededAsLongAsValues(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	region := backend.Guard{Region: "users"}
	for i, c := range []struct {
		ttls        []time.Duration
		least, most time.Duration
	}{
		{[]time.Duration{time.Second}, time.Second, 2 * time.Minute},
		{[]time.Duration{time.Hour}, time.Hour, 70 * time.Minute},
		{[]time.Duration{time.Minute, 10 * time.Hour, time.Second}, 10 * time.Hour, 12 * time.Hour},
		{[]time.Duration{300 * 24 * time.Hour}, 300 * 24 * time.Hour, 302 * 24 * time.Hour},
		{[]time.Duration{time.Minute, 0, time.Minute}, 50 * 365 * 24 * time.Hour, math.MaxInt64},
		{[]time.Duration{math.MaxInt64}, 50 * 365 * 24 * time.Hour, math.MaxInt64},
		{[]time.Duration{-1}, -time.Minute, 0},
	} {
		name := fmt.Sprint("tag ", i)
		path := newTag(t, b, dir, name)
		before := stampsNow(t, b, region, tag(name))
		began := time.Now()
		if got := store(t, b, []backend.Guard{region, tag(name)}, c.ttls...); got[0] != before[0] || got[1] != before[1] {
			t.Errorf("Set returned the stamps %x, want %x", got, before)
		}
		if got := needed(t, path); got+time.Since(began) < c.least || got > c.most {
			t.Errorf("with values of %v stamps are needed for %v, want %v to %v", c.ttls, got, c.least, c.most)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		noted := info.ModTime()
		// Neither less nor, for the same again, anything new.
		store(t, b, []backend.Guard{tag(name)}, c.ttls...)
		store(t, b, []backend.Guard{tag(name)}, -1)
		if info, err := os.Lstat(path); err != nil || !info.ModTime().Equal(noted) {
			t.Errorf("with values of %v once more another time is noted: %v, %v; want %v", c.ttls, info.ModTime(), err, noted)
		}
		if c.most < 0 {
			continue
		}
		store(t, b, []backend.Guard{tag(name)}, time.Millisecond)
		if got := needed(t, path); got+time.Since(began) < c.least {
			t.Errorf("after a value of a short life stamps are needed for %v, want %v", got, c.least)
		}
		// Whoever renews them takes that over.
		for _, soft := range []bool{false, true} {
			before := read(t, b, tag(name))[0]
			if err := b.Renew(t.Context(), []backend.Guard{tag(name)}, soft); err != nil {
				t.Fatal(err)
			}
			if after := read(t, b, tag(name))[0]; soft && after.Soft == before.Soft || !soft && after.Hard == before.Hard {
				t.Errorf("Renew with soft = %v left %x", soft, after)
			}
			if got := needed(t, path); got+time.Since(began) < c.least {
				t.Errorf("after a Renew with soft = %v stamps are needed for %v, want %v", soft, got, c.least)
			}
		}
	}
	for _, path := range filesOf(t, dir, ".s") {
		if got := needed(t, path); got > 0 {
			t.Errorf("the stamps of a region are noted to be needed for %v", got)
		}
	}
}

// A sweep keeps the stamps of tags while they are needed and for an hour, and removes
// the others.
func TestSweepOfTags(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	paths := map[string]string{}
	for _, name := range []string{"needed", "needed no more", "needed until lately", "asked for again", "made", "made long ago", "read"} {
		paths[name] = newTag(t, b, dir, name)
	}
	before := stampsNow(t, b, tag("needed"), tag("needed until lately"), tag("asked for again"))
	store(t, b, []backend.Guard{tag("needed"), tag("needed no more"), tag("needed until lately")}, time.Hour)
	age(t, 61*time.Minute, paths["needed no more"], paths["made long ago"], paths["read"])
	age(t, 59*time.Minute, paths["needed until lately"], paths["made"], paths["asked for again"])
	stampsNow(t, b, tag("asked for again"))
	if got := needed(t, paths["asked for again"]); got < -time.Minute {
		t.Errorf("stamps that were asked for a moment ago are noted to be needed for %v", got)
	}
	for range 100 {
		read(t, b, tag("read"))
	}
	file.Sweep(b)
	for name, path := range paths {
		want := name != "needed no more" && name != "made long ago" && name != "read"
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("the stamps of the tag %q are there = %v, want %v", name, err == nil, want)
		}
	}
	for i, s := range read(t, b, tag("needed"), tag("needed until lately"), tag("asked for again")) {
		if s != before[i] {
			t.Errorf("stamps that were kept are %x, want %x", s, before[i])
		}
	}
}

// However many tags there are, a sweep keeps what is needed. Of regions it keeps so many
// as no program has.
func TestSweepOfManyTags(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	for i := range 100 {
		stampsNow(t, b, tag(fmt.Sprint(i)), backend.Guard{Region: fmt.Sprint("region ", i)})
	}
	other := open(t, dir, file.Config{}) // which writes nothing, and so does not sweep by itself
	file.KeepStamps(other, 20)
	file.Sweep(other)
	if n := len(filesOf(t, dir, ".g")); n != 100 {
		t.Errorf("the stamps of %d tags are left, want 100", n)
	}
	if n := len(filesOf(t, dir, ".s")); n > 20 || n < 15 {
		t.Errorf("the stamps of %d regions are left, want 20 or somewhat fewer", n)
	}
}

// The stamps of tags count as what they take on the disk, and values have half of it at
// least: those go first that are needed for the shortest time.
func TestSweepBoundsTags(t *testing.T) {
	const blocks = 256 // of 4 KiB, in MaxSize
	dir := t.TempDir()
	b := open(t, dir, file.Config{}) // it has room for all
	var guards []backend.Guard
	for i := range 200 {
		guards = append(guards, tag(fmt.Sprint(i)))
	}
	before := stampsNow(t, b, guards...)
	for i := range guards {
		store(t, b, guards[i:i+1], time.Duration(i+1)*time.Hour)
	}
	for i := range 200 {
		set(t, b, fmt.Sprint("one of many ", i), []byte("x"))
	}
	file.Sweep(open(t, dir, file.Config{MaxSize: blocks << 12}))
	values, tags := len(filesOf(t, dir, ".v")), len(filesOf(t, dir, ".g"))
	if tags > blocks/2 || tags < blocks/3 {
		t.Errorf("the stamps of %d tags are left, want up to %d", tags, blocks/2)
	}
	if values+tags > blocks || values < blocks/3 {
		t.Errorf("%d values are left beside the stamps of %d tags, want %d files in all", values, tags, blocks)
	}
	for i, s := range read(t, b, guards...) {
		if want := i >= len(guards)-tags; (s == before[i]) != want {
			t.Errorf("the stamps of tag %d, which are needed for %d hours, are there = %v, want %v", i, i+1, s == before[i], want)
		}
	}
}

// Tags that have no stamps get none from a Renew or a Set, and a region gets them.
func TestAbsentTagsStayAbsent(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	for _, soft := range []bool{false, true} {
		if err := b.Renew(t.Context(), []backend.Guard{tag("a"), tag("b"), {Region: "posts", Tag: "c"}}, soft); err != nil {
			t.Fatal(err)
		}
	}
	if got := store(t, b, []backend.Guard{tag("a"), tag("b")}, time.Hour, 0); got[0] != (backend.Stamps{}) || got[1] != (backend.Stamps{}) {
		t.Errorf("Set returned the stamps %x for absent tags", got)
	}
	if paths := filesOf(t, dir, ".g"); len(paths) != 0 {
		t.Errorf("there are the files %q for tags that nobody has made stamps of", paths)
	}
	if err := b.Renew(t.Context(), []backend.Guard{{Region: "users"}}, false); err != nil {
		t.Fatal(err)
	}
	if n := len(filesOf(t, dir, ".s")); n != 1 {
		t.Errorf("there are %d files for the stamps of a region that was renewed, want 1", n)
	}
}

// whileLocked calls f while somebody else has the folder locked in which path is.
func whileLocked(t *testing.T, dir, path string, f func()) {
	t.Helper()
	shard, err := strconv.ParseUint(filepath.Base(filepath.Dir(path)), 16, 8)
	if err != nil {
		t.Fatal(err)
	}
	space, err := filelock.NewSpace(dir, "", errors.New("closed"))
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	if err := space.Locked(t.Context(), int(shard), func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// apart makes tags whose stamps are in folders of their own, and in another one than
// that of what is at path.
func apart(t *testing.T, b backend.Backend, dir, path string, n int) (guards []backend.Guard, paths []string) {
	used := map[string]bool{filepath.Dir(path): true}
	for i := 0; len(guards) < n; i++ {
		name := fmt.Sprint("apart ", i)
		path := newTag(t, b, dir, name)
		if !used[filepath.Dir(path)] {
			guards, paths = append(guards, tag(name)), append(paths, path)
		}
		used[filepath.Dir(path)] = true
	}
	return guards, paths
}

// What is needed is noted before a value is stored: else a process that dies between the
// two would leave one whose tag is swept away under it.
func TestFaultNotedBeforeStored(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	set(t, b, "value 0", []byte("before"))
	value := filesOf(t, dir, ".v")[0]
	guards, paths := apart(t, b, dir, value, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	item := backend.Item{Key: key("value 0"), Entry: &backend.Entry{Data: []byte("after")}, TTL: time.Hour}
	whileLocked(t, dir, value, func() {
		if _, err := b.Set(ctx, []backend.Item{item}, guards); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set into a folder that is locked = %v, want the end of its ctx", err)
		}
		if got := needed(t, paths[0]); got < 59*time.Minute {
			t.Errorf("when the value was to be stored its tag was noted to be needed for %v, want an hour", got)
		}
	})

	// And it is noted under the lock of its own folder, so that a renewal and a sweep see it.
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	item.TTL = 10 * time.Hour
	whileLocked(t, dir, paths[0], func() {
		if _, err := b.Set(ctx, []backend.Item{item}, guards); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set with a tag whose folder is locked = %v, want the end of its ctx", err)
		}
		if got := needed(t, paths[0]); got > 2*time.Hour {
			t.Errorf("what is needed was noted without the lock: %v", got)
		}
		if got := get(t, b, "value 0"); string(got) != "before" {
			t.Errorf("the value is %q though its tag could not be noted", got)
		}
		// What is noted already takes no lock.
		store(t, b, guards, time.Minute)
	})
}

// Of two who note at once, what is needed for longer stays.
func TestFaultNotedByTwo(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	set(t, b, "value 0", []byte("x"))
	guards, paths := apart(t, b, dir, filesOf(t, dir, ".v")[0], 2)
	done := make(chan struct{})
	whileLocked(t, dir, paths[0], func() {
		go func() {
			defer close(done)
			item := backend.Item{Key: key("value 0"), Entry: &backend.Entry{Data: []byte("x")}, TTL: time.Hour}
			if _, err := b.Set(t.Context(), []backend.Item{item}, guards); err != nil {
				t.Errorf("Set = %v", err)
			}
		}()
		// It has looked at both when it notes the second one.
		for deadline := time.Now().Add(4 * time.Second); needed(t, paths[1]) < 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Error("the tag whose folder is not locked is not noted")
				break
			}
		}
		age(t, -10*time.Hour, paths[0])
	})
	<-done
	if got := needed(t, paths[0]); got < 9*time.Hour {
		t.Errorf("stamps are noted to be needed for %v, though somebody else had noted 10 hours", got)
	}
}

// The first guard of a region is renewed, on the disk, before any other is begun.
func TestFaultRenewStopsAtTheFirst(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, file.Config{})
	guards, paths := apart(t, b, dir, "", 6)
	// And a region of which the first one is in a folder of its own.
	posts := []backend.Guard{{Region: "posts", Tag: "any"}, {Region: "posts", Tag: "a"}}
	paths = append(paths, newGuard(t, b, dir, posts[0]))
	guards = append(guards, posts...)
	for i, path := range paths[:6] {
		if filepath.Dir(path) == filepath.Dir(paths[6]) {
			t.Fatalf("guard %d and the first one of posts are in one folder; give it another name", i)
		}
	}
	before := stampsNow(t, b, guards...)
	renew := func(locked int, soft bool) []backend.Stamps {
		whileLocked(t, dir, paths[locked], func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := b.Renew(ctx, guards, soft); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Renew of a guard whose folder is locked = %v, want the end of its ctx", err)
			}
		})
		return read(t, b, guards...)
	}
	for _, soft := range []bool{false, true} {
		for _, locked := range []int{0, 6} {
			for i, s := range renew(locked, soft) {
				if i != 0 && i != 6 && s != before[i] {
					t.Errorf("with soft = %v guard %d was renewed though guard %d, a first one, could not be", soft, i, locked)
				}
			}
		}
	}
	after := renew(3, false)
	for i, s := range after {
		if (i == 0 || i == 6) && s.Hard == before[i].Hard || i == 3 && s != before[i] {
			t.Errorf("when guard 3 could not be renewed the stamps of guard %d are %x, and were %x", i, s, before[i])
		}
	}
}

// Very many tags of one value work.
func TestManyTags(t *testing.T) {
	b := open(t, t.TempDir(), file.Config{})
	guards := []backend.Guard{{Region: "users"}}
	for i := range 500 {
		guards = append(guards, tag(fmt.Sprint(i)))
	}
	began := time.Now()
	took := func(what string) {
		t.Logf("%s: %v", what, time.Since(began))
		began = time.Now()
	}
	_, before, err := b.Acquire(t.Context(), []backend.Key{key("k")}, guards)
	if err != nil {
		t.Fatal(err)
	}
	took("Acquire, which makes them")
	store(t, b, guards, time.Hour)
	took("Set, which notes them")
	store(t, b, guards, time.Hour)
	took("Set, which need not note them")
	found, err := b.Get(t.Context(), key("k"), guards)
	if err != nil {
		t.Fatal(err)
	}
	took("Get")
	for i, s := range found.Stamps {
		if s != before[i] || s.Hard.IsZero() {
			t.Fatalf("the stamps of guard %d are %x, want %x", i, s, before[i])
		}
	}
	if err := b.Renew(t.Context(), guards, true); err != nil {
		t.Fatal(err)
	}
	took("Renew")
	for i, s := range read(t, b, guards...) {
		if s.Soft == before[i].Soft || s.Hard != before[i].Hard {
			t.Fatalf("guard %d: a soft Renew made %x of %x", i, s, before[i])
		}
	}
}
