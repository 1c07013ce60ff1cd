// Package urloption reads the options of the URLs that backends are opened with: what
// stands behind the question mark.
package urloption

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/dogpile-go/dogpile/internal/spelling"
)

// Unknown is the error for an option that does not exist.
type Unknown struct {
	Name   string
	Before []string // the options that stand before it

	err error
}

// Error says which options there are, and which one was most likely meant.
func (e *Unknown) Error() string { return e.err.Error() }

// Read calls take for each option of query, in the order in which they stand there, with
// its place in names and its value, which is not empty. It returns the first error: of
// take, an [*Unknown] for an option that is not one of names, or one that says what else
// is wrong. It never returns a value, which may be a password.
func Read(query string, names []string, take func(i int, value string) error) error {
	var before []string
	for piece := range strings.SplitSeq(query, "&") {
		if piece == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(piece, "=")
		name, err1 := url.QueryUnescape(rawName)
		value, err2 := url.QueryUnescape(rawValue)
		if err1 != nil || err2 != nil || strings.Contains(piece, ";") {
			return errors.New("the options cannot be read: put & between them, and write special characters with percent signs, % as %25 and ; as %3B")
		}
		i := slices.Index(names, name)
		switch {
		case i < 0:
			return &Unknown{name, before, spelling.UnknownOption(name, names)}
		case slices.Contains(before, name):
			return fmt.Errorf("the option %s is given twice: give it once", name)
		case value == "":
			return fmt.Errorf("the option %s has no value: write %[1]s=value, or leave it out", name)
		}
		before = append(before, name)
		if err := take(i, value); err != nil {
			return err
		}
	}
	return nil
}
