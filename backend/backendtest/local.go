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
		if got := says(local.Peek(key)); got != t.kept(want) {
			t.Fatalf("Peek(%s) = %q, want %q", brief(key), got, t.kept(want))
		}
		name := []byte(key.Name)
		if got := says(local.PeekBytes(key.Region, name)); got != t.kept(want) {
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
	if local.PeekBytes("users", nil) != nil {
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

	guard := backend.Guard{Region: "users", Tag: "a"}
	cell := local.Live(guard)
	if cell == nil || local.Live(backend.Guard{Region: "users", Tag: "a"}) != cell {
		t.Fatal("Live returned no cell, or another one for an equal guard")
	}
	if local.Live(region) == cell {
		t.Fatal("Live returned one cell for two guards")
	}
	for _, soft := range []bool{false, true} {
		t.sameStamps("the cell", []backend.Stamps{cell.Load()}, t.current(t.a, guard))
		t.renew(t.a, soft, guard)
	}
	t.sameStamps("the cell", []backend.Stamps{cell.Load()}, t.current(t.a, guard))

	t.closes(t.a)
	if local.Peek(user("b")) != nil || local.PeekBytes("users", []byte("b")) != nil {
		t.Error("Peek found something after Close")
	}
}
