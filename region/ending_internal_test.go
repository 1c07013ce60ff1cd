package region

import (
	"errors"
	"testing"
)

func TestEnding(t *testing.T) {
	var e ending
	if err := e.Err(); err != nil {
		t.Errorf("before the end there is the cause %v", err)
	}
	var told, stopped []error
	e.After(func(cause error) { told = append(told, cause) })
	e.After(func(cause error) { stopped = append(stopped, cause) })()
	if e.listeners.Len() != 1 {
		t.Errorf("%d listeners are kept, want the one that has not stopped", e.listeners.Len())
	}
	first := errors.New("the first cause")
	e.Come(first)
	e.Come(errors.New("the second cause"))
	stop := e.After(func(cause error) { told = append(told, cause) })
	stop()
	if len(told) != 2 || told[0] != first || told[1] != first || e.Err() != first {
		t.Errorf("told %v, and the cause is %v; want the first cause twice, and it", told, e.Err())
	}
	if len(stopped) > 0 {
		t.Errorf("one who had stopped listening was told %v", stopped)
	}
	if e.listeners.Len() != 0 {
		t.Error("listeners are kept after the end")
	}
}
