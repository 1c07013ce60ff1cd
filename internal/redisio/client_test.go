package redisio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/redisio"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestClientsThatCannotBeUsed(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer func() { _ = ring.Close() }()
	clients := map[string]redis.UniversalClient{
		"nil":                    nil,
		"a nil *redis.Client":    (*redis.Client)(nil),
		"a nil *ClusterClient":   (*redis.ClusterClient)(nil),
		"a ring":                 ring,
		"one of several clients": struct{ redis.UniversalClient }{ring},
	}
	for name, opt := range map[string]*redis.ClusterOptions{
		"ReadOnly":       {ReadOnly: true},
		"RouteByLatency": {RouteByLatency: true},
		"RouteRandomly":  {RouteRandomly: true},
	} {
		opt.Addrs = []string{"127.0.0.1:1"}
		client := redis.NewClusterClient(opt)
		defer func() { _ = client.Close() }()
		clients[name] = client
	}
	for name, client := range clients {
		if c, err := redisio.New(client); !errors.Is(err, redisio.ErrClient) || c != nil {
			t.Errorf("%s: New returned %v, %v; want %v", name, c, err, redisio.ErrClient)
		}
	}
}

// The time of a command is that of its timeouts, as often as the client repeats it, and
// a batch is sent twice.
func TestLongest(t *testing.T) {
	for want, opt := range map[time.Duration]*redis.Options{
		20 * time.Second:                    {MaxRetries: -1, DialTimeout: time.Second, PoolTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 4 * time.Second},
		8 * 10 * time.Second:                {DialTimeout: time.Second, PoolTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 4 * time.Second},
		8 * (time.Minute + 7*time.Second):   {DialTimeout: time.Second, PoolTimeout: 2 * time.Second, ReadTimeout: -1, WriteTimeout: 4 * time.Second},
		8 * (2*time.Minute + 3*time.Second): {DialTimeout: time.Second, PoolTimeout: 2 * time.Second, ReadTimeout: -1, WriteTimeout: -2},
	} {
		if got := open(t, opt).Longest(); got != want {
			t.Errorf("Longest returned %v, want %v", got, want)
		}
	}
}

func TestSingleServer(t *testing.T) {
	server := redistest.Shared(t)
	c := open(t, server.Options())
	masters, err := c.Masters(t.Context())
	if err != nil || len(masters) != 1 || masters[""] == nil {
		t.Errorf("Masters returned %v, %v; want one without an address", masters, err)
	}
	if node := c.NodeOf(t.Context(), "k"); node != "" || c.Cluster() {
		t.Errorf("NodeOf returned %q and Cluster %v, want none", node, c.Cluster())
	}
}

