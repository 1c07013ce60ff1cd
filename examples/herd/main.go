// Herd shows what happens to a key that is not kept yet when a whole fleet asks for
// it at once: 8 processes with 500 callers each, and one of the 4,000 creates it.
//
//	go run -C examples ./herd
//	go run -C examples ./herd -kill        # the process that creates gets a SIGKILL
//	go run -C examples ./herd -redis redis://127.0.0.1:6379
//
// Without -redis it starts a redis-server of its own. While it runs it prints the
// process id of whoever creates, so that you can kill that one by hand as well:
// kill -9 with a longer -takes. What it prints in the end was counted outside of
// the cache: each call of the creator is told to the parent the moment it begins.
//
// This file declares and configures the region, and makes the call that everybody
// makes. The rest is the spectacle: worker.go is one process of the fleet, round.go
// is the parent that starts, watches and kills them, result.go says what came of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/redis" // for redis:// and rediss://
	"github.com/dogpile-go/dogpile/region"
)

// Herd keeps one value. Each process of the fleet has this same region.
var Herd = region.Declare("herd")

// configure makes the region usable. The backend is all that it takes to make a
// fleet of processes: it brings the mutex that they share.
func configure(redisURL string, takes time.Duration) error {
	shared, err := backend.Open(redisURL)
	if err != nil {
		return err
	}
	return Herd.Configure(region.Config{
		Backend:       shared,
		Expiration:    time.Minute,
		CreateTimeout: takes + time.Minute,   // how long a creator may take,
		MaxWait:       3*takes + time.Minute, // and how long a caller waits, at most
	})
}

// get is what every caller calls. Only a caller that finds nothing, in a fleet in
// which nobody creates yet, gets to call create. All others wait for its value.
func get(ctx context.Context, key string, create func(context.Context) (string, error)) (string, error) {
	return region.GetOrCreate(ctx, Herd, key, create)
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArgument {
		os.Exit(work(os.Stdin, os.Stdout))
	}
	logging.Disable() // go-redis would log what comes back as an error as well
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(exitCode(err))
}

// exitCode is 0 if what was promised held, 1 if it did not, and 2 if that could
// not be tried.
func exitCode(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errBroken):
		return 1 // it has been told with the results
	}
	fmt.Fprintln(os.Stderr, "herd:", err)
	return 2
}

// run plays the rounds and prints what comes of them on w.
func run(ctx context.Context, args []string, w *os.File, usage io.Writer) (err error) {
	o, err := parse(args, usage)
	if err != nil {
		return err
	}
	out := newScreen(w)

	redisURL := o.redisURL
	if redisURL == "" {
		own, err := startServer(ctx)
		if err != nil {
			return err
		}
		defer own.stop()
		redisURL = own.url
		out.line("No -redis was given: started %s, process %d, which ends with this program.", own.path, own.pid)
	}
	t, err := connect(ctx, redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.client.Close()) }()
	if o.redisURL != "" {
		defer t.clean(out) // a server of our own ends with all that is in it
	}
	out.line("%s × %s ask %s for a key that is not there. To create it takes %v.",
		count(o.processes, "process", "processes"), count(o.callers, "caller", "callers"), t.name, o.takes)

	var all []result
	for i := range o.rounds {
		r, err := play(ctx, o, t, out, fmt.Sprint("cold-", i+1))
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			return err
		}
		r.print(out)
		all = append(all, r)
	}
	return printSum(out, all)
}
