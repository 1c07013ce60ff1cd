package redisio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redisio"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// open returns what wraps a client with opt that is closed when the test ends.
func open(t *testing.T, opt *redis.Options) *redisio.Client {
	t.Helper()
	client := redis.NewClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	c, err := redisio.New(client)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// exec executes a batch that has to succeed.
func exec(t *testing.T, b *redisio.Batch) {
	t.Helper()
	if err := b.Exec(t.Context()); err != nil {
		t.Fatalf("Exec returned %v, want nil", err)
	}
}

// answers checks what the server answered to a command.
func answers(t *testing.T, what string, call *redisio.Call, want any) {
	t.Helper()
	if got, err := call.Value(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s answers %v, %v; want %v", what, got, err, want)
	}
}

func TestValues(t *testing.T) {
	server := redistest.Shared(t)
	c := open(t, server.Options())
	p := redistest.Prefix(t)
	exec(t, c.Batch()) // of nothing
	for _, alone := range []bool{true, false} {
		b := c.Batch()
		call := b.Do("get", p+"missing")
		if !alone {
			b.Do("ping")
		}
		exec(t, b)
		answers(t, "GET of a missing key", call, nil)
	}
	b := c.Batch()
	set := b.Do("set", p+"k", "v")
	get := b.Do("get", p+"k")
	mget := b.Do("mget", p+"k", p+"missing")
	strlen := b.Do("strlen", p+"k")
	script := b.Eval(redisio.NewScript(`return {KEYS[1], ARGV[1], 3, false}`), []string{p + "k"}, "argument")
	bare := b.Eval(redisio.NewScript(`return ARGV[1]`), nil, "x")
	if b.Len() != 6 {
		t.Errorf("Len is %d, want 6", b.Len())
	}
	exec(t, b)
	answers(t, "SET", set, "OK")
	answers(t, "GET", get, "v")
	answers(t, "MGET", mget, []any{"v", nil})
	answers(t, "STRLEN", strlen, int64(1))
	answers(t, "a script", script, []any{p + "k", "argument", int64(3), nil})
	answers(t, "a script without keys", bare, "x")
}

// A batch is one round trip.
func TestBatchIsOneRoundTrip(t *testing.T) {
	server := redistest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	opt := server.Options()
	opt.Addr = proxy.Addr
	c := open(t, opt)
	p := redistest.Prefix(t)
	warm := c.Batch()
	warm.Do("ping")
	warm.Do("ping")
	exec(t, warm)
	before := len(proxy.Requests())
	b := c.Batch()
	for i := range 100 {
		b.Do("get", fmt.Sprint(p, i))
	}
	exec(t, b)
	if n := len(proxy.Requests()) - before; n != 1 {
		t.Errorf("%d round trips for a batch of 100, want 1", n)
	}
}

// Scripts that the server does not know, or not any more, are sent again with their
// text; the commands and scripts around them are executed once, in their order.
func TestUnknownScripts(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, server.Options())
	appendScript := func(n int) *redisio.Script {
		return redisio.NewScript(fmt.Sprintf(`redis.call('APPEND', KEYS[1], '%d' .. ARGV[1]); return redis.call('GET', KEYS[1])`, n))
	}
	known, unknown := appendScript(1), appendScript(2)
	for _, flushed := range []bool{false, true} {
		first := c.Batch()
		first.Eval(known, []string{"other"}, ".")
		exec(t, first)
		if flushed {
			server.Do(t, "SCRIPT", "FLUSH")
		}
		server.Do(t, "DEL", "a", "b", "n")
		before := server.CommandsByName(t)
		b := c.Batch()
		counted := b.Do("incr", "n")
		a := b.Eval(known, []string{"a"}, "x")
		u := b.Eval(unknown, []string{"b"}, "y")
		a2 := b.Eval(known, []string{"a"}, "z")
		counted2 := b.Do("incr", "n")
		exec(t, b)
		answers(t, "INCR", counted, int64(1))
		answers(t, "the second INCR", counted2, int64(2))
		answers(t, "the first script", a, "1x")
		answers(t, "the second of its kind", a2, "1x1z")
		answers(t, "the unknown script", u, "2y")
		if n := server.CommandsByName(t)["incr"] - before["incr"]; n != 2 {
			t.Errorf("flushed %v: INCR was executed %d times, want twice", flushed, n)
		}
		// Now all are known.
		texts := server.CommandsByName(t)["eval"]
		b = c.Batch()
		b.Eval(known, []string{"a"}, "x")
		b.Eval(unknown, []string{"a"}, "x")
		exec(t, b)
		if n := server.CommandsByName(t)["eval"] - texts; n != 0 {
			t.Errorf("flushed %v: %d scripts were sent with their text, want none: the server knows them", flushed, n)
		}
		server.Do(t, "SCRIPT", "FLUSH")
	}
}