func TestCluster(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	c, err := redisio.New(cluster.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	masters, err := c.Masters(t.Context())
	if got, want := slices.Sorted(maps.Keys(masters)), slices.Sorted(slices.Values(cluster.Addrs)); err != nil || !slices.Equal(got, want) || !c.Cluster() {
		t.Errorf("Masters returned %v, %v; want %v", got, err, want)
	}
	// A batch for all of them, of commands and of scripts that nobody knows yet.
	prefix := redistest.Prefix(t)
	script := redisio.NewScript(`redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1]) -- ` + prefix)
	b := c.Batch()
	var sets, gets []*redisio.Call
	var keys []string
	for i := range 30 {
		key := fmt.Sprintf("%s{%d}", prefix, i)
		keys = append(keys, key)
		sets = append(sets, b.Eval(script, []string{key}, i))
		if node, want := c.NodeOf(t.Context(), key), cluster.NodeOf(t, key).Addr; node != want {
			t.Errorf("NodeOf(%s) returned %s, want %s", key, node, want)
		}
	}
	exec(t, b)
	b = c.Batch()
	for _, key := range keys {
		gets = append(gets, b.Do("get", key))
	}
	exec(t, b)
	for i := range keys {
		answers(t, keys[i], sets[i], fmt.Sprint(i))
		answers(t, keys[i], gets[i], fmt.Sprint(i))
	}
}

// When a node has died whose slots another one has taken over, the client finds out by
// the first errors, and not after a minute.
func TestNodeDies(t *testing.T) {
	cluster := redistest.StartCluster(t)
	opt := cluster.Options()
	opt.MaxRedirects, opt.MaxRetries = -1, -1
	client := redis.NewClusterClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	c, err := redisio.New(client)
	if err != nil {
		t.Fatal(err)
	}
	dead, heir := cluster.Nodes[2], cluster.Nodes[0]
	key := "k0"
	for i := 1; cluster.NodeOf(t, key) != dead; i++ {
		key = fmt.Sprint("k", i)
	}
	b := c.Batch()
	b.Do("set", key, "v")
	exec(t, b)

	dead.Kill(t)
	slot := heir.Do(t, "CLUSTER", "KEYSLOT", key)
	id := heir.Do(t, "CLUSTER", "MYID")
	for _, node := range cluster.Nodes[:2] {
		node.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", id)
	}
	deadline := time.Now().Add(20 * time.Second)
	failed := 0
	for {
		b := c.Batch()
		set := b.Do("set", key, "v")
		err := b.Exec(t.Context())
		if err == nil {
			answers(t, "SET at the heir", set, "OK")
			break
		}
		failed++
		if time.Now().After(deadline) {
			t.Fatalf("after %d failures: %v, want the client to know the heir by now", failed, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if failed == 0 {
		t.Error("no command failed, so this test shows nothing: the dead node was to be asked first")
	}
	if node := c.NodeOf(t.Context(), key); node != heir.Addr {
		t.Errorf("NodeOf returned %s, want the heir %s", node, heir.Addr)
	}
}

func TestRun(t *testing.T) {
	server := redistest.Shared(t)
	reason := errors.New("the caller has left")
	for _, obedient := range []bool{true, false} {
		opt := server.Options()
		opt.ContextTimeoutEnabled = obedient
		c := open(t, opt)
		failed := errors.New("what f returns")
		if err := c.Run(t.Context(), func(context.Context) error { return failed }); err != failed {
			t.Errorf("Run returned %v, want what f returned", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		called := false
		if err := c.Run(ctx, func(context.Context) error { called = true; return nil }); err != reason || called {
			t.Errorf("Run returned %v, want the cause of its ctx, and f not to be called", err)
		}
	}
	// A client that does not notice the end of ctx is left alone.
	opt := server.Options()
	opt.ContextTimeoutEnabled = false
	c := open(t, opt)
	ctx, cancel := context.WithCancelCause(t.Context())
	running, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		<-running
		cancel(reason)
	}()
	err := c.Run(ctx, func(context.Context) error {
		defer close(ended)
		close(running)
		select {
		case <-end:
		case <-time.After(30 * time.Second):
		}
		return nil
	})
	if err != reason {
		t.Errorf("Run returned %v, want the cause of its ctx", err)
	}
	close(end)
	<-ended
}

func TestBroken(t *testing.T) {
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if !redisio.Broken(fmt.Errorf("write: %w", err)) {
			t.Errorf("Broken(%v) is false, want true", err)
		}
	}
	for _, err := range []error{nil, redis.Nil, context.DeadlineExceeded, syscall.ECONNREFUSED, errors.New("ERR EOF")} {
		if redisio.Broken(err) {
			t.Errorf("Broken(%v) is true, want false", err)
		}
	}
}

// What is no error stays none, and what says enough stays as it is.
func TestExplain(t *testing.T) {
	if err := redisio.Explain(t.Context(), nil); err != nil {
		t.Errorf("Explain(nil) returned %v, want nil", err)
	}
	plain := errors.New("anything")
	if err := redisio.Explain(t.Context(), plain); err != plain {
		t.Errorf("Explain returned %v, want the error as it is", err)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if err := redisio.Explain(ctx, plain); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Explain returned %v, want no word of the deadline: the error is another one", err)
	}
	late := &net.OpError{Op: "read", Net: "tcp", Err: timeout{}}
	if err := redisio.Explain(ctx, late); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, error(late)) {
		t.Errorf("Explain returned %v, want %v around it", err, context.DeadlineExceeded)
	}
	if err := redisio.Explain(t.Context(), late); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Explain returned %v, want no word of a deadline: ctx has none", err)
	}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }
