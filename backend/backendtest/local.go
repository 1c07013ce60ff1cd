package backendtest

import (
	"fmt"
	"runtime"
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
	t.cellsOfTags(local)

	t.closes(t.a)
	after, _ := local.In("users").Peek("b")
	bytes, _ := local.In("users").PeekBytes([]byte("b"))
	if after != nil || bytes != nil {
		t.Error("Peek found something after Close")
	}
}

// cellsOfTags checks the cells of tags, which are kept while somebody holds them, or while
// an entry is stored that carries their stamps, and need not be kept otherwise.
func (t *trial) cellsOfTags(local backend.Local) {
	for _, name := range names() {
		if name == "" {
			continue // the region itself
		}
		held := local.In("users").LiveTag(name)
		if held == nil || local.In("users").LiveTag(name) != held {
			t.Fatalf("LiveTag(%.40q) returned no cell, or another one although it is held", name)
		}
		if local.In("posts").LiveTag(name) == held || local.In("users").LiveTag(name+"+") == held || local.In("users").Live() == held {
			t.Fatalf("LiveTag(%.40q) returned the cell of another guard", name)
		}
		for _, soft := range []bool{false, true} {
			before, others := held.Load(), t.current(t.a, region, tag(name+"+"))
			t.sameStamps("the cell of a tag", []backend.Stamps{before}, t.current(t.a, tag(name)))
			t.renew(t.a, soft, tag(name))
			if held.Are(before) {
				t.Fatalf("Renew with soft = %v left the cell of the tag %.40q as it was", soft, name)
			}
			t.sameStamps("the cell of a tag", []backend.Stamps{held.Load()}, t.current(t.a, tag(name)))
			t.sameStamps("Stamps of others", t.current(t.a, region, tag(name+"+")), others)
		}
	}

	held := local.In("users").LiveTag("held")
	stamps := t.current(t.a, tag("held"), tag("carried"))
	_, err := t.a.Set(t.ctx, []backend.Item{{Key: user("carries"), Entry: t.entry("x")}}, []backend.Guard{region, tag("carried")})
	t.must(err)
	for i := range 50_000 {
		local.In("users").LiveTag(fmt.Sprint("passing ", i))
	}
	runtime.GC()
	runtime.GC()
	kept := []backend.Guard{tag("held")}
	if !t.storesNothing {
		kept = append(kept, tag("carried"))
	}
	t.sameStamps("Stamps, after very many other tags,", t.current(t.a, kept...), stamps[:len(kept)])
	if local.In("users").LiveTag("held") != held {
		t.Error("LiveTag returned another cell although it is held")
	}
	runtime.KeepAlive(held)
}
