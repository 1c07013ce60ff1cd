package file

import (
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/urloption"
)

func init() {
	if err := backend.Register("file", openURL); err != nil {
		panic(err) // two packages for one scheme: a bug of the program's build
	}
}

// option is one that a URL may have. set stores its value, which is not empty, or
// returns an error that goes on after "the option … ".
type option struct {
	name string
	set  func(*Config, string) error
}

// options are all there are, in the order in which errors list them.
var options = []option{
	{"prefix", func(c *Config, value string) error { c.Prefix = value; return nil }},
	{"max_size", setMaxSize},
	{"lease_ttl", setLeaseTTL},
}

// openURL opens a backend on the directory that u names.
func openURL(u *url.URL) (backend.Backend, error) {
	dir, err := dirOf(u)
	if err != nil {
		return nil, err
	}
	cfg, err := configOf(u.RawQuery)
	if err != nil {
		return nil, err
	}
	b := New(dir, cfg)
	if err := b.Err(); err != nil {
		return nil, err
	}
	return b, nil
}

// dirOf returns the directory that u names.
func dirOf(u *url.URL) (string, error) {
	switch {
	case u.User != nil:
		return "", errors.New("a directory has no user and no password: write file:///var/cache/app")
	case u.Host != "" && u.Host != "localhost":
		return "", fmt.Errorf("%q stands where a URL has its host: write three slashes for an absolute path, as in file:///var/cache/app, and none for a relative one, as in file:cache/app", u.Host)
	case u.Fragment != "":
		return "", errors.New("there is a # in the URL: in a path write it as %23")
	}
	dir := u.Path
	if u.Opaque != "" {
		var err error
		if dir, err = url.PathUnescape(u.Opaque); err != nil {
			return "", errors.New("the path cannot be read: write special characters with percent signs, % as %25")
		}
	}
	if dir == "" {
		return "", errors.New("there is no directory: write file:///var/cache/app, or file:cache/app for one relative to the working directory")
	}
	if runtime.GOOS == "windows" && len(dir) > 2 && dir[0] == '/' && dir[2] == ':' {
		dir = dir[1:] // file:///C:/cache
	}
	return dir, nil
}

// configOf reads the options of a URL.
func configOf(query string) (Config, error) {
	var cfg Config
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.name
	}
	err := urloption.Read(query, names, func(i int, value string) error {
		if err := options[i].set(&cfg, value); err != nil {
			return fmt.Errorf("the option %s %w", names[i], err)
		}
		return nil
	})
	if err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// units are what sizes are written in, the longer names first.
var units = []struct {
	name  string
	bytes int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"b", 1}, {"", 1},
}

func setMaxSize(cfg *Config, value string) error {
	text := strings.ToLower(value)
	for _, unit := range units {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > (1<<63-1)/unit.bytes || int64(n)*unit.bytes < leastMaxSize {
			break
		}
		cfg.MaxSize = int64(n) * unit.bytes
		return nil
	}
	return fmt.Errorf("is %q: write a size of at least 1MiB, as in 512MiB, 2GB or 1073741824", value)
}

func setLeaseTTL(cfg *Config, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < shortestLeaseTTL {
		return fmt.Errorf("is %q: write a time of at least %s, with its unit, as in 30s", value, shortestLeaseTTL)
	}
	cfg.LeaseTTL = d
	return nil
}
