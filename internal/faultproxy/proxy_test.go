package faultproxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.WithShared(m)) }

// patience bounds every wait for what has to come.
const patience = 20 * time.Second

// silence is for how long a test listens for what must not come.
const silence = 50 * time.Millisecond

// line is a connection that speaks Redis's inline commands: one line, one answer.
type line struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *line {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &line{t, c, bufio.NewReader(c)}
}

func (l *line) send(command string) {
	l.t.Helper()
	if _, err := io.WriteString(l, command+"\r\n"); err != nil {
		l.t.Fatalf("send %s: %v", command, err)
	}
}

func (l *line) answer(within time.Duration) (string, error) {
	_ = l.SetReadDeadline(time.Now().Add(within))
	text, err := l.r.ReadString('\n')
	return strings.TrimRight(text, "\r\n"), err
}

func (l *line) wantAnswer(want string) {
	l.t.Helper()
	if got, err := l.answer(patience); err != nil || got != want {
		l.t.Fatalf("answer %q, %v; want %q", got, err, want)
	}
}

func (l *line) wantSilence() {
	l.t.Helper()
	if got, err := l.answer(silence); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatalf("answer %q, %v; want an open connection that says nothing", got, err)
	}
}

func (l *line) wantCut() {
	l.t.Helper()
	if got, err := l.answer(patience); !errors.Is(err, syscall.ECONNRESET) {
		l.t.Fatalf("answer %q, %v; want a connection that was reset", got, err)
	}
}

func wait(t *testing.T, what string, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatalf("%s did not happen within %v", what, patience)
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %v", what, patience)
		}
	}
}

func containing(text string) func([]byte) bool {
	return func(request []byte) bool { return bytes.Contains(request, []byte(text)) }
}

func TestPassesEverythingOn(t *testing.T) {
	server := redistest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	options := server.Options()
	options.Addr = proxy.Addr
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			value := bytes.Repeat([]byte{byte(i), '\r', '\n', 0}, 1<<18) // more than any buffer
			key := fmt.Sprint("passes-", i)
			if err := client.Set(t.Context(), key, value, time.Minute).Err(); err != nil {
				t.Errorf("SET through the proxy: %v", err)
			}
			if got, err := client.Get(t.Context(), key).Bytes(); err != nil || !bytes.Equal(got, value) {
				t.Errorf("GET through the proxy: %d bytes, %v; want the %d that were set", len(got), err, len(value))
			}
		})
	}
	wg.Wait()
}

func TestCountsConnections(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	a, b := dial(t, proxy.Addr), dial(t, proxy.Addr)
	for _, l := range []*line{a, b} {
		l.send("PING")
		l.wantAnswer("+PONG")
	}
	if proxy.Connections() != 2 || proxy.Accepted() != 2 {
		t.Fatalf("%d connections, %d accepted; want 2 and 2", proxy.Connections(), proxy.Accepted())
	}
	_ = a.Close()
	until(t, "the end of the closed connection", func() bool { return proxy.Connections() == 1 })
	server.Kill(t)
	if got, err := b.answer(patience); err != io.EOF {
		t.Fatalf("answer %q, %v; want the end that the server made", got, err)
	}
	if proxy.Accepted() != 2 {
		t.Fatalf("%d accepted, want 2", proxy.Accepted())
	}
}

func TestBlackhole(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	old := dial(t, proxy.Addr)
	old.send("PING")
	old.wantAnswer("+PONG")

	proxy.Blackhole(true)
	gone := dial(t, proxy.Addr)
	before := server.Commands(t)
	old.send("INCR n")
	old.wantSilence()
	young := dial(t, proxy.Addr)
	young.send("INCR n")
	young.wantSilence()
	_ = gone.Close()
	if spent := server.CommandsByName(t)["incr"]; spent != 0 {
		t.Fatalf("%d INCR reached the server through a black hole (%d commands before)", spent, before)
	}
	if got := connected(t, server); got != 2 { // ours is one, that of CLIENT LIST the other
		t.Fatalf("the server has %d connections, want 2: new ones do not reach it", got)
	}

	proxy.Blackhole(false)
	one, err := old.answer(patience)
	if err != nil {
		t.Fatalf("after the black hole: %v", err)
	}
	two, err := young.answer(patience)
	if err != nil {
		t.Fatalf("a connection made in the black hole, after it: %v", err)
	}
	if one+two != ":1:2" && one+two != ":2:1" {
		t.Fatalf("answers %q and %q, want :1 and :2", one, two)
	}
	until(t, "the end of the connection that was closed in the black hole", func() bool { return proxy.Connections() == 2 })
}

func connected(t *testing.T, server *redistest.Server) int {
	return strings.Count(server.Do(t, "CLIENT", "LIST").(string), "\n")
}

