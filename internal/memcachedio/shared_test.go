package memcachedio

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// What is remembered of the locks of others is bounded, and forgotten with them.
func TestStrangersAreBounded(t *testing.T) {
	s := strangers{after: time.Hour}
	for i := range 3 * mostStrangers {
		if s.dead(fmt.Sprint(i), &memcache.Item{CasID: 1}) {
			t.Fatal("a lock that was just seen is taken for dead")
		}
	}
	if n := len(s.known); n != mostStrangers {
		t.Errorf("%d locks are remembered, want %d", n, mostStrangers)
	}
	for name := range s.known {
		s.dead(name, nil)
	}
	if n := len(s.known); n != 0 {
		t.Errorf("%d locks are remembered that are gone", n)
	}
	s.dead("k", &memcache.Item{CasID: 1})
	s.dead("k", &memcache.Item{Flags: numberFlags, Value: []byte(newNumber())})
	if n := len(s.known); n != 0 {
		t.Error("a lock of this library is remembered")
	}
}

func TestNumbers(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token := newNumber()
		item := &memcache.Item{Flags: numberFlags, Value: []byte(token)}
		if TokenOf(item) != token || seen[token] {
			t.Fatalf("the token %q reads as %q, or is not new", token, TokenOf(item))
		}
		seen[token] = true
	}
}

func TestTime(t *testing.T) {
	c, err := New(Config{Servers: memcachedtest.Addrs(memcachedtest.Shared(t, 1))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 { // the connection is good for more than one
		now, err := c.servers[0].Time(t.Context())
		if off := time.Now().Unix() - now; err != nil || off < -2 || off > 2 {
			t.Errorf("Time = %d, %v; it is off by %d seconds", now, err, off)
		}
	}
}

// A server that does not tell its time, or lies, is an error.
func TestTimeHostile(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer func() { _ = listener.Close() }()
	answers := []string{
		"ERROR\r\n", "END\r\n", "STAT time x\r\nEND\r\n", "STAT time 5\r\nEND\r\n", "STAT time -9\r\nEND\r\n",
		"STAT time 99999999999\r\nEND\r\n", "STAT time 1700000000\r\nEND\r\nEND\r\n", "STAT time 1700000000\r\n",
		strings.Repeat("STAT x 1\r\n", mostStats+1) + "END\r\n", strings.Repeat("x", 10000) + "\r\n",
	}
	serving.Go(func() {
		for i := 0; ; {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			if _, err := in.ReadString('\n'); err == nil {
				_, _ = conn.Write([]byte(answers[i%len(answers)]))
				i++
			}
			_, _ = in.ReadString('\n') // until the other side ends it
			_ = conn.Close()
		}
	})
	for i := range answers {
		c, err := New(Config{Servers: []string{listener.Addr().String()}, Timeout: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if now, err := c.servers[0].Time(t.Context()); err == nil {
			t.Errorf("Time of the answer %.40q = %d, want an error", answers[i], now)
		}
		c.Close()
	}
}
