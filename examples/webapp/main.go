// Webapp is an HTTP service over a SQLite database, with a cache that a file
// configures:
//
//	go run -C examples ./webapp
//	go run -C examples ./webapp -config my-cache.yaml -addr 127.0.0.1:8080
//
// It sells things:
//
//	curl http://127.0.0.1:8080/products/42
//	curl http://127.0.0.1:8080/categories/lamps
//	curl -X PUT http://127.0.0.1:8080/products/42 -d '{"name":"Lamp 42","category":"lamps","cents":1999}'
//	curl http://127.0.0.1:8080/stats
//
// The queries are in catalogue.go, with the functions that keep what they return and with
// what invalidates it. This file starts and stops the service.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/dogpile-go/dogpile/backend/file" // what is imported can stand in the file
	_ "github.com/dogpile-go/dogpile/backend/memcached"
	_ "github.com/dogpile-go/dogpile/backend/memory"
	_ "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/decorate"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionconfig"
)

// options are what the command line says.
type options struct {
	config    string        // the file that configures the regions
	addr      string        // where to listen
	database  string        // a file; "" for one that goes when the program does
	queryTime time.Duration // that every query takes at least, as on a server far away

	log   *log.Logger
	ready func(addr string) // called when requests are answered
}

func main() {
	o := options{log: log.New(os.Stderr, "webapp: ", log.Ltime), ready: func(string) {}}
	flag.StringVar(&o.config, "config", "webapp/cache.yaml", "the `file` that configures the regions")
	flag.StringVar(&o.addr, "addr", "127.0.0.1:8080", "where to listen")
	flag.StringVar(&o.database, "db", "", "the database, a `file`; empty: one that goes when the program does")
	flag.DurationVar(&o.queryTime, "query-time", 20*time.Millisecond, "how long every query takes at least")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		o.log.Fatal(err)
	}
}

// shutdownTime is how long requests that are under way may take when the service stops.
const shutdownTime = 10 * time.Second

// run serves until ctx ends, and then puts everything away in the order in which it
// depends on one another: requests, regions, database.
func run(ctx context.Context, o options) (err error) {
	setup, err := regionconfig.Load(o.config)
	if err != nil {
		return err
	}
	// Before the regions, so that it is closed behind them: who was given a stale value has
	// gone, and its creation still asks the database.
	db, err := openDatabase(ctx, o.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := region.ConfigureAll(setup); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, Products.Close(), Categories.Close()) }()
	goods := newCatalogue(db, o.queryTime)

	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: goods.handler(o.log), ReadHeaderTimeout: 5 * time.Second, ErrorLog: o.log}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	o.log.Printf("listening on http://%s, configured by %s", listener.Addr(), o.config)
	o.ready(listener.Addr().String())

	warming, stop := context.WithCancel(ctx)
	warmed := make(chan struct{})
	go func() {
		defer close(warmed)
		warm(warming, goods, o.log)
	}()
	defer func() { stop(); <-warmed }()

	select {
	case err := <-served:
		return err // before its time
	case <-ctx.Done():
	}
	o.log.Print("stopping: requests that are under way are answered")
	patience, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		return errors.Join(fmt.Errorf("some requests took too long to stop: %w", err), server.Close())
	}
	return nil
}

// warm creates what people ask for first, if it is not there already. Requests are
// answered meanwhile.
func warm(ctx context.Context, goods *catalogue, log *log.Logger) {
	// A list that breaks off ends the warming, which would take it for the whole list.
	listing, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	report, err := decorate.Warm(listing, goods.category, goods.categories(listing, fail), decorate.WarmOptions{
		Progress: func(r decorate.WarmReport) {
			if !r.Done {
				log.Print("warming categories: ", r)
			}
		},
	})
	switch {
	case err == nil:
		log.Print("warmed categories: ", report)
	case ctx.Err() == nil:
		log.Print("warming categories: ", err)
	}
}
