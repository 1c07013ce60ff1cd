package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/redis"
)

// behind returns a client of server whose connections go through a proxy, and that
// does not repeat commands by itself.
func behind(t *testing.T, server *redistest.Server) (*faultproxy.Proxy, *goredis.Client) {
	t.Helper()
	proxy := faultproxy.New(t, server.Addr)
	opt := server.Options()
	opt.Addr = proxy.Addr
	opt.MaxRetries = -1
	opt.ReadTimeout = time.Second // what Close waits for at most
	client := goredis.NewClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	return proxy, client
}

// asksFor recognises the script that names the lock of "key". The first one is
// redislock's that obtains it.
func asksFor(request []byte) bool {
	return bytes.Contains(request, []byte("evalsha")) && bytes.Contains(request, []byte(":mutex:{key}"))
}

func TestLostReplyToObtain(t *testing.T) {
	server := redistest.Shared(t)
	proxy, client := behind(t, server)
	prefix := space(t)
	a := open(t, client, redis.Config{Prefix: prefix, TTL: never})
	b := open(t, server.Client(t), redis.Config{Prefix: prefix, TTL: never})
	if err := acquire(t, b, "warm").Release(within(t)); err != nil { // the server learns the scripts
		t.Fatal(err)
	}
	lost := proxy.DropReplyTo(asksFor)
	lease, err := a.TryAcquire(within(t), "key")
	<-lost
	if err != nil {
		t.Fatalf("TryAcquire whose first answer was lost = %v, want the lease", err)
	}
	asked := 0
	for _, request := range proxy.Requests() {
		if asksFor(request) && bytes.Contains(request, []byte(lease.Token())) {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("the server was asked %d times with the token of the lease, want 2", asked)
	}
	refused(t, b, "key")
	if isLost(lease) {
		t.Error("the holder was told that its lease is lost")
	}
	if err := lease.Release(within(t)); err != nil {
		t.Fatal(err)
	}
	acquire(t, b, "key")
}

// TestNoReplyToObtain is a network that dies after the lock was taken. Nobody knows
// that it was, and yet it must not stay taken.
func TestNoReplyToObtain(t *testing.T) {
	gone := errors.New("the caller has gone")
	check := func(t *testing.T, ctx context.Context, lost func(), judge func(error)) {
		server := redistest.Shared(t)
		proxy, client := behind(t, server)
		prefix := space(t)
		a := open(t, client, redis.Config{Prefix: prefix, TTL: never})
		b := open(t, server.Client(t), redis.Config{Prefix: prefix, TTL: never})
		if err := acquire(t, b, "warm").Release(within(t)); err != nil {
			t.Fatal(err)
		}
		cut := proxy.LoseReplyTo(asksFor)
		go func() {
			<-cut
			lost()
		}()
		_, err := a.TryAcquire(ctx, "key")
		judge(err)
		if _, err := obtain(within(t), b, "key"); err != nil {
			t.Errorf("a lock that nobody knows of was not given back: %v", err)
		}
	}
	t.Run("Timeout", func(t *testing.T) {
		check(t, t.Context(), func() {}, func(err error) {
			if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("TryAcquire without an answer = %v, want a timeout", err)
			}
		})
	})
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		check(t, ctx, func() { cancel(gone) }, func(err error) {
			if !errors.Is(err, gone) {
				t.Errorf("TryAcquire without an answer = %v, want the cause of its ctx", err)
			}
		})
	})
}