// A reply that is under way when the black hole begins does not come out of it either.
func TestBlackholeOfReplies(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	l := dial(t, proxy.Addr)
	l.send("BLPOP list 0")
	until(t, "the BLPOP", func() bool {
		return strings.Contains(server.Do(t, "INFO", "clients").(string), "blocked_clients:1\r\n")
	})
	proxy.Blackhole(true)
	server.Do(t, "RPUSH", "list", "x")
	l.wantSilence()
	proxy.Blackhole(false)
	l.wantAnswer("*2")
}

func TestCutAll(t *testing.T) {
	proxy := faultproxy.New(t, redistest.Shared(t).Addr)
	var all []*line
	for range 4 {
		l := dial(t, proxy.Addr)
		l.send("PING")
		l.wantAnswer("+PONG")
		all = append(all, l)
	}
	proxy.CutAll()
	for _, l := range all {
		l.wantCut()
	}
	until(t, "the end of all connections", func() bool { return proxy.Connections() == 0 })
	l := dial(t, proxy.Addr)
	l.send("PING")
	l.wantAnswer("+PONG")
}

// Cutting reaches connections through which nothing passes.
func TestCutAllInBlackhole(t *testing.T) {
	proxy := faultproxy.New(t, redistest.Shared(t).Addr)
	l := dial(t, proxy.Addr)
	l.send("PING")
	l.wantAnswer("+PONG")
	proxy.Blackhole(true)
	l.send("PING")
	l.wantSilence()
	proxy.CutAll()
	l.wantCut()
}

func TestRefuse(t *testing.T) {
	proxy := faultproxy.New(t, redistest.Shared(t).Addr)
	l := dial(t, proxy.Addr)
	l.send("PING")
	l.wantAnswer("+PONG")
	for range 3 {
		proxy.Refuse(true)
		proxy.Refuse(true)
		if _, err := net.DialTimeout("tcp", proxy.Addr, patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dialling: %v, want that the connection is refused", err)
		}
		l.send("PING") // the old connection lives on
		l.wantAnswer("+PONG")
		proxy.Refuse(false)
		proxy.Refuse(false)
		again := dial(t, proxy.Addr)
		again.send("PING")
		again.wantAnswer("+PONG")
	}
}

// Without a server behind it the proxy resets the connection.
func TestNoServer(t *testing.T) {
	server := redistest.Start(t)
	server.Kill(t)
	c, err := net.DialTimeout("tcp", faultproxy.New(t, server.Addr).Addr, patience)
	if err == nil { // the reset is not that fast
		defer func() { _ = c.Close() }()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("a connection without a server behind it: %v, want that it is reset", err)
	}
}

func TestDelay(t *testing.T) {
	proxy := faultproxy.New(t, redistest.Shared(t).Addr)
	l := dial(t, proxy.Addr)
	const delay = 30 * time.Millisecond
	proxy.Delay(delay)
	begin := time.Now()
	l.send("PING")
	l.wantAnswer("+PONG")
	if took := time.Since(begin); took < 2*delay {
		t.Fatalf("a round trip took %v with a delay of %v in each direction", took, delay)
	}
	proxy.Delay(time.Hour)
	l.send("PING")
	l.wantSilence()
	proxy.Delay(0) // reaches what is being held
	l.wantAnswer("+PONG")
}

func TestDropReplyTo(t *testing.T) {
	server := redistest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	key := redistest.Prefix(t) + "n"
	dropped := proxy.DropReplyTo(containing(key))
	l, other := dial(t, proxy.Addr), dial(t, proxy.Addr)
	l.send("PING")
	l.wantAnswer("+PONG")
	select {
	case <-dropped:
		t.Fatal("the reply to another request was dropped")
	default:
	}
	l.send("INCR " + key)
	l.wantCut()
	wait(t, "the loss", dropped)
	if got := server.Do(t, "GET", key); got != "1" {
		t.Fatalf("the counter is %v, want that the command was carried out once", got)
	}
	other.send("INCR " + key) // only once, and on one connection
	other.wantAnswer(":2")
}

func TestLoseReplyTo(t *testing.T) {
	server := redistest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	key := redistest.Prefix(t) + "n"
	first, second := proxy.LoseReplyTo(containing(key)), proxy.LoseReplyTo(containing(key))
	a, b, c := dial(t, proxy.Addr), dial(t, proxy.Addr), dial(t, proxy.Addr)
	a.send("INCR " + key)
	wait(t, "the first loss", first)
	b.send("INCR " + key)
	wait(t, "the second loss", second)
	if got := server.Do(t, "GET", key); got != "2" {
		t.Fatalf("the counter is %v, want that both commands were carried out", got)
	}
	a.send("INCR " + key)
	a.wantSilence()
	c.send("INCR " + key)
	c.wantAnswer(":3") // and not 4: nothing passes on the silent ones
	proxy.CutAll()
	a.wantCut()
	b.wantCut()
}

