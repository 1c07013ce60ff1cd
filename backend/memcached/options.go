package memcached

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/dogpile-go/dogpile/internal/memcachedio"
	"github.com/dogpile-go/dogpile/internal/urloption"
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
	err := urloption.Read(u.RawQuery, names, func(i int, value string) error {
		if options[i].tls && !encrypted {
			return fmt.Errorf("the option %s means nothing with %s://: write memcacheds://, or leave the option out", names[i], u.Scheme)
		}
		if err := options[i].set(cfg, value); err != nil {
			return fmt.Errorf("the option %s %w", names[i], err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if cfg.TLS != nil && cfg.TLS.InsecureSkipVerify && cfg.TLS.RootCAs != nil {
		return errors.New("the options tls_ca and tls_insecure=true exclude each other: leave tls_insecure out to have certificates verified")
	}
	return nil
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
