package region

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
)

// Observer is any value that has one or more of the hooks below; each hook is an
// interface with one method, so that new ones never break an old observer. Hooks
// are called synchronously and from many goroutines at once: they must be safe
// for that, return soon, and not call the region. A hook that panics is logged with
// slog and otherwise ignored.
type Observer any

// CreationObserver is told when a creator has ended.
type CreationObserver interface{ ObserveCreation(CreationEvent) }

// BackendErrorObserver is told when the backend failed.
type BackendErrorObserver interface{ ObserveBackendError(BackendErrorEvent) }

// BadEntryObserver is told when a stored value could not be used.
type BadEntryObserver interface{ ObserveBadEntry(BadEntryEvent) }

// UnstoredObserver is told when a created value was not stored.
type UnstoredObserver interface{ ObserveUnstored(UnstoredEvent) }

// WaitObserver is told when a call has waited for somebody else's creation.
type WaitObserver interface{ ObserveWait(WaitEvent) }

// InvalidationObserver is told of invalidations made through this region.
type InvalidationObserver interface{ ObserveInvalidation(InvalidationEvent) }

// CreationEvent tells of one call of a creator.
type CreationEvent struct {
	// Region is the region's name.
	Region string
	// Keys are the keys that were to be created; one, unless it was a batch.
	Keys []string
	// Took is how long the creator took.
	Took time.Duration
	// Stale tells that there was an old value that others were served meanwhile.
	Stale bool
	// Err is the creator's error, nil if it succeeded.
	Err error
}

// BackendErrorEvent tells of one failed operation.
type BackendErrorEvent struct {
	// Region is the region's name.
	Region string
	// Op is what failed: "get", "acquire", "wait", "set", "release", "delete",
	// "expire", "stamps" or "renew"; "mutex" if it was Config.Mutex.
	Op string
	// Key is the first key it was about; empty if it was about the region.
	Key string
	// Err is the failure.
	Err error
}

// BadEntryEvent tells of a stored value that is treated as a miss.
type BadEntryEvent struct {
	// Region is the region's name.
	Region string
	// Key is where it was found.
	Key string
	// Err says what is wrong with it.
	Err error
}

// UnstoredEvent tells of a created value that its callers got and nobody else
// will.
type UnstoredEvent struct {
	// Region is the region's name.
	Region string
	// Key is where it would have been stored.
	Key string
	// Err says why it was not.
	Err error
}

// WaitEvent tells of a call that waited.
type WaitEvent struct {
	// Region is the region's name.
	Region string
	// Key is what it waited for.
	Key string
	// Took is how long it waited.
	Took time.Duration
	// Err is what it got: nil for a value.
	Err error
}

// InvalidationEvent tells of an invalidation.
type InvalidationEvent struct {
	// Region is the region's name.
	Region string
	// Keys are the keys that were deleted or, if Mode is Soft, have expired. Without
	// Keys, Tags and Function it was the whole region.
	Keys []string
	// Tags are the tags that were invalidated.
	Tags []string
	// Function is the namespace of the function all of whose values were invalidated.
	Function string
	// Mode is how; zero for deleted keys.
	Mode Invalidation
	// Late tells that it had failed before and was tried again in the background. Keys
	// and Tags are then empty, and all that was owed has been invalidated.
	Late bool
	// Err is nil if it succeeded.
	Err error
}

// checkObserver catches an observer that would never be called, such as one whose
// hook has a pointer receiver and was passed by value.
func checkObserver(o Observer) error {
	if o == nil {
		return nil
	}
	if isNil(o) {
		return fmt.Errorf("it is a nil %T", o)
	}
	switch o.(type) {
	case CreationObserver, BackendErrorObserver, BadEntryObserver, UnstoredObserver, WaitObserver, InvalidationObserver:
		return nil
	}
	return errors.New("it has none of the hooks, such as ObserveCreation(region.CreationEvent); see region.Observer")
}

// observed is deferred where a hook is called: a panic of it is nobody's fault who
// waits for a value.
func observed() {
	if p := recover(); p != nil {
		slog.Error("dogpile: an observer of a region panicked", "panic", p, "stack", string(debug.Stack()))
	}
}

// failed counts a failure of the backend and tells of it.
func (st *state) failed(op, key string, err error) {
	st.region.counters.errors.Add(1)
	if o, ok := st.Observer.(BackendErrorObserver); ok {
		defer observed()
		o.ObserveBackendError(BackendErrorEvent{Region: st.region.name, Op: op, Key: key, Err: err})
	}
}

// badEntry counts a stored value that cannot be used and tells of it.
func (st *state) badEntry(key string, err error) {
	st.region.counters.badEntries.Add(1)
	if o, ok := st.Observer.(BadEntryObserver); ok {
		defer observed()
		o.ObserveBadEntry(BadEntryEvent{Region: st.region.name, Key: key, Err: err})
	}
}

// notStored counts a created value that was not stored and tells of it.
func (st *state) notStored(key string, err error) {
	st.region.counters.unstored.Add(1)
	if o, ok := st.Observer.(UnstoredObserver); ok {
		defer observed()
		o.ObserveUnstored(UnstoredEvent{Region: st.region.name, Key: key, Err: err})
	}
}

// created counts one call of a creator and tells of it.
func (st *state) created(e CreationEvent, values int) {
	c := &st.region.counters
	switch {
	case e.Err == nil:
		c.creations.Add(int64(values))
	case errors.Is(e.Err, ErrNotFound):
		c.creations.Add(1) // an answer like any other
	default:
		c.failedCreations.Add(1)
	}
	c.creationTime.Add(int64(e.Took))
	if o, ok := st.Observer.(CreationObserver); ok {
		defer observed()
		e.Region = st.region.name
		o.ObserveCreation(e)
	}
}

// waitedFor counts a call that waited and tells of it.
func (st *state) waitedFor(key string, took time.Duration, err error) {
	st.region.counters.waits.Add(1)
	if o, ok := st.Observer.(WaitObserver); ok {
		defer observed()
		o.ObserveWait(WaitEvent{Region: st.region.name, Key: key, Took: took, Err: err})
	}
}

// invalidated counts an invalidation that succeeded and tells of any.
func (st *state) invalidated(e InvalidationEvent) {
	if e.Err == nil {
		st.region.counters.invalidations.Add(int64(max(1, len(e.Keys)+len(e.Tags))))
	}
	if o, ok := st.Observer.(InvalidationObserver); ok {
		defer observed()
		e.Region, e.Keys, e.Tags = st.region.name, slices.Clone(e.Keys), slices.Clone(e.Tags)
		o.ObserveInvalidation(e)
	}
}
