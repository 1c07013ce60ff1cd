package backendtest

import (
	"github.com/dogpile-go/dogpile/backend"
)

func localAgrees(t *trial) {
	local, ok := t.a.(backend.Local)
	if !ok {
		t.Skip("for backends that implement backend.Local")
	}
	peek := func(key backend.Key, want string) {
		t.Helper()
		if got := says(local.In(key.Region).Peek(key.Name)); got != t.kept(want) {
			t.Fatalf("Peek(%s) = %q, want %q", brief(key), got, t.kept(want))
		}
		name := []byte(key.Name)
		if got := says(local.In(key.Region).PeekBytes(name)); got != t.kept(want) {
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
	if local.In("users").PeekBytes(nil) != nil {
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
	if local.In("users").Peek("b") != nil || local.In("users").PeekBytes([]byte("b")) != nil {
		t.Error("Peek found something after Close")
	}
}