// A script that is alone in its batch is found unknown as well.
func TestUnknownScriptAlone(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, server.Options())
	script := redisio.NewScript(`return redis.call('INCR', KEYS[1])`)
	for want := range 3 {
		server.Do(t, "SCRIPT", "FLUSH")
		b := c.Batch()
		call := b.Eval(script, []string{"n"})
		exec(t, b)
		answers(t, "the script", call, int64(want+1))
	}
}

// What the server says to one command is the answer to that command alone.
func TestAnswersThatAreErrors(t *testing.T) {
	server := redistest.Shared(t)
	c := open(t, server.Options())
	p := redistest.Prefix(t)
	server.Do(t, "RPUSH", p+"list", "x")
	wrong := func(call *redisio.Call, prefix string) {
		t.Helper()
		if value, err := call.Value(); err == nil || !strings.HasPrefix(err.Error(), prefix) {
			t.Errorf("the command answers %v, %v; want an error that begins with %s", value, err, prefix)
		}
	}
	b := c.Batch()
	first := b.Do("set", p+"k", "v")
	get := b.Do("get", p+"list")
	no := b.Do("nosuchcommand")
	script := b.Eval(redisio.NewScript(`return redis.call('GET', KEYS[1])`), []string{p + "list"})
	last := b.Do("get", p+"k")
	exec(t, b)
	answers(t, "SET", first, "OK")
	wrong(get, "WRONGTYPE")
	wrong(no, "ERR unknown command")
	wrong(script, "WRONGTYPE")
	answers(t, "GET", last, "v")

	alone := c.Batch()
	get = alone.Do("get", p+"list")
	exec(t, alone)
	wrong(get, "WRONGTYPE")
}

// A server that refuses the connection refuses the batch, however long it is, and says
// nothing of the password.
func TestRefusedConnection(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	server.Do(t, "ACL", "SETUSER", "limited", "on", ">secret", "~allowed*", "+@all", "-set")
	for name, way := range map[string]struct {
		user, password string
		want           error
	}{
		"wrong password": {"", "entirely wrong", redisio.ErrAuth},
		"no password":    {"", "", redisio.ErrAuth},
		"unknown user":   {"nobody", "entirely wrong", redisio.ErrAuth},
	} {
		for _, size := range []int{1, 2, 10} {
			opt := server.Options()
			opt.Username, opt.Password = way.user, way.password
			b := open(t, opt).Batch()
			for range size {
				b.Do("get", "allowed")
			}
			err := b.Exec(t.Context())
			if !errors.Is(err, way.want) {
				t.Errorf("%s, batch of %d: Exec returned %v, want %v", name, size, err, way.want)
			}
			if err != nil && strings.Contains(err.Error(), "entirely wrong") {
				t.Errorf("%s: the password is in the error: %v", name, err)
			}
		}
	}
	// What the user may not do is the answer to one command.
	opt := server.Options()
	opt.Username, opt.Password = "limited", "secret"
	b := open(t, opt).Batch()
	get, other, set := b.Do("get", "allowed"), b.Do("get", "forbidden"), b.Do("set", "allowed", "v")
	exec(t, b)
	answers(t, "GET", get, nil)
	for _, call := range []*redisio.Call{other, set} {
		_, err := call.Value()
		if err = redisio.Explain(t.Context(), err); !errors.Is(err, redisio.ErrNotAllowed) {
			t.Errorf("what is not allowed answers %v, want %v", err, redisio.ErrNotAllowed)
		}
	}
}

// A batch whose connection breaks before the answer has come is sent once more, and a
// second time it is not.
func TestBrokenConnection(t *testing.T) {
	server := redistest.Shared(t)
	for _, size := range []int{1, 3} {
		for losses, works := range map[int]bool{1: true, 2: false} {
			proxy := faultproxy.New(t, server.Addr)
			opt := server.Options()
			opt.Addr, opt.MaxRetries = proxy.Addr, -1
			c := open(t, opt)
			key := redistest.Prefix(t) + "k"
			for range losses {
				proxy.DropReplyTo(func(request []byte) bool { return bytes.Contains(request, []byte(key)) })
			}
			b := c.Batch()
			for range size {
				b.Do("incr", key)
			}
			err := b.Exec(t.Context())
			if works != (err == nil) || err != nil && !redisio.Broken(err) {
				t.Errorf("batch of %d, %d answers lost: Exec returned %v, want nil if it was one, and that the connection broke if it was two", size, losses, err)
			}
			if got, want := server.Do(t, "GET", key), fmt.Sprint(2*size); got != want {
				t.Errorf("batch of %d, %d answers lost: %v increments, want %v: all sent twice", size, losses, got, want)
			}
		}
	}
}

