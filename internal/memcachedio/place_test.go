package memcachedio

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func newClient(t *testing.T, servers ...string) *Client {
	t.Helper()
	c, err := New(Config{Servers: servers})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A server that is added takes its share of keys and moves no others.
func TestRendezvous(t *testing.T) {
	three := newClient(t, "a", "b", "c")
	four := newClient(t, "d", "c", "b", "a") // the order does not matter
	const keys = 20_000
	moved, share := 0, map[string]int{}
	for i := range keys {
		before, after := three.Place("users", fmt.Sprint(i)), four.Place("users", fmt.Sprint(i))
		share[before.Server.String()]++
		switch after.Server.String() {
		case before.Server.String():
		case "d:11211":
			moved++
		default:
			t.Fatalf("key %d moved from %s to %s, want it to stay or go to the new server", i, before.Server, after.Server)
		}
		if name := before.Name(Lease); three.named(name.Text) != name {
			t.Fatalf("the server of %s is not found again", name.Text)
		}
	}
	for server, n := range share {
		if n < keys*28/100 || n > keys*39/100 {
			t.Errorf("%s has %d of %d keys, want about a third", server, n, keys)
		}
	}
	if moved < keys*22/100 || moved > keys*28/100 {
		t.Errorf("%d of %d keys moved to a fourth server, want about a quarter", moved, keys)
	}
}

// Names are made of a digest, whatever a key is made of, and no two share one.
func TestNames(t *testing.T) {
	c := newClient(t, "a")
	c.prefix = strings.Repeat("p", longestPrefix)
	seen := map[string]string{}
	for _, region := range []string{"", "a", "ab", "a:b", strings.Repeat("r", 300)} {
		for _, name := range []string{"", " ", "b", "a", ":b", "\r\nset x 0 0 1\r\n", strings.Repeat("k", 64<<10), strings.Repeat("k", 300)} {
			p := c.Place(region, name)
			for _, kind := range []byte{Value, Lease, Stamp, Mutex} {
				text := p.Text(kind)
				what := fmt.Sprintf("%.20q %.20q %c", region, name, kind)
				if before, taken := seen[text]; taken {
					t.Errorf("%s and %s have the same name", before, what)
				}
				seen[text] = what
				if len(text) > 250 || strings.ContainsAny(text, " \r\n\x00") {
					t.Errorf("the name of %s is %q", what, text)
				}
			}
		}
	}
}

// The table of expiration times is exact (R29).
func TestExpiration(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	late := time.Unix(math.MaxInt32-1000, 0)
	const month = 30 * 24 * time.Hour
	for _, c := range []struct {
		ttl         time.Duration
		now         time.Time
		want, lease int32
	}{
		{0, now, 0, 1},
		{1, now, 2, 1},
		{time.Millisecond, now, 2, 1},
		{time.Second - 1, now, 2, 1},
		{time.Second, now, 2, 1},
		{time.Second + 1, now, 3, 2},
		{10 * time.Second, now, 11, 10},
		{month - 2*time.Second, now, 2591999, 2591998},
		{month - time.Second, now, 2592000, 2591999},
		{month, now, int32(now.Unix()) + 2592001, 2592000},
		{month + 1, now, int32(now.Unix()) + 2592002, int32(now.Unix()) + 2592001},
		{365 * 24 * time.Hour, now, int32(now.Unix()) + 365*86400 + 1, int32(now.Unix()) + 365*86400},
		{100 * 365 * 24 * time.Hour, now, math.MaxInt32, math.MaxInt32},
		{math.MaxInt64, now, math.MaxInt32, math.MaxInt32},
		// When 31 bits are nearly over, or are, a month is the most that can be said.
		{math.MaxInt64, late, 2592000, 2592000},
		{math.MaxInt64, late.Add(time.Hour), 2592000, 2592000},
	} {
		if got := Expiration(c.ttl, c.now); got != c.want {
			t.Errorf("Expiration(%v) = %d, want %d", c.ttl, got, c.want)
		}
		if got := LeaseExpiration(c.ttl, c.now); got != c.lease {
			t.Errorf("LeaseExpiration(%v) = %d, want %d", c.ttl, got, c.lease)
		}
	}
}

func TestAddr(t *testing.T) {
	for text, want := range map[string]string{
		"h": "h:11211", "h:1": "h:1", "127.0.0.1": "127.0.0.1:11211", "[::1]": "[::1]:11211", "[::1]:5": "[::1]:5",
		"/run/memcached.sock": "/run/memcached.sock",
		"":                    "", ":1": "", "h:": "", "h:0": "", "h:65536": "", "h:x": "", "::1": "", "a b": "", "u@h": "", "[::1": "", "h/x:1": "",
	} {
		addr, err := parseAddr(text)
		if addr.String() != want || (err == nil) != (want != "") {
			t.Errorf("parseAddr(%q) = %q, %v; want %q", text, addr, err, want)
		}
	}
}
