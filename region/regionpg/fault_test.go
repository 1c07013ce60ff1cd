package regionpg_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/region/regionpg"
	"github.com/dogpile-go/dogpile/region/regionpg/internal/pgtest"
)

// terminate ends the connections that listen on the channel of the test.
func terminate(t *testing.T, server *pgtest.Server) (ended int) {
	t.Helper()
	return server.Int(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = $1",
		"LISTEN "+pgx.Identifier{channel(t)}.Sanitize())
}

func TestFaultTerminatedBackend(t *testing.T) {
	server := pgtest.Shared(t)
	source := listen(t, regionpg.Config{URL: server.URL()})
	for i := range 2 {
		if n := terminate(t, server); n != 1 {
			t.Fatalf("%d connections listen, want 1", n)
		}
		wantNext(t, source, everything)
		payload, want := numbered(i)
		notify(t, server, payload)
		wantNext(t, source, want)
	}
}

// Whatever is lost, an invalidation of everything is told after it.
func TestFaultNothingIsLostUntold(t *testing.T) {
	const last, wantLosses = 3000, 3
	server := pgtest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	source := listen(t, regionpg.Config{URL: server.URLAt(proxy.Addr)})
	conn := server.Conn(t)
	var losses atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		say := func(payload string) {
			if _, err := conn.Exec(context.Background(), "SELECT pg_notify($1, $2)", channel(t), payload); err != nil {
				t.Errorf("pg_notify: %v", err)
			}
		}
		for i := 1; i <= last || losses.Load() < wantLosses; i++ {
			payload, _ := numbered(i)
			say(payload)
		}
		say(`{"tags":["end"]}`) // all losses have been told, so this is heard
	}()
	heard, covered, sinceLoss := 0, false, 0
	for {
		n := next(t, source)
		if n.All {
			covered = true // all that was said before
			losses.Add(1)
			sinceLoss = 0
			continue
		}
		if n.Tags != nil {
			break
		}
		i, err := strconv.Atoi(n.Keys[0])
		if err != nil || i <= heard {
			t.Fatalf("notice %q after %d, want a later one", n.Keys[0], heard)
		}
		if i != heard+1 && !covered {
			t.Fatalf("notice %d after %d, and nothing told that those between are lost", i, heard)
		}
		heard, covered = i, false
		if sinceLoss++; sinceLoss == 50 && losses.Load() < wantLosses {
			proxy.CutAll()
		}
	}
	<-ended // before conn is closed
	if heard < last && !covered {
		t.Fatalf("%d was the last of at least %d, and nothing told that the others are lost", heard, last)
	}
}

// awaitAttempts sets cfg.BeforeConnect. The function that it returns waits until there
// have been n more attempts to connect.
func awaitAttempts(t *testing.T, cfg *regionpg.Config) (await func(n int)) {
	attempts := make(chan struct{}, 1000)
	cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { attempts <- struct{}{}; return nil }
	return func(n int) {
		t.Helper()
		for i := range n {
			select {
			case <-attempts:
			case <-time.After(patience):
				t.Fatalf("%d attempts to connect within %v, want %d", i, patience, n)
			}
		}
	}
}

func TestFaultServerRestarts(t *testing.T) {
	server := pgtest.Start(t)
	log := newLogbook()
	cfg := regionpg.Config{URL: server.URL(), Logger: log.logger()}
	await := awaitAttempts(t, &cfg)
	source := listen(t, cfg)
	await(1)
	server.Stop(t)
	await(5)
	log.await(t, "connection refused", 1)
	if n := strings.Count(log.String(), "connection refused"); n > 1 {
		t.Errorf("the log says %d times that the connection was refused, want it once:\n%s", n, log)
	}
	server.Restart(t)
	wantNext(t, source, everything)
	log.await(t, logBack, 1)
	payload, want := numbered(1)
	notify(t, server, payload)
	wantNext(t, source, want)
	if text := log.String(); strings.Contains(text, server.Password) {
		t.Errorf("the log has the password in it:\n%s", text)
	}
}

// Close does not wait until it is time for another attempt.
func TestFaultClosedWhileAway(t *testing.T) {
	server := pgtest.Shared(t)
	log := newLogbook()
	attempts := 0
	source := listen(t, regionpg.Config{
		URL: server.URL(), Logger: log.logger(),
		BeforeConnect: func(context.Context, *pgx.ConnConfig) error {
			if attempts++; attempts == 1 {
				return nil
			}
			return fmt.Errorf("refused for the %d. time", attempts-1)
		},
	})
	terminate(t, server)
	log.await(t, "refused for the 7. time", 1) // the next attempt is 5 to 10 seconds away
	begin := time.Now()
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("Close took %v, want that it does not wait for the next attempt", took)
	}
	if n, ok := <-source.Notices(); ok {
		t.Fatalf("after Close there is the notice %+v, want a closed channel", n)
	}
}

