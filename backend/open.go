package backend

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Opener opens a backend from a URL whose scheme it was registered for. An
// option in the URL that it does not know is an error that names the option.
type Opener func(u *url.URL) (Backend, error)

// ErrUnknownScheme is wrapped by the error of [Open] for a URL whose scheme no
// imported package has registered.
var ErrUnknownScheme = errors.New("backend: unknown scheme")

var openers = struct {
	sync.RWMutex
	byScheme map[string]Opener
}{byScheme: map[string]Opener{}}

// Register makes open answer for URLs of scheme, as sql.Register does for
// drivers. Backends call it when they are imported. It returns an error if the
// scheme is empty, open is nil, or the scheme is taken.
func Register(scheme string, open Opener) error {
	if scheme == "" || open == nil {
		return errors.New("backend: Register needs a scheme and an opener")
	}
	scheme = strings.ToLower(scheme)
	openers.Lock()
	defer openers.Unlock()
	if _, taken := openers.byScheme[scheme]; taken {
		return fmt.Errorf("backend: scheme %q is registered already", scheme)
	}
	openers.byScheme[scheme] = open
	return nil
}

// Schemes returns the registered schemes in alphabetical order.
func Schemes() []string {
	openers.RLock()
	defer openers.RUnlock()
	return slices.Sorted(maps.Keys(openers.byScheme))
}

// Open opens the backend that rawURL describes, such as "memory:?max_entries=1000"
// or "null:". The package of the backend has to be imported, by its name or with
// a blank import. An error never repeats a password that stood in the URL.
//
// It returns an error that wraps [ErrUnknownScheme] and lists the known schemes
// if there is no backend for the URL.
func Open(rawURL string) (Backend, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The text of err repeats parts of the URL, among them passwords.
		return nil, errors.New("backend: the URL cannot be read; special characters in a user name, password or path are written with percent signs, a slash for example as %2F")
	}
	if u.Scheme == "" {
		return nil, fmt.Errorf("backend: the URL has no scheme; write for example \"memory:\": %w", ErrUnknownScheme)
	}
	openers.RLock()
	open := openers.byScheme[u.Scheme]
	openers.RUnlock()
	if open == nil {
		return nil, fmt.Errorf("%w %q: registered are %s; import the backend's package",
			ErrUnknownScheme, u.Scheme, strings.Join(Schemes(), ", "))
	}
	b, err := open(u)
	if err != nil {
		return nil, fmt.Errorf("backend: open %s: %w", u.Scheme, err)
	}
	return b, nil
}
