package redisurl

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

	"github.com/dogpile-go/dogpile/internal/spelling"
	"github.com/dogpile-go/dogpile/internal/urloption"
)

const (
	maxPoolSize = 10_000
	maxTimeout  = time.Hour

	// minLeaseTTL is what Redis can count.
	minLeaseTTL = time.Millisecond
)

// option is one that a URL may have. set stores its value, which is not empty, or
// returns an error that goes on after "the option … ".
type option struct {
	name string
	only func(kind) string // what the scheme has to be, or "" if it is; nil for any
	set  func(*settings, string) error
}

// options are all there are, in the order in which errors list them.
var options = []option{
	{"prefix", nil, text(func(s *settings) *string { return &s.prefix })},
	{"lease_ttl", nil, setLeaseTTL},
	{"pool_size", nil, setPoolSize},
	{"dial_timeout", nil, timeout(func(s *settings) *time.Duration { return &s.dialTimeout })},
	{"read_timeout", nil, timeout(func(s *settings) *time.Duration { return &s.readTimeout })},
	{"write_timeout", nil, timeout(func(s *settings) *time.Duration { return &s.writeTimeout })},
	{"client_name", nil, setClientName},
	{"sentinel_username", sentinels, text(func(s *settings) *string { return &s.sentinelUsername })},
	{"sentinel_password", sentinels, text(func(s *settings) *string { return &s.sentinelPassword })},
	{"tls_ca", encrypted, setTLSCA},
	{"tls_server_name", encrypted, func(s *settings, value string) error { s.tls.ServerName = value; return nil }},
	{"tls_insecure", encrypted, setTLSInsecure},
}

// settings reads the options of u, in the order in which they stand there.
func (k kind) settings(u *url.URL) (settings, error) {
	var s settings
	if k.tls {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.name
	}
	err := urloption.Read(u.RawQuery, names, func(i int, value string) error {
		if only := options[i].only; only != nil {
			if scheme := only(k); scheme != "" {
				return fmt.Errorf("the option %s means nothing with %s://: write %s://, or leave the option out", names[i], k.scheme, scheme)
			}
		}
		if err := options[i].set(&s, value); err != nil {
			return fmt.Errorf("the option %s %w", names[i], err)
		}
		return nil
	})
	if err != nil {
		return settings{}, discreet(err, names)
	}
	if s.sentinelUsername != "" && s.sentinelPassword == "" {
		return settings{}, errors.New("the option sentinel_username needs sentinel_password beside it")
	}
	if s.tls != nil && s.tls.InsecureSkipVerify && s.tls.RootCAs != nil {
		return settings{}, errors.New("the options tls_ca and tls_insecure=true exclude each other: leave tls_insecure out to have certificates verified")
	}
	return s, nil
}

// discreet returns err, or another one if err may tell the rest of a password that was
// cut at an ampersand.
func discreet(err error, names []string) error {
	var unknown *urloption.Unknown
	if errors.As(err, &unknown) && slices.Contains(unknown.Before, "sentinel_password") && spelling.Nearest(unknown.Name, names) == "" {
		return fmt.Errorf("there is an unknown option behind sentinel_password: in a password write & as %%26; there are %s", strings.Join(names, ", "))
	}
	return err
}

// encrypted says which scheme has TLS, for those that do not.
func encrypted(k kind) string {
	if k.tls {
		return ""
	}
	return strings.Replace(k.scheme, "redis", "rediss", 1)
}

// sentinels says which scheme has sentinels, for those that do not.
func sentinels(k kind) string {
	switch {
	case k.topology == sentinel:
		return ""
	case k.tls:
		return "rediss+sentinel"
	default:
		return "redis+sentinel"
	}
}

func text(field func(*settings) *string) func(*settings, string) error {
	return func(s *settings, value string) error {
		*field(s) = value
		return nil
	}
}

func timeout(field func(*settings) *time.Duration) func(*settings, string) error {
	return func(s *settings, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d > maxTimeout {
			return fmt.Errorf("is %q: write a time that is more than 0 and at most 1h, with its unit, as in 500ms or 2s", value)
		}
		*field(s) = d
		return nil
	}
}

func setLeaseTTL(s *settings, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < minLeaseTTL {
		return fmt.Errorf("is %q: write a time of at least %s, with its unit, as in 30s", value, minLeaseTTL)
	}
	s.leaseTTL = d
	return nil
}

func setPoolSize(s *settings, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxPoolSize {
		return fmt.Errorf("is %q: write a number from 1 to %d", value, maxPoolSize)
	}
	s.poolSize = n
	return nil
}

func setClientName(s *settings, value string) error {
	// Redis refuses other names, and go-redis then fails to connect.
	for _, c := range []byte(value) {
		if c < '!' || c > '~' {
			return fmt.Errorf("is %q: Redis wants a name of printable ASCII characters without spaces", value)
		}
	}
	s.clientName = value
	return nil
}

func setTLSCA(s *settings, value string) error {
	pem, err := os.ReadFile(value)
	if err != nil {
		return fmt.Errorf("names a file that cannot be read: %w", err)
	}
	s.tls.RootCAs = x509.NewCertPool()
	if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("names %q, which has no certificate in PEM format", value)
	}
	return nil
}

func setTLSInsecure(s *settings, value string) error {
	switch value {
	case "true":
		s.tls.InsecureSkipVerify = true
	case "false":
	default:
		return fmt.Errorf("is %q: write true or false", value)
	}
	return nil
}
