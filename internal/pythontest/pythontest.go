// Package pythontest starts real Python workers for tests: processes with the package
// dogpile.cache in them, whose regions a test configures and uses, in as many threads
// as it makes calls at the same time.
//
//	worker := pythontest.Start(t)
//	users := worker.Region(pythontest.RegionConfig{
//		Backend:    pythontest.Redis,
//		Arguments:  map[string]any{"url": server.URL(), "distributed_lock": true},
//		Serializer: "json",
//		Expiration: time.Minute,
//	})
//	err := users.Set("k", map[string]any{"name": "Ann"})
//	value, err := users.Get("k") // value.JSON is {"name": "Ann"}
//
// A creator does what the test says, and the test knows when it begins:
//
//	call := users.StartGetOrCreate("k", pythontest.Creator{Value: 1, Hold: true})
//	call.AwaitCreating(t)     // it holds the mutex of k now
//	...                       // or worker.Kill()
//	call.Release()
//	value, err := call.Value()
//
// What Python raises is an [*Exception]. All that waits does so for [Patience] at the
// longest. What workers write to their standard error is in the log of a test that
// fails. Workers end with the test, and when the test's process is gone.
//
// Where Python or one of [Modules] is not installed, a test that asks for a worker is
// skipped with one line that says what to install, or fails if the environment variable CI
// is set, as .ci/run does. make test installs them where it may.
package pythontest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a worker has to start, and a call to end.
const Patience = 2 * time.Minute

// Modules are the Python modules that a worker needs, with Debian's names of the packages
// that have them.
var Modules = map[string]string{
	"dogpile.cache": "python3-dogpile.cache",
	"redis":         "python3-redis",
	"pymemcache":    "python3-pymemcache",
	"msgpack":       "python3-msgpack",
}

const missing = "Python with dogpile.cache is not installed: " +
	"sudo apt-get install python3-dogpile.cache python3-redis python3-pymemcache python3-msgpack"

// interpreter returns the path of a Python that has the modules, or "": the one in the
// PATH, or else Debian's, which does not lose its packages when somebody puts another
// Python before it.
var interpreter = sync.OnceValue(func() string {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		// It is asked for its own path, because what is in the PATH may be a script
		// that looks for it each time.
		probe := "import sys, dogpile.cache, redis, pymemcache, msgpack; print(sys.executable)"
		path, err := exec.CommandContext(ctx, python, "-c", probe).Output()
		if err == nil && len(path) > 1 {
			return strings.TrimSpace(string(path))
		}
	}
	return ""
})

// Needed ends the test if there is no Python with the modules: it is skipped, or fails
// in CI. [Start] calls it.
func Needed(t testing.TB) {
	t.Helper()
	if interpreter() != "" {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}