func TestRewrite(t *testing.T) {
	server := redistest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	proxy.Rewrite([]byte("horse"), []byte("mouse"))
	proxy.Rewrite([]byte("ouse"), []byte("????")) // not in what was put in
	proxy.Rewrite([]byte("\n:7"), []byte("\n:8"))
	l := dial(t, proxy.Addr)
	l.send(`ECHO "a horse, a house, horse"`)
	l.wantAnswer("$23")
	l.wantAnswer("a mouse, a h????, mouse")
	l.send(`ECHO "it ends in hor"`) // which is passed on though more might come
	l.wantAnswer("$14")
	l.wantAnswer("it ends in hor")
	for i := range 20 { // somewhere in here an old one straddles the proxy's 64 KiB
		n := 1<<16 - 40 + i
		server.Do(t, "SET", "rewrite-key", strings.Repeat(".", n)+strings.Repeat("horse", 10))
		l.send("GET rewrite-key")
		l.wantAnswer(fmt.Sprint("$", n+50))
		if got, err := l.answer(patience); err != nil || got[n:] != strings.Repeat("mouse", 10) {
			t.Fatalf("%d dots: %q, %v; want ten mice", n, got[max(0, n-2):], err)
		}
	}
}

// What the server sends in two parts is put together.
func TestRewriteAcrossReads(t *testing.T) {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = upstream.Close() }()
	proxy := faultproxy.New(t, upstream.Addr().String())
	proxy.Rewrite([]byte("abcdef"), []byte("ABCDEF"))
	l := dial(t, proxy.Addr)
	c, err := upstream.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	text := make([]byte, 0, 16)
	for _, part := range []string{"xab", "c", "de", "f ab", "cx"} {
		_, _ = io.WriteString(c, part)
		if part == "xab" {
			// The rest is sent when the beginning is known to have been read.
			one := make([]byte, 1)
			_ = l.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.ReadFull(l.r, one); err != nil {
				t.Fatal(err)
			}
			text = append(text, one...)
		}
	}
	_ = c.Close()
	rest, err := io.ReadAll(l.r)
	if text = append(text, rest...); err != nil || string(text) != "xABCDEF abcx" {
		t.Fatalf("%q, %v; want xABCDEF abcx", text, err)
	}
}

func TestSeesRequests(t *testing.T) {
	proxy := faultproxy.New(t, redistest.Shared(t).Addr)
	hold, seen := make(chan struct{}), make(chan string, 10)
	proxy.OnRequest(func(request []byte) {
		seen <- string(request)
		<-hold
	})
	l := dial(t, proxy.Addr)
	l.send("PING first")
	if got := <-seen; got != "PING first\r\n" {
		t.Fatalf("OnRequest got %q", got)
	}
	l.wantSilence() // until the function returns
	close(hold)
	l.wantAnswer("$5")
	l.wantAnswer("first")
	proxy.OnRequest(nil)
	l.send("PING")
	l.wantAnswer("+PONG")
	got := proxy.Requests()
	if len(got) != 2 || string(got[0]) != "PING first\r\n" || string(got[1]) != "PING\r\n" {
		t.Fatalf("Requests() is %q", got)
	}
	if len(seen) != 0 {
		t.Fatalf("OnRequest(nil) did not end it: %q", <-seen)
	}
}

// A client that does not read must not keep the test from changing rules.
func TestClientThatDoesNotRead(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	server.Do(t, "SET", "big", strings.Repeat("x", 16<<20))
	l := dial(t, proxy.Addr)
	_ = l.Conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	l.send("GET big")
	if _, err := l.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		// For long enough that the buffers of the network are full in the end.
		for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
			proxy.Delay(0)
		}
		close(done)
	}()
	wait(t, "the change of rules", done)
	_ = l.Conn.(*net.TCPConn).SetReadBuffer(4 << 20)
	l.wantAnswer(fmt.Sprint("$", 16<<20))
	if got, err := l.answer(patience); err != nil || len(got) != 16<<20 {
		t.Fatalf("%d bytes, %v; want all %d", len(got), err, 16<<20)
	}
}

func TestStrayRequest(t *testing.T) {
	server := redistest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	key := redistest.Prefix(t) + "n"
	caught, deliver := proxy.StrayRequest(containing(key))
	l, other := dial(t, proxy.Addr), dial(t, proxy.Addr)
	l.send("PING")
	l.wantAnswer("+PONG")
	l.send("INCR " + key)
	l.wantCut()
	wait(t, "the request goes astray", caught)
	if got := server.Do(t, "GET", key); got != nil {
		t.Fatalf("the counter is %v, want that the command has not been carried out", got)
	}
	other.send("INCR " + key) // only one request, and on one connection
	other.wantAnswer(":1")
	deliver()
	if got := server.Do(t, "GET", key); got != "2" {
		t.Fatalf("the counter is %v, want that the command has been carried out now", got)
	}
}
