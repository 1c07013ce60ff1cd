package region

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dogpile-go/dogpile/internal/mangled"
	"github.com/dogpile-go/dogpile/lock"
)

// The errors of this package. Those that are returned carry the name of the
// region and, where there is one, the key; test for them with errors.Is.
var (
	// ErrNotConfigured is returned by a region that has been declared but not
	// configured yet.
	ErrNotConfigured = errors.New("not configured; call Configure at startup, before its functions are used")

	// ErrAlreadyConfigured is returned by a second Configure.
	ErrAlreadyConfigured = errors.New("configured already; use Reconfigure to change a region that is in use")

	// ErrClosed is returned by a region that has been closed.
	ErrClosed = errors.New("closed; configure it again before using it")

	// ErrReconfigured is returned by calls other than GetOrCreate that were still
	// under way when Reconfigure had waited for CloseTimeout.
	ErrReconfigured = errors.New("reconfigured while the call was under way; call again")

	// ErrConfig is wrapped by every error that a Config or an option is to
	// blame for.
	ErrConfig = errors.New("bad configuration")

	// ErrKeyMangler is wrapped by the error of an operation whose key Config.KeyMangler,
	// or that of the backend, has not mangled: it panicked, or returned "". GetOrCreate
	// takes it as it takes every failure of the backend.
	ErrKeyMangler = mangled.ErrMangler

	// ErrNilCreator is returned when the function that should create a value is
	// nil.
	ErrNilCreator = errors.New("the creator is nil; pass the function that loads the value")

	// ErrNotFound is for creators to return when there is no such value. It is
	// remembered for Config.NotFoundFor, and GetOrCreate returns it meanwhile.
	ErrNotFound = errors.New("not found")

	// ErrReentrant is returned to a creator that asks for the key it is
	// creating, which could only wait for itself.
	ErrReentrant = errors.New("a creator asked for the very key it is creating; call the wrapped function itself instead")

	// ErrMaxWait is returned by a call that has waited for Config.MaxWait.
	ErrMaxWait = errors.New("no value within MaxWait; see what the creator waits for, or raise Config.MaxWait")

	// ErrCreateTimeout is returned when a creator has not returned within
	// Config.CreateTimeout. It is also the cause of the creator's context.
	ErrCreateTimeout = errors.New("the creator did not return within CreateTimeout; make it faster, or raise Config.CreateTimeout")

	// ErrCreatorExited is returned when a creator ended its goroutine with
	// runtime.Goexit, as testing.T.FailNow does.
	ErrCreatorExited = errors.New("the creator ended its goroutine instead of returning")

	// ErrAbandoned is the cause of a creator's context when the last caller who
	// waited for it has left.
	ErrAbandoned = errors.New("nobody waits for the value any more")

	// ErrLeaseLost is the cause of a creator's context, with
	// Config.CancelOnLeaseLost, when its lease was lost: the key was written,
	// deleted, or its lease expired.
	ErrLeaseLost = lock.ErrLost

	// ErrWrongKeys is wrapped by [*BatchError].
	ErrWrongKeys = errors.New("the creator returned other keys than it was asked for")

	// ErrPending is wrapped by the error of an invalidation that has not reached the
	// backend, or of which that is not known.
	ErrPending = errors.New("the invalidation failed and is tried again in the background; until it succeeds this process takes what it is about for invalid, other processes do not")

	// ErrTagsUnproved is why a value is not stored whose creator has added tags while
	// others were invalidated.
	ErrTagsUnproved = errors.New("a tag was invalidated while the value was created, and it is not known whether it was one that the creator has added; name the tags with WithTags where they are known before")

	// ErrEncode is wrapped by the error of Set for a value that the codec cannot
	// encode.
	ErrEncode = errors.New("the value cannot be encoded")
)

// PanicError is what the callers get when a creator panics. The panic does not
// end the process, and the key can be created again at once.
type PanicError struct {
	// Value is what was given to panic.
	Value any

	// Stack is the creator's stack at the time, as text.
	Stack []byte
}

// Error returns the panic's value and stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("the creator panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// BatchError says that the creator of GetOrCreateMulti did not return exactly the
// keys it was asked for. What it did return for keys it was asked for has been
// stored and is returned beside the error.
type BatchError struct {
	// Region is the name of the region.
	Region string

	// Missing are the keys that were asked for and not returned.
	Missing []string

	// Unexpected are the keys that were returned and not asked for. Their values
	// were not stored.
	Unexpected []string
}

// Error names up to three keys of each kind and says what to do.
func (e *BatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "region %q: %v:", e.Region, ErrWrongKeys)
	if len(e.Missing) > 0 {
		fmt.Fprintf(&b, " %d missing (%s);", len(e.Missing), some(e.Missing))
	}
	if len(e.Unexpected) > 0 {
		fmt.Fprintf(&b, " %d not asked for (%s);", len(e.Unexpected), some(e.Unexpected))
	}
	b.WriteString(" return every key of the argument, or pass region.AllowMissing() if some may not exist")
	return b.String()
}

// Unwrap returns ErrWrongKeys.
func (e *BatchError) Unwrap() error { return ErrWrongKeys }

// some quotes the first three of keys, shortened where they are long.
func some(keys []string) string {
	var quoted []string
	for i, key := range keys {
		if i == 3 {
			quoted = append(quoted, "…")
			break
		}
		quoted = append(quoted, quote(key))
	}
	return strings.Join(quoted, ", ")
}

// quote quotes a key for an error or an event, so that a hostile one can neither
// break a line nor fill a log.
func quote(key string) string {
	const most = 80
	if len(key) > most {
		return fmt.Sprintf("%.*q… (%d bytes)", most, key, len(key))
	}
	return fmt.Sprintf("%q", key)
}

// fail adds the region's name to err.
func (r *Region) fail(err error) error {
	if r == nil {
		return fmt.Errorf("a nil region: %w", err)
	}
	return fmt.Errorf("region %q: %w", r.name, err)
}

// failKey adds the region's name and the key to err.
func (r *Region) failKey(key string, err error) error {
	if r == nil {
		return r.fail(err)
	}
	return fmt.Errorf("region %q, key %s: %w", r.name, quote(key), err)
}

// ended tells why ctx ended: with ctx.Err, and the cause where it says more.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return cause
	}
	for _, own := range []error{ErrMaxWait, ErrClosed, ErrReconfigured} {
		if errors.Is(cause, own) {
			return cause // it was not the caller's context that ended
		}
	}
	return fmt.Errorf("%w: %w", err, cause)
}
