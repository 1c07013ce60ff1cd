// Package warming is what package decorate has to know of a bound function to warm it,
// and package region has to tell. It is here so that none of it is public.
package warming

import "context"

// Source is a function bound to a region, for arguments P. Its methods are safe for
// concurrent use.
type Source[P any] interface {
	// Key returns the key of p in the region, or why it has none.
	Key(p P) (string, error)

	// Batch reports whether one Create is one call of the function, however many items
	// it is given.
	Batch() bool

	// Look reports, in the order of items, whether what is stored answers a call: it
	// is fresh, or a remembered "not found". It takes one round trip and counts
	// neither hits nor misses. No key may stand in items twice.
	Look(ctx context.Context, items []Item[P]) ([]bool, error)

	// Create brings about a fresh value of each item, as a call does, and says in the
	// order of items what came of it. It does not panic.
	Create(ctx context.Context, items []Item[P]) []Result

	// Turn returns the turn of those who warm the function under one name. It is nil
	// for a region that is disabled, of which nothing is kept.
	Turn(name string) (Turn, error)
}

// Item is one argument with its key.
type Item[P any] struct {
	Arg P
	Key string
}

// Outcome is what came of one item, unless it failed.
type Outcome int

const (
	Created  Outcome = iota // by this call
	Present                 // somebody else had created it meanwhile
	NotFound                // the function says that there is none
)

// Result is what came of one item.
type Result struct {
	Outcome Outcome
	Err     error // nil unless it failed
}

// Turn decides which process of a fleet warms.
type Turn interface {
	// Finished returns a text that changes whenever somebody's turn ends by Finish.
	Finished(ctx context.Context) (string, error)

	// Take takes the turn if nobody has it; the lease is nil if somebody has. It also
	// returns what Finished does, as of when the turn was taken.
	Take(ctx context.Context) (l Lease, finished string, err error)

	// Wait blocks until Take may succeed.
	Wait(ctx context.Context) error
}

// Lease is a turn that was taken. It lasts until it is ended or lost, or its process
// dies.
type Lease interface {
	// Lost is closed when somebody else may take the turn though it was not ended.
	Lost() <-chan struct{}

	// Finish ends the turn and lets those who wait know that the work is done. It does
	// so also if ctx has ended.
	Finish(ctx context.Context)

	// Release ends the turn and leaves the work to others, also if ctx has ended.
	Release(ctx context.Context)
}
