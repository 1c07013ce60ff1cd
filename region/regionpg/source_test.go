package regionpg_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/region"
	"github.com/dogpile-go/dogpile/region/regionpg"
	"github.com/dogpile-go/dogpile/region/regionpg/internal/pgtest"
)

func TestNotice(t *testing.T) {
	server := pgtest.Shared(t)
	source := listen(t, regionpg.Config{URL: server.URL()})
	notify(t, server, `{"region":"users","mode":"soft","all":true,"tags":["table:users","user:42"],"keys":["a","b\n☃"]}`)
	wantNext(t, source, region.Notice{
		Region: "users", Mode: region.Soft, All: true,
		Tags: []string{"table:users", "user:42"}, Keys: []string{"a", "b\n☃"},
	})
}

func TestOrder(t *testing.T) {
	server := pgtest.Shared(t)
	source := listen(t, regionpg.Config{URL: server.URL()})
	server.Exec(t, `SELECT pg_notify($1, '{"keys":["' || i || '"]}') FROM generate_series(1, 1000) AS i`, channel(t))
	for i := 1; i <= 1000; i++ {
		_, want := numbered(i)
		wantNext(t, source, want)
	}
}

func TestRollbackIsNotHeard(t *testing.T) {
	server := pgtest.Shared(t)
	source := listen(t, regionpg.Config{URL: server.URL()})
	undone, _ := numbered(1)
	done, want := numbered(2)
	server.Exec(t, fmt.Sprintf("BEGIN; NOTIFY %q, '%s'; ROLLBACK; NOTIFY %[1]q, '%[3]s'", channel(t), undone, done))
	wantNext(t, source, want)
}

func TestUndecodablePayload(t *testing.T) {
	server := pgtest.Shared(t)
	log := newLogbook()
	source := listen(t, regionpg.Config{URL: server.URL(), Logger: log.logger()})
	bad := []string{"", "users", `{"regoin":"users","all":true}`, `{"tags":"users"}`, strings.Repeat("☃", 2600)}
	for i, payload := range bad {
		notify(t, server, payload)
		wantNext(t, source, everything)
		log.await(t, logBadText, i+1)
	}
	good, want := numbered(1)
	notify(t, server, good)
	wantNext(t, source, want)
	if text := log.String(); len(text) > 3000 || !strings.Contains(text, "regoin") {
		t.Errorf("the log has %d bytes, want that it shows payloads, but not at full length:\n%s", len(text), text)
	}
}

func TestDecode(t *testing.T) {
	server := pgtest.Shared(t)
	log := newLogbook()
	source := listen(t, regionpg.Config{URL: server.URL(), Logger: log.logger(), Decode: func(payload string) (region.Notice, error) {
		switch payload {
		case "panic":
			panic("no such thing")
		case "error":
			return region.Notice{Keys: []string{"not this"}}, errors.New("cannot be decoded")
		}
		return region.Notice{Region: payload}, nil
	}})
	notify(t, server, "posts")
	wantNext(t, source, region.Notice{Region: "posts"})
	notify(t, server, "error")
	wantNext(t, source, everything)
	notify(t, server, "panic")
	wantNext(t, source, everything)
	notify(t, server, "users")
	wantNext(t, source, region.Notice{Region: "users"})
	log.await(t, "no such thing", 1)
}

func TestChannelNames(t *testing.T) {
	server := pgtest.Shared(t)
	server.Exec(t, "CREATE TABLE victim ()")
	for i, name := range []string{
		`x"; DROP TABLE victim; --`, `"`, `'`, `''; DROP TABLE victim; --`, ` `, "a\nb\\", `$1`, "*", "Users", "ünï☃",
		strings.Repeat("n", 63), "select", ".", `a"."b`,
	} {
		source := listen(t, regionpg.Config{URL: server.URL(), Channel: name})
		payload, want := numbered(i)
		if name == "Users" {
			server.Exec(t, "SELECT pg_notify('users', '')") // another channel
		}
		server.Exec(t, "SELECT pg_notify($1, $2)", name, payload)
		wantNext(t, source, want)
		_ = source.Close()
	}
	server.Int(t, "SELECT count(*) FROM victim")
}

func TestInvalidateAtStart(t *testing.T) {
	server := pgtest.Shared(t)
	for _, at := range []bool{true, false} {
		source := listen(t, regionpg.Config{URL: server.URL(), InvalidateAtStart: at})
		payload, want := numbered(1)
		notify(t, server, payload)
		if at {
			wantNext(t, source, everything)
		}
		wantNext(t, source, want)
		_ = source.Close()
	}
}

func TestBeforeConnect(t *testing.T) {
	server := pgtest.Start(t)
	password := server.Password
	calls := make(chan string, 100)
	source := listen(t, regionpg.Config{
		URL: strings.Replace(server.URL(), password, "outdated", 1),
		BeforeConnect: func(_ context.Context, c *pgx.ConnConfig) error {
			calls <- c.Password
			c.Password = password
			c.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {} // means nothing here
			return nil
		},
	})
	server.Restart(t)
	wantNext(t, source, everything)
	payload, want := numbered(1)
	notify(t, server, payload)
	wantNext(t, source, want)
	_ = source.Close()
	close(calls)
	n := 0
	for had := range calls {
		if n++; had != "outdated" {
			t.Errorf("BeforeConnect is given the password %q, want that of the URL each time", had)
		}
	}
	if n < 2 {
		t.Errorf("BeforeConnect was called %d times, want it before each of two connections", n)
	}
	unknown := errors.New("the vault is sealed")
	_, err := regionpg.Listen(t.Context(), regionpg.Config{
		URL: server.URL(), Channel: "x", BeforeConnect: func(context.Context, *pgx.ConnConfig) error { return unknown },
	})
	if !errors.Is(err, unknown) || errors.Is(err, regionpg.ErrConfig) {
		t.Errorf("Listen: %v, want the error of BeforeConnect", err)
	}
}