// Whatever connections had been made before a server was restarted, the next batch works.
func TestRestartedServer(t *testing.T) {
	server := redistest.Start(t)
	opt := server.Options()
	opt.MaxRetries = -1
	c := open(t, opt)
	for round := range 5 {
		b := c.Batch()
		pong := b.Do("ping")
		exec(t, b)
		answers(t, fmt.Sprint("PING of round ", round), pong, "PONG")
		server.Restart(t)
	}
}

// A deadline is one of ctx, however go-redis tells it, and so is the cause of an end.
func TestDeadline(t *testing.T) {
	server := redistest.Start(t)
	reason := errors.New("the caller has left")
	for _, obedient := range []bool{true, false} {
		for _, size := range []int{1, 3} {
			t.Run(fmt.Sprintf("obedient %v, batch of %d", obedient, size), func(t *testing.T) {
				opt := server.Options()
				opt.ContextTimeoutEnabled = obedient
				opt.ReadTimeout = 2 * time.Second
				c := open(t, opt)
				fill := func() *redisio.Batch {
					b := c.Batch()
					for range size {
						b.Do("get", "k")
					}
					return b
				}
				exec(t, fill())
				server.Stop(t)
				defer server.Continue(t)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				began := time.Now()
				err := fill().Exec(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
					t.Errorf("Exec returned %v after %v, want %v at the deadline", err, time.Since(began), context.DeadlineExceeded)
				}
				ctx, cancel = context.WithTimeoutCause(t.Context(), 100*time.Millisecond, reason)
				defer cancel()
				if err := fill().Exec(ctx); !errors.Is(err, reason) {
					t.Errorf("Exec returned %v, want the cause of its ctx", err)
				}
				if err := fill().Exec(ctx); !errors.Is(err, reason) {
					t.Errorf("Exec returned %v, want the cause of its ctx, which had ended before", err)
				}
				if !obedient {
					ctx, cancel := context.WithCancelCause(t.Context())
					time.AfterFunc(50*time.Millisecond, func() { cancel(reason) })
					began := time.Now()
					if err := fill().Exec(ctx); !errors.Is(err, reason) || time.Since(began) > time.Second {
						t.Errorf("Exec returned %v after %v, want the cause of its ctx at its end", err, time.Since(began))
					}
				}
			})
		}
	}
}

// A timeout of the client is none of ctx, and says so.
func TestTimeout(t *testing.T) {
	server := redistest.Start(t)
	opt := server.Options()
	opt.ReadTimeout, opt.MaxRetries = 100*time.Millisecond, -1
	c := open(t, opt)
	server.Stop(t)
	defer server.Continue(t)
	b := c.Batch()
	b.Do("get", "k")
	err := b.Exec(t.Context())
	if err == nil || errors.Is(err, context.DeadlineExceeded) || redisio.Broken(err) {
		t.Errorf("Exec returned %v, want a timeout of the network", err)
	}
}

// What an abandoned command writes when its answer comes is read by nobody.
func TestAbandonedBatch(t *testing.T) {
	server := redistest.Shared(t)
	proxy := faultproxy.New(t, server.Addr)
	opt := server.Options()
	opt.Addr, opt.ContextTimeoutEnabled = proxy.Addr, false
	c := open(t, opt)
	key := redistest.Prefix(t) + "k"
	for range 20 {
		proxy.Blackhole(false)
		b := c.Batch()
		calls := []*redisio.Call{b.Do("set", key, "v"), b.Do("get", key), b.Eval(redisio.NewScript(`return redis.call('GET', KEYS[1])`), []string{key})}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		proxy.Blackhole(true)
		err := b.Exec(ctx)
		cancel()
		proxy.Blackhole(false) // the answers come now
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Exec returned %v, want %v", err, context.DeadlineExceeded)
		}
		for _, call := range calls {
			if call.Answered() {
				t.Fatal("a command of the abandoned batch is what the client still writes to, want it kept apart")
			}
		}
	}
}
