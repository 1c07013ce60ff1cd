// Quickstart shows what a region does for slow queries, on a SQLite database with
// the time zones of the world:
//
//	go run -C examples ./quickstart
//	go run -C examples ./quickstart -backend redis://127.0.0.1:6379
//
// The backend may be memory:, file:///some/folder, memcached://host:11211,
// redis://host:6379 or whatever else backend.Open takes; nothing else changes.
//
// This file declares and configures two regions and puts two functions behind
// them. What is then done with the functions is in story.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/file" // what is imported can be opened by URL
	_ "github.com/dogpile-go/dogpile/backend/memcached"
	_ "github.com/dogpile-go/dogpile/backend/memory"
	_ "github.com/dogpile-go/dogpile/backend/redis"
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
var liveFor = time.Second

// configure makes the regions usable. They share what is opened at url.
func configure(url string) error {
	kept, err := backend.Open(url)
	if err != nil {
		return err
	}
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
	url := flag.String("backend", "memory:?max_entries=10000", "where values are kept, as a `URL`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *url)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run tells the story on w. The last line is about the crowd that asked for what
// was not kept.
func run(ctx context.Context, w io.Writer, url string) (err error) {
	if db, err = openDatabase(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	defer func() { err = errors.Join(err, Zones.Close(), Live.Close()) }()
	if err := configure(url); err != nil {
		return err
	}
	// An earlier run may have left values, of a database that is gone.
	if err := errors.Join(Zones.Invalidate(ctx, region.Hard), Live.Invalidate(ctx, region.Hard)); err != nil {
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
