package regionconfig

import (
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/region"
)

// pythonPrefix is what the names of dogpile.cache's backends begin with.
const pythonPrefix = "dogpile.cache."

// pythonic is what a region's configuration for dogpile.cache says of its backend.
type pythonic struct {
	backend   string
	arguments map[string]string
}

// seconds reads an expiration_time as dogpile.cache does: a number of seconds, where -1
// and None are for ever.
func seconds(value string) (region.Duration, error) {
	if value == "None" {
		return region.Duration(region.Forever), nil
	}
	n, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil || math.IsNaN(n):
		return 0, fmt.Errorf("%.40q is no number of seconds; write one, or -1 or None for ever, or the setting expiration, which takes times such as 5m", value)
	case n == -1:
		return region.Duration(region.Forever), nil
	case n < 0:
		return 0, fmt.Errorf("%s is negative; write a number of seconds, or -1 for ever", value)
	case n > math.MaxInt64/float64(time.Second)/2:
		return 0, fmt.Errorf("%s seconds are too many; write -1 for ever", value)
	}
	return region.Duration(n * float64(time.Second)), nil
}

// place is a kind of backend in dogpile.cache: the arguments that say where it is, and
// the options that others become here.
type place struct {
	url     func(a map[string]string) (string, error)
	where   []string
	options map[string][]string
}

// unneeded are arguments about what is always so, or is none of a configuration's
// business here.
var unneeded = []string{
	"distributed_lock", "thread_local_lock", "lock_sleep", "socket_keepalive", "redis_expiration_time",
	"memcached_expire_time", "rw_lockfile", "dogpile_lockfile",
}

var redisOptions = map[string][]string{
	"lock_timeout": {"lease_ttl"}, "socket_connect_timeout": {"dial_timeout"}, "socket_timeout": {"read_timeout", "write_timeout"},
}

var places = map[string]place{
	"memory":        {url: fixed("memory:")},
	"memory_pickle": {url: fixed("memory:")},
	"null":          {url: fixed("null:")},
	"redis":         {redisURL, []string{"url", "host", "port", "db", "username", "password"}, redisOptions},
	"valkey":        {redisURL, []string{"url", "host", "port", "db", "username", "password"}, redisOptions},
	"memcached":     {memcachedURL, []string{"url"}, memcachedOptions},
	"pylibmc":       {memcachedURL, []string{"url"}, memcachedOptions},
	"pymemcache":    {memcachedURL, []string{"url"}, memcachedOptions},
	"bmemcached":    {memcachedURL, []string{"url"}, memcachedOptions},
	"dbm":           {fileURL, []string{"filename"}, nil},
}

var memcachedOptions = map[string][]string{"lock_timeout": {"lease_ttl"}, "socket_timeout": {"timeout"}}

func fixed(text string) func(map[string]string) (string, error) {
	return func(map[string]string) (string, error) { return text, nil }
}

func redisURL(a map[string]string) (string, error) {
	if own := a["url"]; own != "" {
		return own, nil
	}
	or := func(name, otherwise string) string {
		if v := a[name]; v != "" && v != "None" {
			return v
		}
		return otherwise
	}
	u := url.URL{Scheme: "redis", Host: net.JoinHostPort(or("host", "localhost"), or("port", "6379")), Path: "/" + or("db", "0")}
	if password := or("password", ""); password != "" {
		u.User = url.UserPassword(or("username", ""), password)
	} else if user := or("username", ""); user != "" {
		return "", fmt.Errorf("the argument username needs password beside it")
	}
	return u.String(), nil
}

// memcachedURL takes one server, or several with commas or spaces between them.
func memcachedURL(a map[string]string) (string, error) {
	servers := strings.FieldsFunc(a["url"], func(c rune) bool { return strings.ContainsRune(" ,[]'\"", c) })
	if len(servers) == 0 || slices.ContainsFunc(servers, func(s string) bool { return strings.ContainsAny(s, "/@?#") }) {
		return "", fmt.Errorf("the argument url is missing, or no list of servers: write them as 127.0.0.1:11211")
	}
	return "memcached://" + strings.Join(servers, ","), nil
}

func fileURL(a map[string]string) (string, error) {
	if !strings.HasPrefix(a["filename"], "/") {
		return "", fmt.Errorf("the argument filename has to be a full path; a folder of that name keeps the values")
	}
	return (&url.URL{Scheme: "file", Path: a["filename"]}).String(), nil
}

// lockPrefix is an argument of backends with locks on servers, and an option of the format
// dogpilepy.
const lockPrefix = "lock_prefix"

// withOption adds options to a URL, or to what looks like the end of one.
func withOption(text string, options url.Values) string {
	switch {
	case len(options) == 0:
		return text
	case strings.Contains(text, "?"):
		return text + "&" + options.Encode()
	}
	return text + "?" + options.Encode()
}

// withoutOption leaves one option out of such a text.
func withoutOption(text, option string) string {
	name, query, _ := strings.Cut(text, "?")
	options := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		given, _, _ := strings.Cut(pair, "=")
		return given == "" || given == option
	})
	if len(options) == 0 {
		return name
	}
	return name + "?" + strings.Join(options, "&")
}

// pythonic makes a URL of what stands in dogpile.cache's terms.
func (r *reader) pythonic(name string, from *pythonic) {
	path := "regions." + name
	own := r.setup.Regions[name]
	if name == "defaults" {
		path, own = name, r.setup.Defaults
	}
	short := strings.TrimPrefix(from.backend, pythonPrefix)
	p, known := places[short]
	switch {
	case from.backend == "":
		for _, a := range slices.Sorted(maps.Keys(from.arguments)) {
			r.wrong(path+".arguments."+a, "", fmt.Errorf("arguments are for backends of dogpile.cache, such as dogpile.cache.redis; write options into the URL of the backend"))
		}
		return
	case !known:
		names := slices.Sorted(maps.Keys(places))
		for i := range names {
			names[i] = pythonPrefix + names[i]
		}
		r.wrong(path+".backend", "", unknown("backend", from.backend, names))
		return
	}
	where, options, good := map[string]string{}, url.Values{}, true
	for _, a := range slices.Sorted(maps.Keys(from.arguments)) {
		value := from.arguments[a]
		switch becomes := p.options[a]; {
		case slices.Contains(p.where, a):
			where[a] = value
		case slices.Contains(unneeded, a), value == "None":
		case a == lockPrefix && slices.Contains(p.where, "url"):
			// It matters to those who share locks with Python.
			interop := own.Interop
			if interop == "" {
				interop = withoutOption(r.setup.Defaults.Interop, a) // that of the defaults
			}
			if interop != "" && interop != "none" {
				own.Interop = withOption(interop, url.Values{a: {value}})
			}
		case becomes != nil:
			d, err := seconds(value)
			if err != nil || d <= 0 {
				r.wrong(path+".arguments."+a, "", fmt.Errorf("%.40q is no number of seconds", value))
				good = false
				continue
			}
			for _, option := range becomes {
				options.Set(option, time.Duration(d).String())
			}
		default:
			names := append(slices.Sorted(maps.Keys(p.options)), p.where...)
			r.wrong(path+".arguments."+a, "", unknown("argument", a, append(names, unneeded...)))
			good = false
		}
	}
	text, err := p.url(where)
	if err != nil {
		r.wrong(path+".backend", "", err)
	}
	if err != nil || !good {
		return
	}
	own.Backend = withOption(text, options)
	if name == "defaults" {
		r.setup.Defaults = own
	} else {
		r.setup.Regions[name] = own
	}
}
