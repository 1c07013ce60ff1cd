// Quickstart shows what a region does for slow queries, on a SQLite database with
// the time zones of the world:
//
//	go run -C examples ./quickstart
//
// This file declares and configures two regions and puts two functions behind
// them. What is then done with the functions is in story.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// Zones keeps what changes when somebody says so, Live what changes by itself.
var (
	Zones = region.Declare("zones")
	Live  = region.Declare("live")
)

// These are called like the functions in queries.go that they stand for. All
// callers share what they return, so that nobody may write into the slice.
var (
	zonesOf = region.Cached(Zones, loadZones) // func(ctx, country string) ([]Zone, error)
	zoneNow = region.Cached(Live, loadZone)   // func(ctx, id int64) (Zone, error)
)

// liveFor is short, so that the story need not wait for long.
const liveFor = time.Second

// configure makes the regions usable. They share one memory.
func configure() error {
	kept := memory.New(memory.Config{MaxEntries: 10_000})
	return errors.Join(
		Zones.Configure(region.Config{
			Backend:    kept,
			Expiration: time.Hour,
		}),
		Live.Configure(region.Config{
			Backend:    kept,
			Expiration: liveFor,     // after it one caller creates a new value,
			StaleFor:   time.Minute, // and all others get the old one meanwhile
		}),
	)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run tells the story on w. The last line is about the crowd that asked for what
// was not kept.
func run(ctx context.Context, w io.Writer) (err error) {
	if db, err = openDatabase(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	defer func() { err = errors.Join(err, Zones.Close(), Live.Close()) }()
	if err := configure(); err != nil {
		return err
	}

	crowd, err := tell(ctx, w)
	if err != nil {
		fmt.Fprintln(w, err)
		return err
	}
	printStats(w, Zones, Live)
	fmt.Fprintf(w, "\n%v\n", crowd)
	return nil
}
