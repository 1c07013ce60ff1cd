package memcachedio

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// defaultPort is memcached's.
const defaultPort = "11211"

// Addr is where a server is. It has the text that it was configured with, whatever a
// name in it resolves to at the moment: names are looked up when a connection is made.
type Addr struct {
	network, text string
}

// Network returns "tcp" or "unix".
func (a Addr) Network() string { return a.network }

// String returns the host and port, or the path.
func (a Addr) String() string { return a.text }

func parseAddr(text string) (Addr, error) {
	if strings.HasPrefix(text, "/") {
		return Addr{"unix", text}, nil
	}
	host, port := text, defaultPort
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	} else if strings.ContainsAny(text, ":[]") {
		host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
		if len(host)+2 != len(text) {
			return Addr{}, fmt.Errorf("the server %q is no address: write host:port, with an IPv6 address in brackets", text)
		}
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n/@,[]") {
		return Addr{}, fmt.Errorf("the server %q has no host: write host:port, such as 127.0.0.1:%s", text, defaultPort)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return Addr{}, fmt.Errorf("the server %q has the port %q: write a number from 1 to 65535", text, port)
	}
	return Addr{"tcp", net.JoinHostPort(host, port)}, nil
}
