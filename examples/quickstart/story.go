package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

// step is one thing that the story does.
type step struct {
	name    string
	before  func() error        // what happens first, if anything
	callers int                 // how many make the call, all at once
	call    func() (any, error) // of a function behind a region
	queries int                 // how many of them should reach the database
	crowd   bool                // whether the last line is about this step
}

// story returns the steps in their order; id is Auckland's.
func story(ctx context.Context, id int64) []step {
	newZealand := func() (any, error) { return zonesOf(ctx, "NZ") }
	auckland := func() (any, error) { return zoneNow(ctx, id) }

	correct := func() error {
		_, err := db.ExecContext(ctx, `UPDATE reading SET celsius = celsius - 2 WHERE zone = ?`, id)
		return err
	}
	invalidate := func() error { return Zones.Invalidate(ctx, region.Hard) }
	heatWave := func() error {
		_, err := db.ExecContext(ctx, `INSERT INTO reading VALUES (?, ?, 45)`, id, days)
		return errors.Join(err, expire(ctx))
	}

	return []step{
		{name: "first call", callers: 1, call: newZealand, queries: 1},
		{name: "same call", callers: 1, call: newZealand, queries: 0},
		{name: "same call, after an UPDATE", before: correct, callers: 1, call: newZealand, queries: 0},
		{name: "same call, after Invalidate", before: invalidate, callers: 1, call: newZealand, queries: 1},
		{name: "200 at once, nothing kept", callers: 200, call: auckland, queries: 1, crowd: true},
		{name: "200 at once, value expired", before: heatWave, callers: 200, call: auckland, queries: 1},
		{name: "same call", callers: 1, call: auckland, queries: 0},
	}
}

// expire waits until what is kept of a zone has expired.
var expire = func(context.Context) error {
	time.Sleep(liveFor)
	return nil
}

// tell performs the story and prints what comes of each step, until one of them
// takes another number of queries than it should. It returns what the crowd saw.
func tell(ctx context.Context, w io.Writer) (crowd outcome, err error) {
	var zones, readings, auckland int64
	err = db.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM zone), (SELECT count(*) FROM reading), id
		FROM zone WHERE name = 'Pacific/Auckland'`).Scan(&zones, &readings, &auckland)
	if err != nil {
		return crowd, err
	}
	fmt.Fprintf(w, "Each zone's highest temperature and its rank, among %d zones with %d temperatures:\n\n", zones, readings)

	printHeader(w)
	for _, s := range story(ctx, auckland) {
		o, err := s.perform()
		if err != nil {
			return crowd, fmt.Errorf("%s: %w", s.name, err)
		}
		printOutcome(w, s.name, o)
		if o.queries != s.queries {
			return crowd, fmt.Errorf("%s: %v instead of %d", s.name, o, s.queries)
		}
		if s.crowd {
			crowd = o
		}
	}
	return crowd, nil
}