func TestListenFails(t *testing.T) {
	server := pgtest.Start(t)
	wrong := strings.Replace(server.URL(), server.Password, "WRONGPASSWORD", 1)
	_, err := regionpg.Listen(t.Context(), regionpg.Config{URL: wrong, Channel: "x"})
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("Listen with a wrong password: %v, want what the server says", err)
	}
	wantNoPassword(t, err, "WRONGPASSWORD")
	_, err = regionpg.Listen(t.Context(), regionpg.Config{URL: server.URL() + "&default_transaction_isolation=nonsense", Channel: "x"})
	wantNoPassword(t, err, server.Password)

	server.Stop(t)
	for _, url := range []string{server.URL(), "host=127.0.0.1 port=" + server.Addr[len("127.0.0.1:"):] + " password=" + server.Password} {
		_, err = regionpg.Listen(t.Context(), regionpg.Config{URL: url, Channel: "x"})
		wantNoPassword(t, err, server.Password)
	}
	wantNothingLeft(t)
}

// wantNoPassword looks into all that err wraps.
func wantNoPassword(t *testing.T, err error, password string) {
	t.Helper()
	if err == nil || errors.Is(err, regionpg.ErrConfig) {
		t.Errorf("Listen: %v, want an error that the configuration is not to blame for", err)
		return
	}
	var carries *pgconn.ConnectError
	if errors.As(err, &carries) {
		t.Errorf("Listen: %v, want that it does not carry the configuration of pgx", err)
	}
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, password) {
		t.Errorf("the error has the password in it: %s", text)
	}
}

// A database that does not answer is given up when ctx ends, or after Timeout.
func TestListenIsBounded(t *testing.T) {
	server := pgtest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	proxy.Blackhole(true)
	cfg := regionpg.Config{URL: server.URLAt(proxy.Addr), Channel: "x", Timeout: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := regionpg.Listen(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v, want context.Canceled", err)
	}
	cfg.Timeout = 20 * time.Millisecond
	if _, err := regionpg.Listen(t.Context(), cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen: %v, want context.DeadlineExceeded", err)
	}
	wantNothingLeft(t)
}

// A server cannot make a program allocate what it likes.
func TestMessagesAreBounded(t *testing.T) {
	server := pgtest.Shared(t)
	for size, wantErr := range map[int]bool{900_000: false, 1_100_000: true} {
		source, err := regionpg.Listen(t.Context(), regionpg.Config{
			URL: server.URL(), Channel: channel(t),
			BeforeConnect: func(_ context.Context, c *pgx.ConnConfig) error {
				c.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
					_, err := conn.Exec(ctx, fmt.Sprintf("SELECT repeat('x', %d)", size)).ReadAll()
					return err
				}
				return nil
			},
		})
		if err == nil {
			_ = source.Close()
		}
		if (err != nil) != wantErr {
			t.Errorf("a message of %d bytes: %v, want an error: %v", size, err, wantErr)
		}
	}
}

// The context of Listen is for Listen alone.
func TestOutlivesTheContextOfListen(t *testing.T) {
	server := pgtest.Shared(t)
	ctx, cancel := context.WithCancel(t.Context())
	source, err := regionpg.Listen(ctx, regionpg.Config{URL: server.URL(), Channel: channel(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	cancel()
	payload, want := numbered(1)
	notify(t, server, payload)
	wantNext(t, source, want)
}

func TestClose(t *testing.T) {
	server := pgtest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	for name, prepare := range map[string]func(*regionpg.Source){
		"idle": func(*regionpg.Source) {},
		"taking": func(source *regionpg.Source) {
			server.Exec(t, "SELECT pg_notify('testclose', '')")
			wantNext(t, source, everything)
		},
		"not taking": func(source *regionpg.Source) {
			server.Exec(t, "SELECT pg_notify('testclose', i::text) FROM generate_series(1, 1000) AS i")
			for deadline := time.Now().Add(patience); len(source.Notices()) < cap(source.Notices()); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d notices are there %v after 1000 were said", len(source.Notices()), patience)
				}
			}
		},
		"blackhole": func(*regionpg.Source) { proxy.Blackhole(true) },
		"cut":       func(*regionpg.Source) { proxy.Refuse(true); proxy.CutAll() },
	} {
		t.Run(name, func(t *testing.T) {
			defer proxy.Refuse(false)
			defer proxy.Blackhole(false)
			source := listen(t, regionpg.Config{URL: server.URLAt(proxy.Addr), Channel: "testclose"})
			prepare(source)
			begin := time.Now()
			if err := source.Close(); err != nil {
				t.Errorf("Close: %v, want nil", err)
			}
			wantNothingLeft(t)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("Close took %v, want that it does not wait for the network", took)
			}
			for range source.Notices() { // it is closed
			}
			if err := source.Close(); err != nil {
				t.Errorf("the second Close: %v, want nil", err)
			}
		})
	}
	proxy.CutAll() // those whose end the black hole has swallowed
	waitForInt(t, server, 0, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%testclose%'")
}

// waitForInt returns when a query returns want.
func waitForInt(t *testing.T, server *pgtest.Server, want int, sql string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := server.Int(t, sql, args...)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d after %v, want %d", sql, got, patience, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
