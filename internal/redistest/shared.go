package redistest

import (
	"crypto/rand"
	"sync"
	"testing"
)

// What all tests of this process share.
var shared struct {
	mu      sync.Mutex
	server  *Server
	cluster *Cluster
}

// Shared returns the server that all tests of this process share. The first call
// starts it. Package tests that use it begin with [WithShared], which stops it.
func Shared(t testing.TB) *Server {
	t.Helper()
	path := binary(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		s, err := start(path, standalone(nil))
		if err != nil {
			t.Fatal(err)
		}
		shared.server = s
	}
	return shared.server
}

// SharedCluster is [Shared] for a cluster. The first call takes about two seconds.
func SharedCluster(t testing.TB) *Cluster {
	t.Helper()
	path := binary(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.cluster == nil {
		c, err := startCluster(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		shared.cluster = c
	}
	return shared.cluster
}

// Prefix returns a prefix for the keys of one test on a shared server. No two calls
// return the same one, in any process.
func Prefix(t testing.TB) string { return t.Name() + "-" + rand.Text()[:10] + ":" }

// Tests is a [testing.M], or what wraps one.
type Tests interface {
	Run() int
}

// WithShared wraps the tests of a package, for its TestMain: after they have run, it
// stops what [Shared] and [SharedCluster] started.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.WithShared(m)) }
//
// A package that leaves it out leaves a folder in the temporary folder behind; the
// servers themselves die with the process in any case (on Linux).
func WithShared(m Tests) Tests { return withShared{m} }

type withShared struct{ Tests }

func (m withShared) Run() int {
	defer stopShared()
	return m.Tests.Run()
}

func stopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		shared.server.remove()
		shared.server = nil
	}
	if shared.cluster != nil {
		shared.cluster.remove()
		shared.cluster = nil
	}
}
