package redis_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// lines is a log to read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Where the server does not tell of changes, one poller in each process asks, and says
// so once.
func TestPollingWhereTrackingIsRefused(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "poller", "on", ">pw", "~*", "&*", "+@all", "-client|tracking")
	prefix := space()
	log := new(lines)
	open := func() *region.Region {
		opt := server.Options()
		opt.Username, opt.Password = "poller", "pw"
		client := goredis.NewClient(opt)
		t.Cleanup(func() { client.Close() })
		r, err := region.New("users", region.Config{
			Backend:    redis.New(client, redis.Config{Prefix: prefix, Logger: slog.New(slog.NewTextHandler(log, nil))}),
			Expiration: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	a, b := open(), open()
	held, release := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = region.GetOrCreate(t.Context(), a, "k", func(context.Context) (string, error) {
			close(held)
			<-release
			return "v", nil
		})
	}()
	<-held
	var waiters sync.WaitGroup
	woken := make(chan time.Time, 100)
	for range 100 {
		waiters.Go(func() {
			got, err := region.GetOrCreate(t.Context(), b, "k", func(context.Context) (string, error) { return "another", nil })
			if err != nil || got != "v" {
				t.Errorf("a waiter got %q, %v", got, err)
			}
			woken <- time.Now()
		})
	}
	time.Sleep(500 * time.Millisecond) // the polls are as far apart as they become
	before := server.Commands(t)
	time.Sleep(time.Second)
	polls := server.Commands(t) - before
	if polls < 10 || polls > 30 {
		t.Errorf("%d polls in a second of waiting, want about 20: one every 50 ms, whoever waits", polls)
	}
	released := time.Now()
	close(release)
	waiters.Wait()
	close(woken)
	for at := range woken {
		if late := at.Sub(released); late > 500*time.Millisecond {
			t.Fatalf("a waiter was woken %v after the value was made, want 60 ms and what it takes to go round", late)
		}
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 2 || strings.Count(text, "polled") != 2 {
		t.Errorf("two processes have logged\n%s\nwant one warning each", text)
	}
}

// Close leaves no connection and no lock behind, and no client closed that is not its
// own.
func TestCloseLeavesNothing(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	connections := func() int {
		return strings.Count(server.Do(t, "CLIENT", "LIST").(string), "\n")
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	before := connections()
	b := redis.New(client, redis.Config{})
	r, err := region.New("users", region.Config{Backend: b, Expiration: time.Hour, CloseTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = region.GetOrCreate(t.Context(), r, "k", func(ctx context.Context) (string, error) {
			close(began)
			<-ctx.Done()
			return "", ctx.Err()
		})
	}()
	<-began
	if err := b.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	if n := connections(); n < before+1 {
		t.Errorf("%d connections while it is open, %d before", n, before)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	<-ended
	if keys := server.Do(t, "KEYS", "*lock*"); len(keys.([]any)) > 0 {
		t.Errorf("locks are left behind: %v", keys)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the user's client does not work any more: %v", err)
	}
	// Connections of the client's pool stay; the one of the backend is gone.
	deadline := time.Now().Add(5 * time.Second)
	for strings.Contains(server.Do(t, "CLIENT", "LIST").(string), "cmd=subscribe") {
		if time.Now().After(deadline) {
			t.Fatalf("the connection that listens is still there:\n%s", server.Do(t, "CLIENT", "LIST"))
		}
		time.Sleep(time.Millisecond)
	}
}
