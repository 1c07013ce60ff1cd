// Package memcachedtest starts real memcached servers for tests.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(memcachedtest.WithShared(m)) }
//
//	func TestSomething(t *testing.T) {
//		servers := memcachedtest.Shared(t, 3) // three servers for the whole package
//		...
//	}
//
//	func TestOfAFault(t *testing.T) {
//		server := memcachedtest.Start(t) // a server of its own, which it may kill
//		server.Kill(t)
//		server.Restart(t)
//	}
//
// [Start] belongs to the test that calls it and ends with it. [Shared] are started once
// for a test process. Tests that use those keep to keys with a prefix of their own and do
// nothing that others would notice (flush_all, killing one).
//
// Servers listen on 127.0.0.1 only, on free ports. On Linux they die with the test
// process even if that is killed with SIGKILL.
//
// Where memcached is not installed, a test that asks for one is skipped with one line
// that says what to install. Where it has to be installed the test fails instead: if
// one of the environment variables CI (any value) and DOGPILE_TEST_SERVERS=required is
// set, as make test does.
package memcachedtest

import (
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// patience is how long anything here waits for a server before it gives up. A machine
// that is busy with other tests may need a good part of it.
const patience = 30 * time.Second

// binary returns the path of memcached. If there is none, the test ends here.
func binary(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("memcached")
	if err == nil {
		return path
	}
	const missing = "memcached is not installed: sudo apt-get install memcached"
	if os.Getenv("CI") != "" || os.Getenv("DOGPILE_TEST_SERVERS") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// What all tests of this process share.
var shared struct {
	mu      sync.Mutex
	servers []*Server
}

// Shared returns n servers that all tests of this process share. The first call starts
// them. Package tests that use them begin with [WithShared], which stops them.
func Shared(t testing.TB, n int) []*Server {
	t.Helper()
	path := binary(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for len(shared.servers) < n {
		s, err := start(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		shared.servers = append(shared.servers, s)
	}
	return shared.servers[:n:n]
}

// Addrs returns the addresses of servers.
func Addrs(servers []*Server) []string {
	addrs := make([]string, len(servers))
	for i, s := range servers {
		addrs[i] = s.Addr
	}
	return addrs
}

// Tests is a [testing.M], or what wraps one.
type Tests interface {
	Run() int
}

// WithShared wraps the tests of a package, for its TestMain: after they have run, it
// stops what [Shared] started.
func WithShared(m Tests) Tests { return withShared{m} }

type withShared struct{ Tests }

func (m withShared) Run() int {
	defer stopShared()
	return m.Tests.Run()
}

func stopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, s := range shared.servers {
		s.current().Kill()
	}
	shared.servers = nil
}
