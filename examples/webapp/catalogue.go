package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
)

// The regions of the service, which cache.yaml configures.
var (
	Products   = region.Declare("products")
	Categories = region.Declare("categories")
)

// Product is a row of the table products.
type Product struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Cents    int64  `json:"cents"`
}

// catalogue is the repository: what there is to know of the products, and to change.
// Callers share what product and category return, and must not change it.
type catalogue struct {
	db        *temporary
	queryTime time.Duration

	product  *decorate.Func[int64, Product]
	category *decorate.Func[string, []Product]
}

// newCatalogue puts the queries behind their regions.
func newCatalogue(db *temporary, queryTime time.Duration) *catalogue {
	c := &catalogue{db: db, queryTime: queryTime}
	c.product = decorate.CacheOnArguments(Products, c.loadProduct, region.Namespace("product"))
	c.category = decorate.CacheOnArguments(Categories, c.loadCategory, region.Namespace("category"))
	return c
}

// loadProduct reads one product. That there is none is remembered for a while, see
// not_found_for.
func (c *catalogue) loadProduct(ctx context.Context, id int64) (p Product, err error) {
	c.pause(ctx)
	err = c.db.QueryRowContext(ctx, "SELECT id, name, category, cents FROM products WHERE id = ?", id).
		Scan(&p.ID, &p.Name, &p.Category, &p.Cents)
	if errors.Is(err, sql.ErrNoRows) {
		return p, region.ErrNotFound
	}
	return p, err
}

// loadCategory reads the products of a category. One without products is as good as any.
func (c *catalogue) loadCategory(ctx context.Context, name string) ([]Product, error) {
	c.pause(ctx)
	rows, err := c.db.QueryContext(ctx, "SELECT id, name, category, cents FROM products WHERE category = ? ORDER BY id", name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var products []Product
	for rows.Next() {
		var p Product
		if err := rows.Scan(&p.ID, &p.Name, &p.Category, &p.Cents); err != nil {
			return nil, err
		}
		products = append(products, p)
	}
	return products, rows.Err()
}

// put stores a product, new or not, and invalidates whatever was read of it: itself, and
// the lists of the category that it is in and of the one that it was in. When put has
// returned, no process that shares the cache sees anything older.
func (c *catalogue) put(ctx context.Context, p Product) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	former := p.Category
	err = tx.QueryRowContext(ctx, "SELECT category FROM products WHERE id = ?", p.ID).Scan(&former)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO products (id, name, category, cents) VALUES (?, ?, ?, ?)",
		p.ID, p.Name, p.Category, p.Cents); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	// After the commit: what is created from now on has read the new row. Who has asked for
	// the change may be gone by now, but the others have to be told.
	ctx = context.WithoutCancel(ctx)
	err = errors.Join(c.product.Invalidate(ctx, p.ID), c.category.Invalidate(ctx, p.Category))
	if former != p.Category {
		err = errors.Join(err, c.category.Invalidate(ctx, former))
	}
	if err != nil {
		return fmt.Errorf("the product is stored; %w", err)
	}
	return nil
}

// categories lists the categories that there are, for the warming. If it cannot, it says why
// to fail.
func (c *catalogue) categories(ctx context.Context, fail func(error)) iter.Seq[string] {
	return func(yield func(string) bool) {
		rows, err := c.db.QueryContext(ctx, "SELECT DISTINCT category FROM products ORDER BY category")
		if err != nil {
			fail(err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				fail(err)
				return
			}
			if !yield(name) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			fail(err)
		}
	}
}

// pause makes a query take its time.
func (c *catalogue) pause(ctx context.Context) {
	select {
	case <-time.After(c.queryTime):
	case <-ctx.Done():
	}
}
