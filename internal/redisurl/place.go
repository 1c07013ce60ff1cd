package redisurl

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// topology is how the servers of a URL hang together.
type topology int

const (
	standalone topology = iota
	sentinel
	cluster
)

// kind is what a scheme says.
type kind struct {
	scheme string
	topology
	tls     bool
	port    string // of a host that comes without one
	pattern string // how such a URL is written
}

var kinds = []kind{
	{"redis", standalone, false, "6379", "redis://host:6379/0"},
	{"rediss", standalone, true, "6379", "rediss://host:6379/0"},
	{"redis+sentinel", sentinel, false, "26379", "redis+sentinel://host1:26379,host2:26379/master/0"},
	{"rediss+sentinel", sentinel, true, "26379", "rediss+sentinel://host1:26379,host2:26379/master/0"},
	{"redis+cluster", cluster, false, "6379", "redis+cluster://host1:6379,host2:6379"},
	{"rediss+cluster", cluster, true, "6379", "rediss+cluster://host1:6379,host2:6379"},
}

// kindOf returns what the scheme of u says.
func kindOf(u *url.URL) (kind, error) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if k.scheme == u.Scheme {
			return k, nil
		}
		names[i] = k.scheme
	}
	return kind{}, fmt.Errorf("unknown scheme %q: there are %s", u.Scheme, strings.Join(names, ", "))
}

// place reads what stands before the question mark.
func (k kind) place(u *url.URL) (place, error) {
	// A password with a bare slash, question mark or number sign ends the part of
	// the URL it belongs to, and what follows would be taken for a path or for
	// options, and be repeated in errors. The @ behind it gives it away.
	if strings.Contains(u.EscapedPath()+u.RawQuery+u.EscapedFragment()+u.Opaque, "@") {
		return place{}, errors.New("there is an @ behind the host: in a user name or password write / as %2F, ? as %3F and # as %23, and write any other @ as %40")
	}
	if u.Fragment != "" {
		return place{}, errors.New("there is a # in the URL, which means nothing here: write it as %23 if it belongs to a name or a password")
	}
	if u.Opaque != "" || u.Host == "" {
		return place{}, fmt.Errorf("the host is missing: write %s", k.pattern)
	}
	var p place
	for host := range strings.SplitSeq(u.Host, ",") {
		addr, err := k.addr(host)
		if err != nil {
			return place{}, err
		}
		p.addrs = append(p.addrs, addr)
	}
	if k.topology == standalone && len(p.addrs) > 1 {
		return place{}, fmt.Errorf("%s:// takes one host: write %s+sentinel:// or %[1]s+cluster:// for several", k.scheme, k.scheme)
	}
	p.username = u.User.Username()
	p.password, _ = u.User.Password()
	if p.username != "" && p.password == "" {
		// go-redis would not log in at all.
		return place{}, errors.New("there is a user name without a password: write user:password@, or :password@ for a password alone")
	}
	return p, k.path(u, &p)
}

// addr returns host with its port, or the one that k has by default.
func (k kind) addr(host string) (string, error) {
	name, port, hasPort := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		var closed bool
		name, port, closed = strings.Cut(host[1:], "]")
		port, hasPort = strings.CutPrefix(port, ":")
		if !closed || port != "" && !hasPort {
			return "", fmt.Errorf("the host %q is no IPv6 address: write it in brackets, as [::1]:%s", host, k.port)
		}
	} else if strings.Contains(port, ":") {
		return "", fmt.Errorf("the host %q has several colons: write an IPv6 address in brackets, as [::1]:%s, and put commas between hosts", host, k.port)
	}
	switch {
	case name == "":
		return "", fmt.Errorf("the host is missing: write %s", k.pattern)
	case !hasPort:
		return net.JoinHostPort(name, k.port), nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("the port %q of %q is not a number from 1 to 65535", port, name)
	}
	return net.JoinHostPort(name, strconv.FormatUint(n, 10)), nil
}

// path reads the path of u, which names a master or a database, into p.
func (k kind) path(u *url.URL, p *place) error {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/"), "/")
	if k.topology == sentinel {
		master, err := url.PathUnescape(parts[0])
		if err != nil || master == "" {
			return fmt.Errorf("the name of the master is missing: write it behind the hosts, as in %s", k.pattern)
		}
		p.master = master
		if parts = parts[1:]; len(parts) == 0 {
			return nil
		}
	}
	if len(parts) > 1 {
		return fmt.Errorf("the path has too many parts: write %s", k.pattern)
	}
	if parts[0] == "" && k.topology != sentinel {
		return nil
	}
	n, err := strconv.ParseUint(parts[0], 10, 31)
	if err != nil {
		return fmt.Errorf("the database %q is not a number from 0 up: write %s", parts[0], k.pattern)
	}
	if n > 0 && k.topology == cluster {
		return fmt.Errorf("there is no database %d in a cluster, which has database 0 alone: leave it out, and keep keys apart with the option prefix", n)
	}
	p.database = int(n)
	return nil
}
