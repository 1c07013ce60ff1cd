package codec

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/dogpile-go/dogpile/internal/spelling"
)

// ErrUnknownFormat is wrapped by the error of [OpenFormat] for a name that no imported
// package has registered.
var ErrUnknownFormat = errors.New("codec: unknown format")

// formatPackages are where the formats of this module come from, known also if their
// packages are not imported.
var formatPackages = map[string]string{
	"dogpilepy": "github.com/dogpile-go/dogpile/codec/dogpilepy",
}

var formats = struct {
	sync.RWMutex
	byName map[string]func(options url.Values) (Format, error)
}{byName: map[string]func(options url.Values) (Format, error){}}

// RegisterFormat makes open answer in [OpenFormat] for name, in which case does not count.
// Formats call it when they are imported. open gets the options, none of which is given
// twice or without a value; one that it does not know is an error that names it. It returns
// an error if open is nil, if the name is taken, or if it is anything but letters, digits,
// "-", "_" and ".".
func RegisterFormat(name string, open func(options url.Values) (Format, error)) error {
	if open == nil {
		return errors.New("codec: RegisterFormat needs a function that opens the format")
	}
	name = strings.ToLower(name)
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	if name == "" || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("codec: %.60q cannot be the name of a format: it is made of letters, digits, \"-\", \"_\" and \".\"", name)
	}
	formats.Lock()
	defer formats.Unlock()
	if _, taken := formats.byName[name]; taken {
		return fmt.Errorf("codec: the format %q is registered already", name)
	}
	formats.byName[name] = open
	return nil
}

// Formats returns the names of the registered formats in alphabetical order.
func Formats() []string {
	formats.RLock()
	defer formats.RUnlock()
	return slices.Sorted(maps.Keys(formats.byName))
}

// OpenFormat opens the format that text describes, for configuration files: its name, and
// options as in a URL, such as "dogpilepy" or "dogpilepy?lock_prefix=app_lock&flags=16".
// The package of the format has to be imported, by its name or with a blank import.
//
// It returns an error that wraps [ErrUnknownFormat] and says what was meant, or what to
// import, if there is no format of that name.
func OpenFormat(text string) (Format, error) {
	name, query, _ := strings.Cut(text, "?")
	name = strings.ToLower(name)
	formats.RLock()
	open := formats.byName[name]
	formats.RUnlock()
	if open == nil {
		return nil, unknownFormat(name)
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("codec: open format %s: the options cannot be read: put & between them, and write special characters with percent signs", name)
	}
	for option, values := range options {
		switch {
		case len(values) > 1:
			return nil, fmt.Errorf("codec: open format %s: the option %.60q is given twice: give it once", name, option)
		case values[0] == "":
			return nil, fmt.Errorf("codec: open format %s: the option %.60q has no value: write name=value, or leave it out", name, option)
		}
	}
	f, err := open(options)
	if err != nil {
		return nil, fmt.Errorf("codec: open format %s: %w", name, err)
	}
	return f, nil
}

// unknownFormat is the error for a name that nobody has registered.
func unknownFormat(name string) error {
	if path := formatPackages[name]; path != "" {
		return fmt.Errorf("%w %q: its package is not imported: import _ %q", ErrUnknownFormat, name, path)
	}
	registered := Formats()
	list := strings.Join(registered, ", ")
	if list == "" {
		list = "none"
	}
	known := append(slices.Clone(registered), slices.Sorted(maps.Keys(formatPackages))...)
	switch meant := spelling.Nearest(name, known); {
	case meant == "":
		return fmt.Errorf("%w %.60q: registered are %s; import the package that has it", ErrUnknownFormat, name, list)
	case slices.Contains(registered, meant):
		return fmt.Errorf("%w %.60q: did you mean %q? Registered are %s", ErrUnknownFormat, name, meant, list)
	default:
		return fmt.Errorf("%w %.60q: did you mean %q? Then import _ %q", ErrUnknownFormat, name, meant, formatPackages[meant])
	}
}
