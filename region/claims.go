package region

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// claims are the key spaces that wrappers have taken in a region, by being called,
// since it was configured; Reconfigure hands them on. Two wrappers with one key space would serve each other's
// values, and a function's name does not keep them apart: method values of two
// receivers have one name, and so have all instances of a generic function.
type claims struct {
	mu     sync.Mutex
	owners map[string]*claimant // by namespace
}

// claimant is a wrapper that wants a key space to itself.
type claimant struct {
	namespace string
	who       string // the function, and where it was wrapped
}

// take gives the key space to c, or returns an error that names it and the one who
// has it.
func (cs *claims) take(c *claimant) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if owner := cs.owners[c.namespace]; owner != nil && owner != c {
		return fmt.Errorf("%w: two wrappers have the key space %q: %s and %s; give one of them region.Namespace(\"…\")",
			ErrConfig, c.namespace, owner.who, c.who)
	}
	if cs.owners == nil {
		cs.owners = make(map[string]*claimant)
	}
	cs.owners[c.namespace] = c
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
