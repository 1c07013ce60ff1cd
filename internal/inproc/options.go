package inproc

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/dogpile-go/dogpile/internal/spelling"
)

// Options returns the options in the query of u, the URL of a backend that has no
// address. It returns an error for an address, for an option that is not in
// known, and for one that is given twice.
func Options(u *url.URL, known ...string) (map[string]string, error) {
	if u.Host != "" || u.User != nil || u.Opaque != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("there is nothing to connect to: write options after a question mark, as in %q", u.Scheme+":?option=value")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the options cannot be read: %w", err)
	}
	options := make(map[string]string, len(query))
	for name, values := range query {
		switch {
		case !slices.Contains(known, name) && len(known) == 0:
			return nil, fmt.Errorf("unknown option %q: there are none", name)
		case !slices.Contains(known, name):
			return nil, spelling.UnknownOption(name, known)
		case len(values) > 1:
			return nil, fmt.Errorf("option %q is given %d times", name, len(values))
		}
		options[name] = values[0]
	}
	return options, nil
}
