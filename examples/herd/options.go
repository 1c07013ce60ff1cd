package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// options are what the flags say.
type options struct {
	redisURL  string // empty: start a server
	processes int
	callers   int // in each process
	takes     time.Duration
	kill      bool
	rounds    int
}

func parse(args []string, usage io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("herd", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.redisURL, "redis", "", "`URL` of a server, as redis://user:password@host:6379/0; without it, one is started")
	flags.IntVar(&o.processes, "processes", 8, "how many processes the fleet has")
	flags.IntVar(&o.callers, "callers", 500, "how many callers each process has")
	flags.DurationVar(&o.takes, "takes", 2*time.Second, "how long it takes to create the value")
	flags.BoolVar(&o.kill, "kill", false, "kill the creating process when half of that has passed")
	flags.IntVar(&o.rounds, "rounds", 1, "how often to play, each time with a new fleet and another key")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errors.New("the flags cannot be used")
	}

	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag; see -help", flags.Arg(0))
	case o.processes < 1, o.callers < 1, o.rounds < 1:
		return o, errors.New("-processes, -callers and -rounds have to be at least 1")
	case o.takes <= 0:
		return o, errors.New("-takes has to be more than 0")
	case o.kill && o.processes < 2:
		return o, errors.New("-kill needs at least two -processes: one that is killed, and one to take over")
	}
	return o, nil
}
