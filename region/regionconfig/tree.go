package regionconfig

import (
	"fmt"

	"github.com/dogpile-go/dogpile/region"
)

// The limits of a file. A setup of a thousand regions is far below them.
const (
	largest  = 1 << 20 // bytes
	mostNode = 50_000  // with what aliases repeat
	deepest  = 32
)

// kind is what a node is.
type kind int

const (
	text kind = iota
	number
	boolean
	nothing
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"a text", "a number", "true or false", "empty", "a list", "a mapping"}[k]
}

// node is a part of a file, whatever its format.
type node struct {
	kind    kind
	text    string // of a scalar
	line    int
	entries []entry // of a mapping, in their order
}

// entry is one of a mapping.
type entry struct {
	key   string
	line  int
	value *node
}

// noLine is the line of what stands in none: the file as such.
const noLine = -1

// fault is an error at a line.
type fault struct {
	line int
	err  error
}

func (f *fault) Error() string { return f.err.Error() }

func faultf(line int, format string, args ...any) *fault {
	return &fault{line, fmt.Errorf(format, args...)}
}

// unreadable is the error for a file that cannot be read as a whole.
func unreadable(name string, f *fault) error {
	return &region.SetupError{Problems: []region.Problem{{Origin: at(name, f.line), Err: f.err}}}
}

// at is where something stands.
func at(name string, line int) string {
	if line == noLine {
		return name
	}
	return fmt.Sprintf("%s:%d", name, max(line, 1))
}
