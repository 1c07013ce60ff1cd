package memcachedio

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

// What is written is what is read, and each write has its own outcome.
func TestWriteAll(t *testing.T) {
	c, err := New(Config{Servers: memcachedtest.Addrs(memcachedtest.Shared(t, 3)), Prefix: rand.Text(), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names := make([]Name, 3000) // some are more than the kernel takes at once
	for i := range names {
		p := c.Place("", fmt.Sprint(i))
		names[i] = p.Name(Stamp)
	}
	run := func(writes []Write, want func(i int) Outcome) {
		t.Helper()
		outcomes, err := WriteAll(t.Context(), writes)
		if err != nil || len(outcomes) != len(writes) {
			t.Fatalf("WriteAll = %d outcomes, %v", len(outcomes), err)
		}
		for i, outcome := range outcomes {
			if outcome != want(i) {
				t.Fatalf("%s %d: %v, want %v", writes[i].Verb, i, outcome, want(i))
			}
		}
	}
	write := func(verb Verb, text string) []Write {
		writes := make([]Write, len(names))
		for i, name := range names {
			writes[i] = Write{Verb: verb, Name: name, Flags: 1<<32 - 1, Value: fmt.Append(nil, text, i)}
		}
		return writes
	}
	run(nil, nil)
	run(write(Add, "a")[:1], func(int) Outcome { return Done })
	run(write(Add, "b"), func(i int) Outcome { return map[bool]Outcome{true: Changed, false: Done}[i == 0] })
	run(write(Set, "STORED\r\nset "), func(int) Outcome { return Done })
	items, err := Read(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	swaps := write(CAS, "")
	for i, item := range items {
		if item == nil || string(item.Value) != fmt.Sprint("STORED\r\nset ", i) || item.Flags != 1<<32-1 {
			t.Fatalf("item %d is %v", i, item)
		}
		swaps[i].CasID = item.CasID
		switch i % 3 {
		case 1:
			swaps[i].CasID++
		case 2:
			swaps[i].Name.Text += "x"
		}
	}
	run(swaps, func(i int) Outcome { return []Outcome{Done, Changed, Absent}[i%3] })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, writes := range [][]Write{swaps[:1], swaps} {
		if _, err := WriteAll(ctx, writes); !errors.Is(err, context.Canceled) {
			t.Errorf("WriteAll of %d with a ctx that has ended = %v, want its error", len(writes), err)
		}
	}
}

// A server that reads on only when its answers are read, as they fill all there is to
// keep them, does not hold up what is written.
func TestWritesToAServerThatIsFull(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
		in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
		for {
			for range 2 { // a line and its data
				if _, err := in.ReadSlice('\n'); err != nil {
					return
				}
			}
			_, err := io.WriteString(out, "NOT_STORED\r\n")
			if err == nil && in.Buffered() == 0 {
				err = out.Flush()
			}
			if err != nil {
				return
			}
		}
	})
	c, err := New(Config{Servers: []string{l.Addr().String()}, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		c.Close()
		_ = l.Close()
		serving.Wait()
	}()
	writes := make([]Write, 100_000)
	for i := range writes {
		writes[i] = Write{Verb: Add, Name: Name{c.Servers()[0], "name"}, Value: make([]byte, 100)}
	}
	outcomes, err := WriteAll(t.Context(), writes)
	if err != nil || len(outcomes) != len(writes) || outcomes[99_999] != Changed {
		t.Errorf("WriteAll = %d outcomes, %v", len(outcomes), err)
	}
}

// What a server answers to writes is taken for what it is, or for an error.
func TestOutcomesThatLie(t *testing.T) {
	for answer, want := range map[string]string{
		// Each is sent for each of the four lines of two writes.
		"STORED\r\nSTORED\r\nSTORED\r\n":                "more than it was asked for",
		"SERVER_ERROR out of memory storing object\r\n": "out of memory",
		"ERROR\r\n":               "ERROR",
		"STORED\n":                "STORED",
		"\r\n":                    "answer",
		"":                        "timeout",
		"STOR":                    "timeout",
		strings.Repeat("x", 5000): "full",
	} {
		s := liar(t, answer)
		writes := []Write{
			{Verb: Set, Name: Name{s, "a"}, Value: []byte("x")},
			{Verb: Set, Name: Name{s, "b"}, Value: []byte("x")},
		}
		began := time.Now()
		outcomes, err := WriteAll(t.Context(), writes)
		if err == nil || outcomes != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, %v; want an error that says %q", answer, outcomes, err, want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%.60q took %v", answer, took)
		}
	}
}

// Writes whose callers leave, at all times, harm nobody else's.
func TestWritesThatAreGivenUp(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	c, err := New(Config{Servers: []string{server.Addr}, PoolSize: 4, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.Servers()[0]
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if worker%2 == 0 {
					time.AfterFunc(time.Duration(i)*5*time.Microsecond, cancel)
				}
				writes := make([]Write, 1+i)
				for j := range writes {
					writes[j] = Write{Verb: Set, Name: Name{s, fmt.Sprint("given-up-", worker, "-", j)}, Value: fmt.Append(nil, i)}
				}
				outcomes, err := WriteAll(ctx, writes)
				cancel()
				if worker%2 == 0 && err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("WriteAll = %v, want outcomes, or the end of its own ctx", err)
					}
					continue
				}
				if err != nil || len(outcomes) != len(writes) {
					t.Errorf("WriteAll = %d outcomes, %v", len(outcomes), err)
					continue
				}
				if worker%2 == 0 {
					continue // what it has given up before may still come
				}
				items, err := s.Get(context.Background(), writes[0].Name.Text, writes[i].Name.Text)
				if err != nil || items[0] == nil || string(items[0].Value) != fmt.Sprint(i) {
					t.Errorf("after WriteAll there are %v, %v", items, err)
				}
			}
		})
	}
	all.Wait()
	if s.breaker.isOpen() {
		t.Error("callers who left made the server count as down")
	}
}
