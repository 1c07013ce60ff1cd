package backendtest

import (
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

func localAgrees(t *trial) {
	local, ok := t.a.(backend.Local)
	if !ok {
		t.Skip("for backends that implement backend.Local")
	}
	peek := func(key backend.Key, want string) {
		t.Helper()
		e, atMost := local.In(key.Region).Peek(key.Name)
		if got := says(e); got != t.kept(want) {
			t.Fatalf("Peek(%s) = %q, want %q", brief(key), got, t.kept(want))
		}
		if e != nil && !e.Created.IsZero() && atMost < time.Since(e.Created) {
			t.Fatalf("Peek(%s) is at most %v old, but was created %v ago", brief(key), atMost, time.Since(e.Created))
		}
		name := []byte(key.Name)
		e, _ = local.In(key.Region).PeekBytes(name)
		if got := says(e); got != t.kept(want) {
			t.Fatalf("PeekBytes(%s) = %q, want %q", brief(key), got, t.kept(want))
		}
		// The bytes are the caller's, who uses them for the next key.
		for i := range name {
			name[i] = '#'
		}
	}
	for _, name := range names() {
		peek(user(name), says(nil))
	}
	if e, _ := local.In("users").PeekBytes(nil); e != nil {
		t.Error("PeekBytes of a nil name found something")
	}
	for _, name := range names() {
		t.set(t.a, user(name), "value of "+name)
	}
	for range 2 {
		for _, name := range names() {
			peek(user(name), "value of "+name)
			peek(backend.Key{Region: "posts", Name: name}, says(nil))
		}
	}
	t.delete(t.a, user("a"))
	peek(user("a"), says(nil))

	// Ages are bounded from above, however old an entry is when it is stored.
	for _, age := range []time.Duration{0, time.Minute, 1000 * time.Hour} {
		old := t.entry("old")
		old.Created = time.Now().Add(-age)
		t.put(t.a, backend.Item{Key: user("old"), Entry: old})
		if e, atMost := local.In("users").Peek("old"); e != nil && (atMost < age || atMost > age+time.Minute) {
			t.Errorf("an entry of %v is at most %v old", age, atMost)
		}
	}
	t.put(t.a, backend.Item{Key: user("old"), Entry: &backend.Entry{Value: new(string)}})
	if e, atMost := local.In("users").Peek("old"); e != nil && atMost < 1000*time.Hour {
		t.Errorf("an entry created at time zero is at most %v old", atMost)
	}

	guard := backend.Guard{Region: "users"}
	cell := local.In("users").Live()
	if cell == nil || local.In("users").Live() != cell {
		t.Fatal("Live returned no cell, or another one for an equal region")
	}
	if local.In("posts").Live() == cell {
		t.Fatal("Live returned one cell for two regions")
	}
	for _, soft := range []bool{false, true} {
		before := cell.Load()
		t.sameStamps("the cell", []backend.Stamps{before}, t.current(t.a, guard))
		if !cell.Are(before) {
			t.Error("Are does not know the current stamps")
		}
		t.renew(t.a, soft, guard)
		if cell.Are(before) {
			t.Error("Are takes old stamps for the current ones")
		}
	}
	t.sameStamps("the cell", []backend.Stamps{cell.Load()}, t.current(t.a, guard))

	t.closes(t.a)
	after, _ := local.In("users").Peek("b")
	bytes, _ := local.In("users").PeekBytes([]byte("b"))
	if after != nil || bytes != nil {
		t.Error("Peek found something after Close")
	}
}