// A network that swallows everything is noticed, though no connection breaks.
func TestFaultHalfOpen(t *testing.T) {
	server := pgtest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	log := newLogbook()
	source := listen(t, regionpg.Config{
		URL: server.URLAt(proxy.Addr), Logger: log.logger(),
		Keepalive: 50 * time.Millisecond, Timeout: time.Second,
	})
	proxy.Blackhole(true)
	begin := time.Now()
	lost, _ := numbered(1)
	notify(t, server, lost)
	log.await(t, logLost, 1)
	if took := time.Since(begin); took > 12*time.Second {
		t.Errorf("the loss was noticed after %v, want about a second: nobody waits for the end that pgx makes of it, which takes 15", took)
	}
	log.await(t, logNotYet, 1)
	proxy.Blackhole(false)
	wantNext(t, source, everything)
	payload, want := numbered(2)
	notify(t, server, payload)
	wantNext(t, source, want)
}

const question = "pg_listening_channels"

func containing(text string) func([]byte) bool {
	return func(request []byte) bool { return bytes.Contains(request, []byte(text)) }
}

// A connection that is well is asked, and kept.
func TestKeepalive(t *testing.T) {
	server := pgtest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	asked := make(chan struct{}, 1000)
	proxy.OnRequest(func(request []byte) {
		if containing(question)(request) {
			asked <- struct{}{}
		}
	})
	source := listen(t, regionpg.Config{URL: server.URLAt(proxy.Addr), Keepalive: time.Millisecond})
	for range 10 {
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatalf("the server is not asked within %v", patience)
		}
	}
	payload, want := numbered(1)
	notify(t, server, payload)
	wantNext(t, source, want)
	if n := proxy.Accepted(); n != 1 {
		t.Fatalf("%d connections were made, want 1 that is kept", n)
	}
}

// What is notified while the server is asked is not lost, and its order is kept.
func TestNotifiedWhileAsked(t *testing.T) {
	server := pgtest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	conn := server.Conn(t)
	notifies := make(chan string, 10)
	proxy.OnRequest(func(request []byte) {
		if !containing(question)(request) {
			return
		}
		select {
		case payload := <-notifies: // the server hears of it before the question
			if _, err := conn.Exec(context.Background(), "SELECT pg_notify($1, $2)", channel(t), payload); err != nil {
				t.Errorf("pg_notify: %v", err)
			}
		default:
		}
	})
	source := listen(t, regionpg.Config{URL: server.URLAt(proxy.Addr), Keepalive: time.Millisecond})
	for i := range 10 {
		payload, _ := numbered(i)
		notifies <- payload
	}
	for i := range 10 {
		_, want := numbered(i)
		wantNext(t, source, want)
	}
}

// A connection that answers and does not listen, as behind a pool in the wrong mode.
func TestFaultDeafConnection(t *testing.T) {
	server := pgtest.Shared(t)
	log := newLogbook()
	name := channel(t)
	var deaf atomic.Bool
	deaf.Store(true)
	source := listen(t, regionpg.Config{
		URL: server.URL(), Logger: log.logger(), Keepalive: 20 * time.Millisecond,
		BeforeConnect: func(_ context.Context, config *pgx.ConnConfig) error {
			dial := config.DialFunc
			config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				if err == nil && deaf.Swap(false) {
					conn = &mishearing{Conn: conn, old: `LISTEN "` + name, new: `LISTEN "x` + name[1:]}
				}
				return conn, err
			}
			return nil
		},
	})
	wantNext(t, source, everything)
	log.await(t, "does not listen any more", 1)
	payload, want := numbered(1)
	notify(t, server, payload)
	wantNext(t, source, want)
}

// mishearing is a connection that sends something else than it is told.
type mishearing struct {
	net.Conn
	old, new string
}

func (m *mishearing) Write(b []byte) (int, error) {
	return m.Conn.Write(bytes.ReplaceAll(b, []byte(m.old), []byte(m.new)))
}

// Whoever takes late gets everything in order, and does not hold up those who write.
func TestSlowConsumer(t *testing.T) {
	const count = 3000 // of 7 kB each: more than sockets hold
	server := pgtest.Shared(t)
	source := listen(t, regionpg.Config{URL: server.URL(), Keepalive: 10 * time.Millisecond})
	server.Exec(t, `SELECT pg_notify($1, '{"keys":["' || i || '"],"tags":["' || repeat('x', 7000) || '"]}') FROM generate_series(1, $2) AS i`, channel(t), count)
	for i := 1; i <= count; i++ {
		n := next(t, source)
		if len(n.Keys) != 1 || n.Keys[0] != fmt.Sprint(i) || len(n.Tags) != 1 || len(n.Tags[0]) != 7000 {
			t.Fatalf("notice %d is %.100s, want the one of key %d", i, fmt.Sprint(n), i)
		}
	}
}

// A connection that breaks again and again does not empty the cache all the time.
func TestFaultFlapping(t *testing.T) {
	server := pgtest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	source := listen(t, regionpg.Config{URL: server.URLAt(proxy.Addr)})
	begin := time.Now()
	for range 5 {
		proxy.CutAll()
		wantNext(t, source, everything)
	}
	if took := time.Since(begin); took < 1500*time.Millisecond {
		t.Fatalf("five losses took %v, want at least 50, 100, 200, 400 and 800 ms of waiting", took)
	}
}
