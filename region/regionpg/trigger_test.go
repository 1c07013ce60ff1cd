package regionpg_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionpg"
	"github.com/dogpile-go/dogpile/region/regionpg/internal/pgtest"
)

// documented returns the SQL of the package's documentation.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var sql strings.Builder
	for line := range strings.Lines(string(text)) {
		code, ok := strings.CutPrefix(line, "//\t")
		switch {
		case ok && (sql.Len() > 0 || strings.HasPrefix(code, "CREATE")):
			sql.WriteString(code)
		case strings.HasPrefix(line, "// # ") && sql.Len() > 0: // the next chapter
			return sql.String()
		}
	}
	t.Fatalf("the documentation has no chapter after its SQL:\n%s", sql.String())
	return ""
}

// installTrigger makes the table users with the trigger of the documentation, on a
// channel of one's own.
func installTrigger(t *testing.T, server *pgtest.Server) {
	t.Helper()
	server.Exec(t, "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL)")
	server.Exec(t, strings.Replace(documented(t), "pg_notify('cache',", "pg_notify('"+channel(t)+"',", 1))
	t.Cleanup(func() { server.Exec(t, "DROP TABLE users; DROP FUNCTION users_changed") })
}

func TestDocumentedTrigger(t *testing.T) {
	server := pgtest.Shared(t)
	installTrigger(t, server)
	source := listen(t, regionpg.Config{URL: server.URL()})
	users := func(ids ...int) region.Notice {
		tags := []string{"table:users"}
		for _, id := range ids {
			tags = append(tags, fmt.Sprint("user:", id))
		}
		return region.Notice{Region: "users", Tags: tags}
	}
	all := region.Notice{Region: "users", All: true}
	for _, step := range []struct {
		sql  string
		want []region.Notice
	}{
		{"INSERT INTO users VALUES (1, 'Ann'), (2, 'Bob')", []region.Notice{users(1, 2)}},
		{"UPDATE users SET name = 'Eve' WHERE id = 2", []region.Notice{users(2)}},
		{"UPDATE users SET name = 'Eve' WHERE id = 7", nil}, // no row
		{"UPDATE users SET id = 3 WHERE id = 2", []region.Notice{users(2, 3)}},
		{"BEGIN; DELETE FROM users WHERE id = 3; ROLLBACK", nil},
		{"DELETE FROM users WHERE id = 3", []region.Notice{users(3)}},
		{"INSERT INTO users VALUES (1, 'Zoe'), (4, 'Dan') ON CONFLICT (id) DO UPDATE SET name = excluded.name", []region.Notice{users(1), users(4)}},
		{"BEGIN; UPDATE users SET name = 'a' WHERE id = 1; UPDATE users SET name = 'b' WHERE id = 1; COMMIT", []region.Notice{users(1)}},
		{"INSERT INTO users SELECT i, 'x' FROM generate_series(100, 598) AS i", nil},                                      // fits, looked at below
		{"INSERT INTO users SELECT i, 'x' FROM generate_series(1000000000001, 1000000000900) AS i", []region.Notice{all}}, // too long
		{"INSERT INTO users SELECT i, 'x' FROM generate_series(5000, 25000) AS i", []region.Notice{all}},                  // too many
		{"TRUNCATE users", []region.Notice{all}},
	} {
		server.Exec(t, step.sql)
		if strings.Contains(step.sql, "(100, 598)") {
			if n := next(t, source); len(n.Tags) != 500 || n.All {
				t.Fatalf("499 rows that fit are told as %.200s, want 500 tags", fmt.Sprint(n))
			}
		}
		for _, want := range step.want {
			got := next(t, source)
			slices.Sort(got.Tags) // rows have no order
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Fatalf("%s is told as %.300s, want %+v", step.sql, fmt.Sprintf("%+v", got), want)
			}
		}
	}
	marker, want := numbered(1)
	notify(t, server, marker)
	wantNext(t, source, want)
}
