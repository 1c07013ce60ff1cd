package fleet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/fleet"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// Close leaves nothing of the member, and all of the others.
func TestClose(t *testing.T) {
	server := redistest.Start(t)
	cfg := fleet.Config{Prefix: redistest.Prefix(t)}
	client := server.Client(t)
	m, other := join(t, client, cfg), join(t, server.Client(t), cfg)
	held := take(t, m, cfg.Prefix+"{held}")
	asked := m.Ask(t.Context(), "k", cfg.Prefix+"{asked}")
	ending := take(t, m, cfg.Prefix+"{ending}")
	ending.End()
	theirs := take(t, other, cfg.Prefix+"{theirs}")
	result := wait(t, m, theirs.Lock())
	freed := wait(t, other, held.Lock())

	began := time.Now()
	m.Close()
	if took := time.Since(began); took > soon {
		t.Errorf("Close took %v, want it to be quick", took)
	}
	for _, l := range []*fleet.Lease{held, asked, ending} {
		if !isLost(l) {
			t.Errorf("%s: the lease is not lost, want it to be: the member is closed", l.Lock())
		}
	}
	if err := returned(t, result); err != errClosed {
		t.Errorf("Wait returned %v, want %v", err, errClosed)
	}
	woken(t, freed, began)
	if keys := server.Do(t, "KEYS", "*").([]any); len(keys) != 1 || keys[0] != theirs.Lock() {
		t.Errorf("the keys that are left are %v, want the lock of the other member alone", keys)
	}
	if isLost(theirs) {
		t.Error("the lease of the other member is lost, want it to be held")
	}
	// An answer that comes late is given back by whoever gets it.
	if asked.Granted() {
		t.Error("Granted returned true, want false: the member is closed")
	}
	// It does nothing a second time, nor do its leases.
	m.Close()
	if err := held.Release(t.Context()); err != nil {
		t.Errorf("Release after Close returned %v, want nil", err)
	}

	other.Close()
	if n := client.PoolStats().PubSubStats.Active; n != 0 {
		t.Errorf("%d connections of the client listen, want none", n)
	}
	eventually(t, "the server has no connection that listens", func() bool {
		list, _ := server.Do(t, "CLIENT", "LIST").(string)
		return !strings.Contains(list, "cmd=subscribe") && !strings.Contains(list, "sub=2")
	})
}

// Close takes a bounded time, whatever the server does.
func TestCloseWithoutServer(t *testing.T) {
	for name, fail := range map[string]func(t *testing.T, server *redistest.Server, proxy *faultproxy.Proxy){
		"gone":       func(t *testing.T, server *redistest.Server, proxy *faultproxy.Proxy) { server.Kill(t) },
		"stopped":    func(t *testing.T, server *redistest.Server, proxy *faultproxy.Proxy) { server.Stop(t) },
		"blackholed": func(t *testing.T, server *redistest.Server, proxy *faultproxy.Proxy) { proxy.Blackhole(true) },
		"refused": func(t *testing.T, server *redistest.Server, proxy *faultproxy.Proxy) {
			proxy.Refuse(true)
			proxy.CutAll()
		},
	} {
		for _, when := range []string{"from the start", "meanwhile", "and noticed"} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := faultproxy.New(t, server.Addr)
				opt := server.Options()
				opt.Addr = proxy.Addr
				opt.ReadTimeout, opt.DialTimeout = 2*time.Second, 2*time.Second
				client := clientOf(t, opt)
				cfg := fleet.Config{Prefix: redistest.Prefix(t)}
				lock := cfg.Prefix + "{k}"
				var m *fleet.Member
				results := make(chan error, 2)
				waitFor := func(lock string) { go func() { results <- m.Wait(t.Context(), lock) }() }
				switch when {
				case "from the start":
					fail(t, server, proxy)
					m = attend(t, client, cfg)
					waitFor(lock)
					waitFor(lock)
					if name == "stopped" || name == "blackholed" {
						eventually(t, "the member tries to connect", func() bool { return proxy.Accepted() > 1 })
					}
				default:
					m = join(t, client, cfg)
					take(t, m, lock)
					other := cfg.Prefix + "{other}"
					server.Do(t, "SET", other, fleet.DeadToken(), "PX", "60000")
					fail(t, server, proxy)
					waitFor(lock)
					waitFor(other)
				}
				if when == "and noticed" {
					// What is under way when the member is closed does not end by
					// itself. This is long enough for all of it to have begun.
					time.Sleep(700 * time.Millisecond)
				}
				began := time.Now()
				m.Close()
				took := time.Since(began)
				t.Logf("Close took %v", took)
				if took > 2500*time.Millisecond {
					t.Errorf("Close took %v, want the 2 s of one command at most", took)
				}
				for range cap(results) {
					returned(t, results)
				}
			})
		}
	}
}

// A connection that is being made to a server that does not answer is not waited for.
func TestCloseWhileConnecting(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	proxy.Blackhole(true)
	opt := server.Options()
	opt.Addr, opt.ReadTimeout = proxy.Addr, time.Minute
	m := attend(t, clientOf(t, opt), fleet.Config{Prefix: redistest.Prefix(t)})
	eventually(t, "the member tries to connect", func() bool { return proxy.Accepted() > 0 })
	began := time.Now()
	m.Close()
	if took := time.Since(began); took > soon {
		t.Errorf("Close took %v, want it not to wait for a connection", took)
	}
}