// TestContexts wants every call to end with its ctx, whatever the client does.
func TestContexts(t *testing.T) {
	gone := errors.New("the caller has gone")
	for name, client := range map[string]func(testing.TB, *redistest.Server) *goredis.Client{
		"Obedient":    func(t testing.TB, server *redistest.Server) *goredis.Client { return server.Client(t) },
		"Disobedient": disobedient,
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			a := open(t, client(t, server), redis.Config{Prefix: "p", TTL: never})
			b := open(t, server.Client(t), redis.Config{Prefix: "p", TTL: never})
			for _, l := range []*redis.Locker{a, b} {
				if err := acquire(t, l, "warm").Release(within(t)); err != nil {
					t.Fatal(err)
				}
			}
			calls := map[string]func(context.Context) error{
				"TryAcquire": func(ctx context.Context) error {
					lease, err := a.TryAcquire(ctx, "key")
					if lease != nil {
						t.Errorf("a lease came with %v", err)
					}
					return err
				},
				"Void": func(ctx context.Context) error { return a.Void(ctx, "key") },
				"Wait": func(ctx context.Context) error { return a.Wait(ctx, "key") },
			}
			ended, cancel := context.WithCancelCause(t.Context())
			cancel(gone)
			before := server.CommandsByName(t)
			for call, f := range calls {
				if err := f(ended); !errors.Is(err, gone) {
					t.Errorf("%s with an ended ctx = %v, want the cause", call, err)
				}
			}
			after := server.CommandsByName(t)
			for _, name := range []string{"evalsha", "unlink"} {
				if n := after[name] - before[name]; n != 0 {
					t.Errorf("calls with an ended ctx have sent %d %s, want none", n, name)
				}
			}

			server.Stop(t)
			began := time.Now()
			for call, f := range calls {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s whose deadline passes = %v, want context.DeadlineExceeded", call, err)
				}
				cancel()
				ctx, stop := context.WithCancelCause(t.Context())
				time.AfterFunc(100*time.Millisecond, func() { stop(gone) })
				if err := f(ctx); !errors.Is(err, gone) {
					t.Errorf("%s that is cancelled = %v, want the cause", call, err)
				}
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("six calls of 100 ms have taken %v: they wait for the read timeout", took)
			}
			server.Continue(t)
			if _, err := obtain(within(t), b, "key"); err != nil {
				t.Errorf("a lock that nobody knows of was not given back: %v", err)
			}
		})
	}
}

// TestReleaseWithoutAnswer releases while the server does not answer: the caller is not
// bothered, and the lock is free when the server is back.
func TestReleaseWithoutAnswer(t *testing.T) {
	for name, client := range map[string]func(testing.TB, *redistest.Server) *goredis.Client{
		"Obedient":    func(t testing.TB, server *redistest.Server) *goredis.Client { return server.Client(t) },
		"Disobedient": disobedient,
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			a := open(t, client(t, server), redis.Config{Prefix: "p", TTL: never})
			b := open(t, server.Client(t), redis.Config{Prefix: "p", TTL: never})
			lease := acquire(t, a, "key")
			server.Stop(t)
			began := time.Now()
			if err := lease.Release(t.Context()); err != nil {
				t.Errorf("Release without an answer = %v, want nil", err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("Release without an answer took %v, want about a second", took)
			}
			server.Continue(t)
			if _, err := obtain(within(t), b, "key"); err != nil {
				t.Errorf("the lock was not given back when the server answered again: %v", err)
			}
			if isLost(lease) {
				t.Error("a lease that was released is told to be lost")
			}
		})
	}
}

// TestReleaseWithoutServer is one whose command never reached the server, so that it
// has to be sent again.
func TestReleaseWithoutServer(t *testing.T) {
	server := redistest.Start(t)
	proxy, client := behind(t, server)
	const ttl = 30 * time.Second // it does not expire while this test waits
	a := open(t, client, redis.Config{Prefix: "p", TTL: ttl})
	b := open(t, server.Client(t), redis.Config{Prefix: "p", TTL: ttl})
	lease := acquire(t, a, "key")
	proxy.Refuse(true)
	proxy.CutAll()
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("Release without a server = %v, want nil", err)
	}
	refused(t, b, "key")
	proxy.Refuse(false)
	if _, err := obtain(within(t), b, "key"); err != nil {
		t.Errorf("the lock was not given back when the server was there again: %v", err)
	}
}

