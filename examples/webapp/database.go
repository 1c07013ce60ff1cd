package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// What there is at first.
const (
	firstProducts = 2000
	inCategory    = 100
)

var kinds = []string{
	"lamps", "chairs", "tables", "shelves", "beds", "rugs", "mirrors", "clocks", "vases", "pots",
	"plates", "cups", "knives", "forks", "spoons", "towels", "pillows", "curtains", "candles", "frames",
}

// temporary is a database in a folder that goes when it is closed.
type temporary struct {
	*sql.DB
	folder string
}

func (t *temporary) Close() error {
	err := t.DB.Close()
	if t.folder != "" {
		err = errors.Join(err, os.RemoveAll(t.folder))
	}
	return err
}

// openDatabase opens the database in a file, and fills it if it is new.
func openDatabase(ctx context.Context, file string) (_ *temporary, err error) {
	t := &temporary{}
	if file == "" {
		if t.folder, err = os.MkdirTemp("", "webapp-"); err != nil {
			return nil, err
		}
		file = filepath.Join(t.folder, "shop.db")
	}
	// A transaction takes the right to write when it begins: one that has only read first is
	// refused it, at once, if another has written meanwhile.
	t.DB, err = sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err == nil {
		err = fill(ctx, t.DB)
	}
	if err != nil {
		if t.DB != nil {
			err = errors.Join(err, t.Close())
		}
		return nil, fmt.Errorf("the database %s: %w", file, err)
	}
	return t, nil
}

// fill makes the table and its first rows, if it has none.
func fill(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS products (
		id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, cents INTEGER NOT NULL);
		CREATE INDEX IF NOT EXISTS by_category ON products (category, id)`); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM products").Scan(&n); err != nil || n > 0 {
		return err
	}
	insert, err := tx.PrepareContext(ctx, "INSERT INTO products (name, category, cents) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	for i := range firstProducts {
		kind := kinds[i/inCategory%len(kinds)]
		if _, err := insert.ExecContext(ctx, fmt.Sprintf("%s no. %d", kind, i+1), kind, 500+i*7%10_000); err != nil {
			return err
		}
	}
	return tx.Commit()
}
