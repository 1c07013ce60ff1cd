package memcached

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// option is one that a URL may have. set stores its value, which is not empty, or
// returns an error that goes on after "the option … ".
type option struct {
	name string
	tls  bool // it means something with TLS only
	set  func(*Config, string) error
}

// options are all there are, in the order in which errors list them.
var options = []option{
	{"prefix", false, func(c *Config, value string) error { c.Prefix = value; return nil }},
	{"lease_ttl", false, setLeaseTTL},
	{"timeout", false, setTimeout},
	{"pool_size", false, setPoolSize},
	{"max_value_size", false, setMaxValueSize},
	{"chunked", false, setBool(func(c *Config) *bool { return &c.Chunked })},
	{"compress", false, setBool(func(c *Config) *bool { return &c.Compress })},
	{"tls_ca", true, setTLSCA},
	{"tls_server_name", true, func(c *Config, value string) error { c.TLS.ServerName = value; return nil }},
	{"tls_insecure", true, setBool(func(c *Config) *bool { return &c.TLS.InsecureSkipVerify })},
}

// setOptions reads the options of u, in the order in which they stand there.
func setOptions(cfg *Config, u *url.URL) error {
	encrypted := u.Scheme == "memcacheds"
	if encrypted {
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.name
	}
	given := map[string]bool{}
	for piece := range strings.SplitSeq(u.RawQuery, "&") {
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
			return unknown(name, names)
		case given[name]:
			return fmt.Errorf("the option %s is given twice: give it once", name)
		case value == "":
			return fmt.Errorf("the option %s has no value: write %[1]s=value, or leave it out", name)
		case options[i].tls && !encrypted:
			return fmt.Errorf("the option %s means nothing with %s://: write memcacheds://, or leave the option out", name, u.Scheme)
		}
		given[name] = true
		if err := options[i].set(cfg, value); err != nil {
			return fmt.Errorf("the option %s %w", name, err)
		}
	}
	if cfg.TLS != nil && cfg.TLS.InsecureSkipVerify && cfg.TLS.RootCAs != nil {
		return errors.New("the options tls_ca and tls_insecure=true exclude each other: leave tls_insecure out to have certificates verified")
	}
	return nil
}

// unknown returns the error for an option that does not exist.
func unknown(name string, names []string) error {
	list := strings.Join(names, ", ")
	if meant := nearest(name, names); meant != "" {
		return fmt.Errorf("unknown option %q: did you mean %q? There are %s", name, meant, list)
	}
	return fmt.Errorf("unknown option %q: there are %s", name, list)
}

// nearest returns the one of names that takes the fewest edits to make of text, or ""
// if half of it would have to change.
func nearest(text string, names []string) string {
	text = strings.ToLower(text)
	best, least := "", 0
	for _, name := range names {
		if n := edits(text, name); n < max(len(text), len(name))/2 && (best == "" || n < least) {
			best, least = name, n
		}
	}
	return best
}

// edits returns how many bytes have to be put in, taken out or replaced to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(diagonal+1, row[j]+1, replaced)
		}
	}
	return row[len(b)]
}

func setLeaseTTL(c *Config, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < memcachedio.ShortestTTL || d > longestLease {
		return fmt.Errorf("is %q: write a time from 2s to 24h, with its unit, as in 30s", value)
	}
	c.LeaseTTL = d
	return nil
}

func setTimeout(c *Config, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Millisecond || d > time.Hour {
		return fmt.Errorf("is %q: write a time from 1ms to 1h, with its unit, as in 500ms", value)
	}
	c.Timeout = d
	return nil
}

func setPoolSize(c *Config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 10_000 {
		return fmt.Errorf("is %q: write a number from 1 to 10000", value)
	}
	c.PoolSize = n
	return nil
}

func setMaxValueSize(c *Config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < smallestItem || n > largest {
		return fmt.Errorf("is %q: write a number of bytes from %d to %d", value, smallestItem, largest)
	}
	c.MaxValueSize = n
	return nil
}

func setBool(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, value string) error {
		switch value {
		case "true", "false":
			*field(c) = value == "true"
			return nil
		}
		return fmt.Errorf("is %q: write true or false", value)
	}
}

func setTLSCA(c *Config, value string) error {
	pem, err := os.ReadFile(value)
	if err != nil {
		return fmt.Errorf("names a file that cannot be read: %w", err)
	}
	c.TLS.RootCAs = x509.NewCertPool()
	if !c.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("names %q, which has no certificate in PEM format", value)
	}
	return nil
}
