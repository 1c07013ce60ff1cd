package main

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
)

// counting opens connections that count the queries which reach SQLite. It sits
// below database/sql, where no cache can be in between. Statements that are
// prepared, of which there are none here, would escape it.
type counting struct {
	driver.Connector
	queries *atomic.Int64
}

// Connect opens a connection that counts.
func (c counting) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(connection)
	if !ok {
		return nil, fmt.Errorf("a connection of %T lacks a method that is needed", c.Connector)
	}
	return countingConnection{full, c.queries}, nil
}

// connection is what a connection of modernc.org/sqlite can do and database/sql
// makes use of.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type countingConnection struct {
	connection
	queries *atomic.Int64
}

// QueryContext counts the query and lets SQLite answer it.
func (c countingConnection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.queries.Add(1)
	return c.connection.QueryContext(ctx, query, args)
}
