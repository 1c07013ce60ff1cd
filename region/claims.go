package region

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// claims are the key spaces that wrappers have taken in a region. Two wrappers
// with one key space would serve each other's values, and a function's name does
// not keep them apart: method values of two receivers have one name, and so have
// all instances of a generic function.
type claims struct {
	mu     sync.Mutex
	owners map[string]string // namespace → who has it
}

// take gives namespace to owner, or returns an error that names both.
func (c *claims) take(namespace, owner string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, taken := c.owners[namespace]; taken {
		return fmt.Errorf("%w: two wrappers have the key space %q: %s and %s; give one of them region.Namespace(\"…\")",
			ErrConfig, namespace, first, owner)
	}
	if c.owners == nil {
		c.owners = make(map[string]string)
	}
	c.owners[namespace] = owner
	return nil
}

// wrappedAt returns the file and line outside of this module's own wrappers where
// a function is being wrapped.
func wrappedAt() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		own := strings.HasPrefix(frame.Function, "github.com/dogpile-go/dogpile/region.") ||
			strings.HasPrefix(frame.Function, "github.com/dogpile-go/dogpile/decorate.")
		if !own || strings.HasSuffix(frame.File, "_test.go") {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}
