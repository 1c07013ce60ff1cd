package regionpg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionpg"
	"github.com/dogpile-go/dogpile/region/regionpg/internal/pgtest"
)

// The whole way: a table with the trigger of the documentation, a region that remembers
// what is read from it, and another connection that writes.
func TestRegion(t *testing.T) {
	server := pgtest.Shared(t)
	installTrigger(t, server)
	server.Exec(t, "INSERT INTO users VALUES (1, 'Ann'), (2, 'Bob')")
	users, err := region.New("users", region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close()

	source := listen(t, regionpg.Config{URL: server.URL()})
	inv, err := region.NewInvalidator(users)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- inv.Run(context.Background(), source.Notices()) }()
	defer func() {
		_ = source.Close()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run after Close of the source: %v, want nil", err)
			}
		case <-time.After(patience):
			t.Errorf("Run does not end within %v after Close of the source", patience)
		}
	}()

	conn := server.Conn(t) // of the creators, which run one after the other
	creations := 0
	read := func(key, sql, tag string) string {
		t.Helper()
		text, err := region.GetOrCreate(t.Context(), users, key, func(ctx context.Context) (string, error) {
			creations++
			var text string
			err := conn.QueryRow(ctx, sql).Scan(&text)
			return text, err
		}, region.WithTags(tag))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return text
	}
	one := func() string { return read("1", "SELECT name FROM users WHERE id = 1", "user:1") }
	two := func() string { return read("2", "SELECT name FROM users WHERE id = 2", "user:2") }
	list := func() string {
		return read("list", "SELECT coalesce(string_agg(name, ',' ORDER BY id), '') FROM users", "table:users")
	}
	// become waits until what is read is what was written. Nothing tells a caller when a
	// notice has been carried out.
	become := func(what string, read func() string, want string) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for got := read(); got != want; got = read() {
			if time.Now().After(deadline) {
				t.Fatalf("%s is %q %v after it was changed, want %q", what, got, patience, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	// The notice of the INSERT came before Listen, so nothing is under way yet.
	for range 3 {
		if got := one() + " " + two() + " " + list(); got != "Ann Bob Ann,Bob" || creations != 3 {
			t.Fatalf("read %q with %d creations, want all three, each created once", got, creations)
		}
	}

	server.Exec(t, "UPDATE users SET name = 'Eve' WHERE id = 1")
	become("user 1", one, "Eve")
	become("the list", list, "Eve,Bob")
	before := creations
	if got := two(); got != "Bob" || creations != before {
		t.Fatalf("user 2 is %q and was created again: %v; want it untouched", got, creations != before)
	}

	server.Exec(t, "BEGIN; UPDATE users SET name = 'nobody'; ROLLBACK")
	server.Exec(t, "INSERT INTO users VALUES (3, 'Cid')")
	become("the list", list, "Eve,Bob,Cid")
	before = creations
	if got := one() + " " + two(); got != "Eve Bob" || creations != before {
		t.Fatalf("after a rollback the users are %q, created again: %v; want them untouched", got, creations != before)
	}

	// The trigger is off, so the change is heard of only because the connection is lost.
	server.Exec(t, "SET session_replication_role = replica; UPDATE users SET name = 'Zoe' WHERE id = 2")
	if n := terminate(t, server); n != 1 {
		t.Fatalf("%d connections listen, want 1", n)
	}
	become("user 2", two, "Zoe")

	server.Exec(t, "TRUNCATE users")
	become("the list", list, "")
	// One that is gone is an error of the query, not an old name.
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, err := region.GetOrCreate(t.Context(), users, "1", func(ctx context.Context) (string, error) {
			var name string
			err := conn.QueryRow(ctx, "SELECT name FROM users WHERE id = 1").Scan(&name)
			return name, err
		}, region.WithTags("user:1"))
		if err != nil {
			if want := pgx.ErrNoRows; !errors.Is(err, want) {
				t.Fatalf("user 1 after TRUNCATE: %v, want %v", err, want)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("user 1 is still remembered after TRUNCATE")
		}
	}
}
