package region

import (
	"container/list"
	"sync"
)

// ending is the end of a configuration, at which what takes too long is cancelled.
// It is what context.AfterFunc is to a context, but keeps nothing of those who have
// stopped listening: a context keeps them in a map, which does not shrink, and this
// one would live as long as the region. The zero value is ready to use.
type ending struct {
	mu        sync.Mutex
	cause     error // nil until it has come
	listeners list.List
}

// Err returns the cause of the end, or nil before it has come.
func (e *ending) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause
}

// After has f called with the cause when the end comes, or now if it has come. stop
// makes sure that it is not called any more.
func (e *ending) After(f func(cause error)) (stop func()) {
	e.mu.Lock()
	cause := e.cause
	if cause != nil {
		e.mu.Unlock()
		f(cause)
		return func() {}
	}
	place := e.listeners.PushBack(f)
	e.mu.Unlock()
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.cause == nil {
			e.listeners.Remove(place)
		}
	}
}

// Come brings the end about. Only the first cause counts.
func (e *ending) Come(cause error) {
	e.mu.Lock()
	if e.cause != nil {
		e.mu.Unlock()
		return
	}
	e.cause = cause
	var listeners []func(error)
	for place := e.listeners.Front(); place != nil; place = place.Next() {
		listeners = append(listeners, place.Value.(func(error)))
	}
	e.listeners.Init()
	e.mu.Unlock()
	for _, f := range listeners {
		f(cause)
	}
}
