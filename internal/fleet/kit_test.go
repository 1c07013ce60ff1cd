package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redisio"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

var errClosed = errors.New("closed, as the test says")

var discard = slog.New(slog.DiscardHandler)

const (
	// patience is how long a test waits for what has to happen.
	patience = 30 * time.Second

	// soon is within what the server pushes. All that is found without having been
	// told, under leases of longTTL, takes longer.
	soon    = 2 * time.Second
	longTTL = 60 * time.Second

	// stranger is a token that is none of a member.
	stranger = "somebody"
)

// attend makes a member on client and closes it when the test ends. What cfg leaves
// open is set.
func attend(t testing.TB, client redis.UniversalClient, cfg fleet.Config) *fleet.Member {
	t.Helper()
	var err error
	if cfg.Client, err = redisio.New(client); err != nil {
		t.Fatal(err)
	}
	if cfg.TTL == 0 {
		cfg.TTL = longTTL
	}
	if cfg.Logger == nil {
		cfg.Logger = discard
	}
	cfg.Closed = errClosed
	m := fleet.Join(cfg)
	t.Cleanup(m.Close)
	return m
}

// join is attend, and waits until the server tells the member of changes.
func join(t testing.TB, client redis.UniversalClient, cfg fleet.Config) *fleet.Member {
	t.Helper()
	m := attend(t, client, cfg)
	eventually(t, "the server tells of changes", m.Tracking)
	return m
}

// eventually waits until condition holds, of which there is no event.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// take acquires a lock that has to be free.
func take(t testing.TB, m *fleet.Member, lock string) *fleet.Lease {
	t.Helper()
	l := ask(t, m, lock)
	if l == nil {
		t.Fatalf("%s is held by somebody, want it to be free", lock)
	}
	return l
}

// ask acquires a lock, or returns nil if it is held.
func ask(t testing.TB, m *fleet.Member, lock string) *fleet.Lease {
	t.Helper()
	l := m.Ask(context.Background(), "the key of "+lock, lock)
	if l == nil {
		t.Fatal("Ask returned nil, want a lease: the member is open")
	}
	got, err := m.Client.SetNX(context.Background(), lock, l.Token(), m.TTL).Result()
	switch {
	case err != nil:
		l.Abandon()
		t.Fatalf("SET %s NX: %v", lock, err)
	case !got:
		l.Refused("")
		return nil
	case !l.Granted():
		t.Fatal("Granted returned false, want true: the member is open")
	}
	return l
}

// wait calls Wait for locks that are held, and returns when the member knows that they
// are.
func wait(t testing.TB, m *fleet.Member, locks ...string) <-chan error {
	t.Helper()
	return waits(t, t.Context(), m, 1, locks...)
}

// waits is wait for one of n calls that wait for the same locks.
func waits(t testing.TB, ctx context.Context, m *fleet.Member, n int, locks ...string) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- m.Wait(ctx, locks...) }()
	for _, lock := range locks {
		eventually(t, "it is known that "+lock+" is held and waited for", func() bool { return m.Waits(lock, n) })
	}
	return result
}

// woken returns how long it took from since until a Wait returned nil.
func woken(t testing.TB, result <-chan error, since time.Time) time.Duration {
	t.Helper()
	if err := returned(t, result); err != nil {
		t.Fatalf("Wait returned %v, want nil: the lock is free", err)
	}
	return time.Since(since)
}

// returned returns what a Wait returned.
func returned(t testing.TB, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(patience):
		t.Fatalf("Wait did not return within %v", patience)
		return nil
	}
}

// stillWaiting fails the test if Wait has returned.
func stillWaiting(t testing.TB, result <-chan error) {
	t.Helper()
	select {
	case err := <-result:
		t.Fatalf("Wait returned %v, want it to wait: the lock is held", err)
	default:
	}
}

// lost returns how long it took from since until the lease was lost.
func lost(t testing.TB, l *fleet.Lease, since time.Time) time.Duration {
	t.Helper()
	select {
	case <-l.Lost():
		return time.Since(since)
	case <-time.After(patience):
		t.Fatalf("Lost was not closed within %v", patience)
		return 0
	}
}

// isLost says whether Lost is closed.
func isLost(l *fleet.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// caughtUp returns when the member has been told of all changes so far: pushes come in
// their order.
func caughtUp(t testing.TB, m *fleet.Member, server *redistest.Server) {
	t.Helper()
	lock := m.Prefix + "{mark}"
	server.Do(t, "SET", lock, stranger, "PX", "60000")
	result := wait(t, m, lock)
	server.Do(t, "DEL", lock)
	woken(t, result, time.Now())
}

// holds checks that a lock is held under the token of l.
func holds(t testing.TB, server *redistest.Server, l *fleet.Lease) {
	t.Helper()
	if got := server.Do(t, "GET", l.Lock()); got != l.Token() {
		t.Errorf("the lock holds %v, want the token %s", got, l.Token())
	}
}

// clientOf returns a client with opt that is closed when the test ends.
func clientOf(t testing.TB, opt *redis.Options) *redis.Client {
	client := redis.NewClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// clusterClientOf is clientOf for a cluster.
func clusterClientOf(t testing.TB, opt *redis.ClusterOptions) *redis.ClusterClient {
	client := redis.NewClusterClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// detour is a server whose tracking connections lead through a proxy.
type detour struct {
	*faultproxy.Proxy
	on     atomic.Bool   // connections that are made now take it
	gate   chan struct{} // while there is something in it they wait
	client *redis.Client
}

// newDetour returns a client of server, with opt. The tracking connection of a member
// that joins with it takes the detour, which its commands do not; nor do connections
// that are made after [detour.join].
func newDetour(t testing.TB, server *redistest.Server, opt *redis.Options) *detour {
	t.Helper()
	d := &detour{Proxy: faultproxy.New(t, server.Addr), gate: make(chan struct{}, 1)}
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if d.on.Load() {
			addr = d.Addr
			select {
			case d.gate <- struct{}{}:
				<-d.gate
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	d.client = clientOf(t, opt)
	return d
}

func (d *detour) join(t testing.TB, cfg fleet.Config) *fleet.Member {
	t.Helper()
	// Whatever commands the member sends at first have a connection already.
	var idle []*redis.Conn
	for range 5 {
		c := d.client.Conn()
		if err := c.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	for _, c := range idle {
		_ = c.Close()
	}
	d.on.Store(true)
	m := join(t, d.client, cfg)
	d.on.Store(false)
	if n := d.Connections(); n != 1 {
		t.Fatalf("%d connections take the detour, want that of the tracker", n)
	}
	return m
}
