package memcachedio

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// liar is a server that answers every line with the same text. No real server says what
// the tests want to hear from it.
func liar(t *testing.T, answer string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					if _, err := in.ReadString('\n'); err != nil {
						return
					}
					_, _ = io.WriteString(c, answer)
				}
			})
		}
	})
	c, err := New(Config{Servers: []string{l.Addr().String()}, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		_ = l.Close()
		all.Wait()
	})
	return c.Servers()[0]
}

// What a server answers cannot make a read return another item, or more than was asked
// for, or set aside what does not come.
func TestAnswersThatLie(t *testing.T) {
	for answer, want := range map[string]string{
		"VALUE b 1 1 7\r\nx\r\nEND\r\n":                       "", // a is not there
		"VALUE a 1 1 7\r\nx\r\nVALUE b 1 1 8\r\ny\r\nEND\r\n": "",
		"END\r\n":                       "",
		"VALUE c 1 1 7\r\nx\r\nEND\r\n": "not asked for",
		"VALUE b 1 1 7\r\nx\r\nVALUE a 1 1 7\r\nx\r\nEND\r\n": "not asked for",
		"VALUE a 1 1 7\r\nx\r\nVALUE a 1 1 7\r\nx\r\nEND\r\n": "not asked for",
		"VALUE a 1 4294967295 7\r\nx\r\nEND\r\n":              "at most",
		"VALUE a 1 18446744073709551615 7\r\nx\r\nEND\r\n":    "at most",
		"VALUE a 1 99999999999999999999999 7\r\nx\r\nEND\r\n": "number",
		"VALUE a 4294967296 1 7\r\nx\r\nEND\r\n":              "at most",
		"VALUE a 1 -1 7\r\nx\r\nEND\r\n":                      "number",
		"VALUE a 1 1\r\nx\r\nEND\r\n":                         "number",
		"VALUE a 1 1 0\r\nx\r\nEND\r\n":                       "without CAS",
		"VALUE a 1 1 7\r\nxyzEND\r\n":                         "does not end",
		"VALUE a 1 100 7\r\nx\r\n":                            "timeout",
		"SERVER_ERROR out of memory\r\n":                      "out of memory",
		"HTTP/1.1 400 Bad Request\r\n":                        "400",
		"\r\n":                                                "answer",
		strings.Repeat("x", 1<<16):                            "full",
	} {
		s := liar(t, answer)
		began := time.Now()
		items, err := s.Get(t.Context(), "a", "b")
		if want == "" && (err != nil || len(items) != 2) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60q: %v, %v; want an error that says %q", answer, items, err, want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%.60q took %v", answer, took)
		}
		for i, item := range items {
			if item != nil && item.Key != []string{"a", "b"}[i] {
				t.Errorf("%.60q: item %d is %v", answer, i, item)
			}
		}
	}
}

// Reads whose callers leave, at all times, harm nobody else's.
func TestReadsThatAreGivenUp(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	c, err := New(Config{Servers: []string{server.Addr}, PoolSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.Servers()[0]
	texts := make([]string, 200)
	for i := range texts {
		texts[i] = fmt.Sprint("given-up-", i)
		if outcome, err := s.Add(t.Context(), &memcache.Item{Key: texts[i], Value: []byte(texts[i])}); err != nil || outcome != Done {
			t.Fatal(outcome, err)
		}
	}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				if worker%2 == 0 {
					time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
				}
				some := texts[i%100 : i%100+1+i%100]
				items, err := s.Get(ctx, some...)
				cancel()
				if err != nil {
					if worker%2 != 0 || !errors.Is(err, context.Canceled) {
						t.Errorf("Get = %v, want the items, or the end of its own ctx", err)
					}
					continue
				}
				for j, item := range items {
					if item == nil || string(item.Value) != some[j] {
						t.Errorf("item %s is %v", some[j], item)
					}
				}
			}
		})
	}
	all.Wait()
	if s.breaker.isOpen() {
		t.Error("callers who left made the server count as down")
	}
}

// Nothing is remembered of keys that are not in use.
func TestNothingIsRemembered(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	c, err := New(Config{Servers: []string{server.Addr}, Prefix: "forgotten", Closed: errors.New("closed")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := NewLeases(c, 10*time.Second)
	defer l.Close()
	for i := range 500 {
		p := c.Place("", fmt.Sprint(i))
		name := p.Name(Mutex)
		held, err := l.Take(t.Context(), "k", name)
		if err != nil || held == nil {
			t.Fatal(held, err)
		}
		if again, err := l.Take(t.Context(), "k", name); again != nil || err != nil {
			t.Fatalf("a lease that is held was taken: %v, %v", again, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_ = l.Wait(ctx, []Place{p}, Mutex)
		cancel()
		if err := held.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.byToken); n != 0 {
		t.Errorf("%d leases are remembered that nobody holds", n)
	}
}
