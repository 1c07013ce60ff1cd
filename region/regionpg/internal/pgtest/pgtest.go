// Package pgtest starts real PostgreSQL servers for tests.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.WithShared(m)) }
//
//	func TestSomething(t *testing.T) {
//		server := pgtest.Shared(t) // one server for the whole package
//		...
//	}
//
//	func TestOfAFault(t *testing.T) {
//		server := pgtest.Start(t) // a server of its own, which it may stop
//		server.Stop(t)
//		server.Restart(t)
//	}
//
// Tests that use [Shared] keep to channels, tables and functions with names of their own,
// and do nothing that others would notice.
//
// Servers listen on 127.0.0.1 only, on free ports, in a temporary folder. PostgreSQL
// refuses to run as root; where the tests do, it runs as postgres, or as nobody. On Linux
// it dies with the test process even if that is killed with SIGKILL.
//
// Where PostgreSQL is not installed, a test that asks for it is skipped with one line that
// says what to install. Where it has to be installed the test fails instead: if one of the
// environment variables CI (any value) and DOGPILE_TEST_SERVERS=required is set, as make
// test does.
package pgtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long anything here waits for a server before it gives up. A machine
// that is busy with other tests may need a good part of it.
const patience = 60 * time.Second

// folder returns where initdb and postgres are. If there are none, the test ends here.
func folder(t testing.TB) string {
	t.Helper()
	for _, dir := range folders() {
		_, err1 := exec.LookPath(filepath.Join(dir, "initdb"))
		_, err2 := exec.LookPath(filepath.Join(dir, "postgres"))
		if err1 == nil && err2 == nil {
			return dir
		}
	}
	const missing = "postgres and initdb are not installed: sudo apt-get install postgresql"
	if os.Getenv("CI") != "" || os.Getenv("DOGPILE_TEST_SERVERS") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// folders returns where they may be: beside each other in the PATH, or where Debian puts
// them, the newest version first.
func folders() []string {
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	version := func(dir string) int {
		n, _ := strconv.Atoi(strings.Split(dir, "/")[4])
		return n
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(debian, func(a, b string) int { return version(b) - version(a) })
	return append(dirs, debian...)
}

// What all tests of this process share.
var shared struct {
	mu     sync.Mutex
	server *Server
}

// Shared returns the server that all tests of this process share. The first call starts
// it. Package tests that use it begin with [WithShared], which stops it.
func Shared(t testing.TB) *Server {
	t.Helper()
	dir := folder(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		s, err := start(dir)
		if err != nil {
			t.Fatal(err)
		}
		shared.server = s
	}
	return shared.server
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
	if shared.server != nil {
		shared.server.remove()
		shared.server = nil
	}
}
