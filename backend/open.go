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
//
// Host may be a list with commas, such as "h1:26379,h2,[::1]:26379"; Hostname
// and Port of such a URL mean nothing. An element may be empty, and it is for the
// Opener to refuse that, or a list where it wants one host.
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
// A URL may name several hosts, each with its port, with commas between them, as
// in "redis+sentinel://h1:26379,[::1]:26379/main". Otherwise it is read as
// [url.Parse] reads it.
//
// It returns an error that wraps [ErrUnknownScheme] and lists the known schemes
// if there is no backend for the URL.
func Open(rawURL string) (Backend, error) {
	u, err := parse(rawURL)
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

// parse is url.Parse for URLs that may name several hosts. What url.Parse itself
// makes of a list has changed from one release of Go to the next: some refuse
// every list with ports, others look at the last port only, and none takes IPv6
// addresses in it. So each host of a list is parsed alone.
func parse(rawURL string) (*url.URL, error) {
	start, end := hostSpan(rawURL)
	hosts := splitHosts(rawURL[start:end])
	if len(hosts) == 1 {
		return url.Parse(rawURL)
	}
	for i, host := range hosts {
		one, err := url.Parse("x://" + host)
		if err != nil {
			return nil, err
		}
		if host != "" && host[0] != '[' && strings.Count(host, ":") > 1 {
			return nil, errors.New("a host with several ports")
		}
		hosts[i] = one.Host
	}
	u, err := url.Parse(rawURL[:start] + "x" + rawURL[end:])
	if err != nil {
		return nil, err
	}
	u.Host = strings.Join(hosts, ",")
	return u, nil
}

// hostSpan returns where in rawURL its hosts begin and end, behind the user and
// before the path. The two are equal if it has none.
func hostSpan(rawURL string) (start, end int) {
	scheme, rest, found := strings.Cut(rawURL, "://")
	if !found || strings.ContainsAny(scheme, ":/?#") {
		return 0, 0
	}
	start = len(rawURL) - len(rest)
	end = len(rawURL)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = start + i
	}
	return start + strings.LastIndex(rawURL[start:end], "@") + 1, end
}

// splitHosts cuts a list of hosts at its commas, except for those in brackets,
// where a zone may have one.
func splitHosts(list string) []string {
	var hosts []string
	begin, inside := 0, false
	for i := range len(list) {
		switch list[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ',':
			if !inside {
				hosts = append(hosts, list[begin:i])
				begin = i + 1
			}
		}
	}
	return append(hosts, list[begin:])
}
