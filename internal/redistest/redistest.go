// Package redistest starts real Redis servers for tests: one server, a cluster of
// three masters, or a master with two replicas and three sentinels.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.WithShared(m)) }
//
//	func TestSomething(t *testing.T) {
//		client := redistest.Shared(t).Client(t) // one server for the whole package
//		...
//	}
//
//	func TestOfAFault(t *testing.T) {
//		server := redistest.Start(t) // a server of its own, which it may kill
//		server.Kill(t)
//		server.Restart(t)
//	}
//
// [Start], [StartCluster] and [StartSentinel] belong to the test that calls them and
// end with it. [Shared] and [SharedCluster] are started once for a test process.
// Tests that use those keep to keys with a prefix of their own, as [Prefix] makes them,
// and do nothing that others would notice (FLUSHALL, CONFIG SET, killing it).
//
// Servers listen on 127.0.0.1 only, on free ports, in a temporary folder, and store
// nothing on disk. On Linux they die with the test process even if that is killed
// with SIGKILL.
//
// Where redis-server is not installed, a test that asks for one is skipped with one
// line that says what to install. Where it has to be installed the test fails
// instead: if one of the environment variables CI (any value) and
// DOGPILE_TEST_SERVERS=required is set, as make test does.
package redistest

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// patience is how long anything here waits for a server before it gives up. A
// machine that is busy with other tests may need a good part of it.
const patience = 30 * time.Second

// binary returns the path of redis-server. If there is none, the test ends here.
func binary(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	const missing = "redis-server is not installed: sudo apt-get install redis-server"
	if os.Getenv("CI") != "" || os.Getenv("DOGPILE_TEST_SERVERS") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
