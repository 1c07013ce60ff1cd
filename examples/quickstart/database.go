package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"modernc.org/sqlite"
)

// The time zones of the world, from the IANA time zone database, which is in the
// public domain.
//
//go:embed zone1970.tab
var zoneTable string

// days is how many temperatures each zone has. They are made up, and so many that
// a query takes its time.
var days = 2000

// schema has a view that is slow for a good reason: to rank one zone among all
// zones, every temperature of every zone has to be looked at.
const schema = `
	CREATE TABLE zone (id INTEGER PRIMARY KEY, name TEXT, countries TEXT);
	CREATE TABLE reading (zone INTEGER, day INTEGER, celsius REAL, PRIMARY KEY (zone, day)) WITHOUT ROWID;

	CREATE VIEW record AS
	SELECT zone.id, name, countries, max(celsius) AS celsius,
	       rank() OVER (ORDER BY max(celsius) DESC) AS rank
	FROM zone JOIN reading ON reading.zone = zone.id
	GROUP BY zone.id;`

// Database is a SQLite database in a temporary directory that knows how many
// queries have reached it.
type Database struct {
	*sql.DB
	queries atomic.Int64
	dir     string
}

// openDatabase creates a database and fills it.
func openDatabase(ctx context.Context) (_ *Database, err error) {
	db := &Database{}
	if db.dir, err = os.MkdirTemp("", "quickstart-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	connector, err := sqlite.NewConnector(filepath.Join(db.dir, "zones.db"))
	if err != nil {
		return nil, err
	}
	db.DB = sql.OpenDB(counting{connector, &db.queries})
	if err := db.fill(ctx); err != nil {
		return nil, fmt.Errorf("filling the database: %w", err)
	}
	return db, nil
}

// Close closes the database and removes it.
func (db *Database) Close() error {
	var err error
	if db.DB != nil {
		err = db.DB.Close()
	}
	return errors.Join(err, os.RemoveAll(db.dir))
}

// fill creates the tables and puts into them each line of the zone table, which
// reads
//
//	NZ,AQ	-3652+17446	Pacific/Auckland	New Zealand time
//
// and a temperature for each zone and day.
func (db *Database) fill(ctx context.Context) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1970, 1)) // the same numbers in every run
	id := 0
	for line := range strings.Lines(zoneTable) {
		columns := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(columns) < 3 {
			continue
		}
		countries, degrees, name := columns[0], columns[1][:3], columns[2]
		latitude, err := strconv.ParseFloat(degrees, 64)
		if err != nil {
			return fmt.Errorf("the latitude of %s: %w", name, err)
		}
		celsius, err := json.Marshal(weather(latitude, random))
		if err != nil {
			return err
		}
		id++
		_, err = tx.ExecContext(ctx, `
			INSERT INTO zone VALUES ($id, $name, $countries);
			INSERT INTO reading SELECT $id, key, value FROM json_each($celsius);`,
			sql.Named("id", id), sql.Named("name", name),
			sql.Named("countries", countries), sql.Named("celsius", string(celsius)))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return tx.Commit()
}

// weather makes up a temperature for each day at a latitude: colder towards the
// poles, summer when the sun is there, and some weather.
func weather(latitude float64, random *rand.Rand) []float64 {
	celsius := make([]float64, days)
	for day := range celsius {
		summer := -math.Cos(2 * math.Pi * float64(day) / 365)
		exact := 30 - 0.4*math.Abs(latitude) + 0.2*latitude*summer + 3*random.NormFloat64()
		celsius[day] = math.Round(10*exact) / 10
	}
	return celsius
}
