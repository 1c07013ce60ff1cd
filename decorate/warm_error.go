package decorate

import (
	"fmt"
	"strings"
)

// WarmError says that [Warm] could not create everything. errors.Is and errors.As find
// the Cause and the errors of the Failures.
type WarmError struct {
	// Report says how far the warming has come.
	Report WarmReport

	// Failures are the first WarmOptions.MaxErrors arguments that failed, in the
	// order in which they did. Report.Failed says how many there were.
	Failures []WarmFailure

	// Cause is why the warming ended before it had been through all arguments; nil
	// if it did not. It wraps ctx.Err() if ctx has ended.
	Cause error
}

// WarmFailure is one argument whose value could not be created.
type WarmFailure struct {
	// Arg is the argument, of the type that Warm's iterator gives.
	Arg any

	// Key is its key in the region; empty if it has none.
	Key string

	// Err is why it failed.
	Err error
}

// Error says how far the warming has come, why it ended if it did so early, and up to
// three of the failures.
func (e *WarmError) Error() string {
	var b strings.Builder
	b.WriteString("warm: ")
	if e.Cause != nil {
		b.WriteString("ended early, ")
	}
	b.WriteString(e.Report.String())
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	for i, f := range e.Failures {
		if i == 3 {
			b.WriteString("; …")
			break
		}
		fmt.Fprintf(&b, "; failed: %v", f.Err)
	}
	return b.String()
}

// Unwrap returns the Cause and the errors of the Failures.
func (e *WarmError) Unwrap() []error {
	var errs []error
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for _, f := range e.Failures {
		errs = append(errs, f.Err)
	}
	return errs
}
