package main

import (
	"context"
	"fmt"
	"path"
)

// db is where the queries go. It is opened by run.
var db *Database

// Zone is a time zone and the highest temperature that was read in it.
type Zone struct {
	ID     int64
	Name   string
	Record float64 // in °C
	Rank   int     // among all zones, 1 for the hottest
}

// String returns for example "Auckland 30.1° #208".
func (z Zone) String() string {
	return fmt.Sprintf("%s %.1f° #%d", path.Base(z.Name), z.Record, z.Rank)
}

// loadZones returns the zones of a country, the hottest first. It knows nothing
// of a cache.
func loadZones(ctx context.Context, country string) ([]Zone, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT id, name, celsius, rank FROM record
		WHERE instr(countries, ?)
		ORDER BY rank, name`, country)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var zones []Zone
	for rows.Next() {
		var z Zone
		if err := rows.Scan(&z.ID, &z.Name, &z.Record, &z.Rank); err != nil {
			return nil, err
		}
		zones = append(zones, z)
	}
	return zones, rows.Err()
}

// loadZone returns one zone. It knows nothing of a cache either.
func loadZone(ctx context.Context, id int64) (z Zone, err error) {
	err = db.QueryRowContext(ctx, `SELECT id, name, celsius, rank FROM record WHERE id = ?`, id).
		Scan(&z.ID, &z.Name, &z.Record, &z.Rank)
	return z, err
}
