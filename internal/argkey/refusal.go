package argkey

import (
	"cmp"
	"reflect"
	"strings"
)

// refusal says which part of an argument cannot be part of a key, and why.
type refusal struct {
	path   string // from the argument inwards, such as "Filter.db.mu"
	reason string // to be continued with what else to do
}

// maxPath is where the path in an error is cut. Only that of a value nested too
// deep is longer.
const maxPath = 80

func (r *refusal) Error() string {
	path := r.path
	if len(path) > maxPath {
		path = path[:maxPath] + "..."
	}
	text := r.reason + " use region.WithKey"
	switch {
	case path == "":
		return text
	case strings.HasSuffix(path, "]"):
		return "element " + path + ": " + text
	default:
		return "field " + path + ": " + text
	}
}

func (r *refusal) Unwrap() error { return ErrUnsupported }

// within adds the step that led to the place err is about. A step is added on
// the way out of each value, so a value without an error has no path to build.
func within(step string, err error) error {
	if r, ok := err.(*refusal); ok {
		r.path = step + r.path
	}
	return err
}

// withinArgument adds the step that a path begins with, the name of the type t of
// the argument, without its package and pointers. An error about the argument as
// a whole needs none.
func withinArgument(t reflect.Type, err error) error {
	r, ok := err.(*refusal)
	if !ok || r.path == "" {
		return err
	}
	for t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	return within(cmp.Or(t.Name(), t.String()), err)
}
