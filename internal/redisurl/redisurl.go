// Package redisurl opens Redis clients from URLs, with the options a cache wants
// rather than those that go-redis comes with.
//
// A URL has one of the forms
//
//	redis://[user:password@]host[:6379][/database][?options]
//	redis+sentinel://[user:password@]host[:26379],host,…/master[/database][?options]
//	redis+cluster://[user:password@]host[:6379],host,…[?options]
//
// and the schemes rediss, rediss+sentinel and rediss+cluster are the same over
// TLS. ":password@" is a password without a user name. With sentinels, user and
// password are those of the Redis servers. Hosts that are IPv6 addresses stand in
// brackets, and special characters are written with percent signs.
//
// The options, which may each be given once:
//
//	prefix             what stands before every key
//	lease_ttl          how long a lease outlives a dead process, as in 30s
//	pool_size          connections to a server that are kept, 1 to 10000
//	dial_timeout       how long to connect may take, as in 500ms; 1s if not given
//	read_timeout       the same for the answer to a command
//	write_timeout      the same for sending one
//	client_name        the name of the connections in CLIENT LIST
//	sentinel_username  for sentinels that ask for a user name
//	sentinel_password  for sentinels that ask for a password
//	tls_ca             a file with certificates in PEM to trust instead of the system's
//	tls_server_name    the name in the servers' certificates, if it is not the host's
//	tls_insecure       true trusts any certificate
package redisurl

import (
	"crypto/tls"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
)

// Opened is what a URL describes.
type Opened struct {
	// Client is a [*redis.Client], also with sentinels, or for a cluster a
	// [*redis.ClusterClient]. It has not connected to anything yet. Whoever called
	// Open closes it. It is safe for concurrent use.
	Client redis.UniversalClient

	// Prefix is the option prefix; empty if it was not given.
	Prefix string

	// LeaseTTL is the option lease_ttl; 0 if it was not given.
	LeaseTTL time.Duration
}

// place says which servers a URL means, and as whom to talk to them.
type place struct {
	addrs    []string // "host:port", the hosts of IPv6 addresses in brackets
	master   string   // with sentinels
	database int
	username string
	password string
}

// settings are the options of a URL. What was not given is zero.
type settings struct {
	prefix   string
	leaseTTL time.Duration

	poolSize         int
	dialTimeout      time.Duration
	readTimeout      time.Duration
	writeTimeout     time.Duration
	clientName       string
	sentinelUsername string
	sentinelPassword string

	tls *tls.Config // nil without TLS
}

// Open returns the client and the settings that u describes, in a form that the
// package's comment gives. u.Host may be a list with commas. Open connects to
// nothing; of files it reads the one that tls_ca names.
//
// An error says what is wrong and how to write it. It never repeats a password.
func Open(u *url.URL) (*Opened, error) {
	k, err := kindOf(u)
	if err != nil {
		return nil, err
	}
	p, err := k.place(u)
	if err != nil {
		return nil, err
	}
	s, err := k.settings(u)
	if err != nil {
		return nil, err
	}
	return &Opened{Client: k.client(p, s), Prefix: s.prefix, LeaseTTL: s.leaseTTL}, nil
}