// TestReleaseOfWhatIsGone wants a release that finds nothing to be the last one.
func TestReleaseOfWhatIsGone(t *testing.T) {
	const ttl = 500 * time.Millisecond
	server := redistest.Start(t)
	l := open(t, poller(t, server), redis.Config{Prefix: "p", TTL: ttl, Logger: quiet})
	lease := acquire(t, l, "key")
	server.Do(t, "SET", "p:mutex:{key}", "another token")
	if err := lease.Release(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := server.Do(t, "GET", "p:mutex:{key}"); got != "another token" {
		t.Errorf("the release has changed the lock of another one to %v", got)
	}
	before := server.CommandsByName(t)["evalsha"]
	<-time.After(ttl / 2)
	if n := server.CommandsByName(t)["evalsha"] - before; n > 0 {
		t.Errorf("the lease was given back %d times more", n)
	}
}

// TestCloseWithoutAnswer closes while the server does not answer. goleak sees whether
// anything is left when Close returns.
func TestCloseWithoutAnswer(t *testing.T) {
	for name, client := range map[string]func(testing.TB, *redistest.Server) *goredis.Client{
		"Obedient":    func(t testing.TB, server *redistest.Server) *goredis.Client { return server.Client(t) },
		"Disobedient": disobedient,
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			c := client(t, server)
			if err := c.Ping(within(t)).Err(); err != nil {
				t.Fatal(err)
			}
			others := goleak.IgnoreCurrent()
			l := open(t, c, redis.Config{})
			lease := acquire(t, l, "key")
			server.Stop(t)
			trying := make(chan error, 1)
			go func() {
				_, err := l.TryAcquire(context.Background(), "key 2")
				trying <- err
			}()
			began := time.Now()
			if err := l.Close(); err != nil {
				t.Errorf("Close = %v, want nil", err)
			}
			took := time.Since(began)
			t.Logf("Close took %v", took)
			if took > 15*time.Second {
				t.Errorf("Close without an answer took %v, want no more than a read timeout and some", took)
			}
			if !isLost(lease) {
				t.Error("a lease is not lost when its Locker is closed")
			}
			if err := <-trying; !errors.Is(err, lock.ErrClosed) {
				t.Errorf("TryAcquire while the Locker is closed = %v, want lock.ErrClosed", err)
			}
			goleak.VerifyNone(t, others)
			server.Continue(t)
		})
	}
}

// TestCloseDuringObtain closes a Locker while the server has yet to hear of an
// attempt. The lock that it then grants must not stay.
func TestCloseDuringObtain(t *testing.T) {
	server := redistest.Start(t)
	proxy, client := behind(t, server)
	l := open(t, client, redis.Config{Prefix: "p", TTL: never})
	if err := acquire(t, l, "warm").Release(within(t)); err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	var requests atomic.Int32
	proxy.OnRequest(func(request []byte) {
		if asksFor(request) && requests.Add(1) == 1 {
			close(asked)
			<-answer
		}
	})
	trying := make(chan error, 1)
	go func() {
		_, err := l.TryAcquire(context.Background(), "key")
		trying <- err
	}()
	<-asked
	before := server.CommandsByName(t)["eval"]
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		l.Close()
	}()
	if err := <-trying; !errors.Is(err, lock.ErrClosed) {
		t.Errorf("TryAcquire while the Locker is closed = %v, want lock.ErrClosed, without waiting for the server", err)
	}
	// Close gives back what it knows to have been asked for, with a script that is
	// new to the server. That is in vain, because the request comes only then.
	for deadline := within(t); server.CommandsByName(t)["eval"] == before; {
		if deadline.Err() != nil {
			t.Fatal("Close has not tried to give back what was asked for")
		}
	}
	close(answer)
	<-closed
	if left := stored(t, server, ""); len(left) > 0 {
		t.Errorf("a closed Locker has left %q", left)
	}
}

// TestCloseUnderLoad closes a Locker while many of its goroutines take and give back
// leases. No lock may stay.
func TestCloseUnderLoad(t *testing.T) {
	server := redistest.Shared(t)
	for range 10 {
		prefix := space(t)
		l := redis.New(server.Client(t), redis.Config{Prefix: prefix, TTL: never})
		acquire(t, l, "warm")
		var working sync.WaitGroup
		var granted atomic.Int32
		busy := make(chan struct{})
		for i := range 8 {
			working.Go(func() {
				for turn := 0; ; turn++ {
					lease, err := l.TryAcquire(context.Background(), fmt.Sprint("key ", i, turn))
					if err != nil {
						if !errors.Is(err, lock.ErrClosed) {
							t.Errorf("TryAcquire while the Locker is closed = %v, want lock.ErrClosed", err)
						}
						return
					}
					if granted.Add(1) == 100 {
						close(busy)
					}
					if turn%2 == 0 {
						if err := lease.Release(context.Background()); err != nil {
							t.Errorf("Release while the Locker is closed = %v, want nil", err)
						}
					}
				}
			})
		}
		<-busy
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if left := stored(t, server, prefix); len(left) > 0 {
			t.Errorf("a closed Locker has left %d locks, such as %q", len(left), left[0])
		}
		working.Wait()
	}
}
