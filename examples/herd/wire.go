package main

import "time"

// What the parent writes to a worker, as JSON: an order, and, when all workers are
// ready, a start. Then nothing more: the worker ends when there is nobody left who
// could write to it. No URL stands on a command line, where everybody could read it.
type (
	order struct {
		Redis   string
		Key     string
		Callers int
		Takes   time.Duration
	}
	start struct {
		At time.Time
	}
)

// message is what a worker tells the parent, as a line of JSON.
type message struct {
	Kind kind

	// At is when it happened, counted from start.At by the clock of the machine.
	At time.Duration

	// Waiting is how many callers have asked and have no answer.
	Waiting int `json:",omitempty"`

	// Error is why the worker cannot take part.
	Error string `json:",omitempty"`

	// Answers are what the callers got.
	Answers *answers `json:",omitempty"`
}

type kind string

const (
	ready    kind = "ready"    // connected
	creating kind = "creating" // the creator was called
	created  kind = "created"  // the creator returns
	waiting  kind = "waiting"  // every tenth of a second
	done     kind = "done"     // all callers have an answer
	failed   kind = "failed"   // could not even begin
	ended    kind = "ended"    // the process is gone; nobody sends it
)

// answers are what the callers of one process got.
type answers struct {
	At     []time.Duration // one for each caller, counted as message.At
	Values map[string]int  // how many callers got which value
	Errors map[string]int  // how many callers got which error
}
