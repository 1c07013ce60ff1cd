package redistest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv("REDISTEST_DIE") != "" {
		dieWithServer()
	}
	goleak.VerifyTestMain(redistest.WithShared(m))
}

func TestServerIsStartedAndEndsWithTheTest(t *testing.T) {
	var server *redistest.Server
	t.Run("Inner", func(t *testing.T) {
		server = redistest.Start(t, "--maxmemory", "3mb")
		if got := server.Client(t).ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]; got != "3145728" {
			t.Fatalf("maxmemory is %q, want 3145728 as the arguments say", got)
		}
		if server.Do(t, "SET", "k", "v"); server.Do(t, "GET", "k") != "v" {
			t.Fatal("what was set is not there")
		}
	})
	if server.Running() {
		t.Fatal("the server is still running after its test")
	}
	if _, err := server.Try("PING"); err == nil {
		t.Fatal("the server still answers after its test")
	}
}

func TestPassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3:cr@t")
	options, err := redis.ParseURL(server.URL())
	if err != nil || options.Password != "s3:cr@t" || options.Addr != server.Addr {
		t.Fatalf("URL() is %q, which is read as %+v, %v", server.URL(), options, err)
	}
	if err := server.Client(t).Ping(t.Context()).Err(); err != nil {
		t.Fatalf("the client of a server with a password: %v", err)
	}
	open := server.Options()
	open.Password = ""
	client := redis.NewClient(open)
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a client without the password was let in")
	}
}

func TestKillAndRestart(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	client.Set(t.Context(), "k", "v", 0)
	pid := server.PID()
	server.Kill(t)
	if server.Running() {
		t.Fatal("a killed server is running")
	}
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a killed server answers")
	}
	server.Restart(t)
	if server.PID() == pid || !server.Running() {
		t.Fatalf("process %d after the restart, %d before, running: %v", server.PID(), pid, server.Running())
	}
	if err := client.Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Fatalf("GET of what was there before the restart: %v, want redis.Nil", err)
	}
	server.Restart(t) // one that is running
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestStopAndContinue(t *testing.T) {
	server := redistest.Start(t)
	server.Stop(t)
	answer := make(chan error, 1)
	go func() {
		_, err := server.Try("PING")
		answer <- err
	}()
	select {
	case err := <-answer:
		t.Fatalf("a stopped server answered (%v)", err)
	case <-time.After(50 * time.Millisecond):
	}
	server.Continue(t)
	if err := <-answer; err != nil {
		t.Fatalf("the server was continued, and the command still failed: %v", err)
	}
}

func TestCommandsCountsAllButItsOwn(t *testing.T) {
	server := redistest.Start(t)
	for range 3 {
		if got := server.Commands(t); got != 0 {
			t.Fatalf("a new server has run %d commands (%v), want 0", got, server.CommandsByName(t))
		}
	}
	client := server.Client(t)
	client.Set(t.Context(), "k", "v", 0)
	before := server.Commands(t)
	for range 10 {
		client.Get(t.Context(), "k")
	}
	server.Do(t, "INFO")
	if got := server.Commands(t) - before; got != 11 {
		t.Fatalf("%d commands were counted, want 10 GET and 1 INFO", got)
	}
	if calls := server.CommandsByName(t); calls["get"] != 10 || calls["set"] != 1 || calls["hello"] != 1 || calls["info"] != 1 || len(calls) != 4 {
		t.Fatalf("commands %v, want 10 get, 1 set, 1 info and the client's 1 hello", calls)
	}
	server.Restart(t)
	if got := server.Commands(t); got != 0 {
		t.Fatalf("after a restart it has run %d commands, want 0", got)
	}
}

func TestRepliesOfAllKinds(t *testing.T) {
	server := redistest.Shared(t)
	if redistest.Shared(t) != server {
		t.Fatal("Shared started a second server")
	}
	script := `return {1, 'two', {redis.status_reply('three')}, false, redis.error_reply('FIVE times')}`
	reply := server.Do(t, "EVAL", script, 0).([]any)
	want := []any{int64(1), "two", nil, nil, redistest.Error("FIVE times")}
	for i := range want {
		if i != 2 && reply[i] != want[i] {
			t.Errorf("element %d is %#v, want %#v", i, reply[i], want[i])
		}
	}
	if nested, _ := reply[2].([]any); len(nested) != 1 || nested[0] != "three" {
		t.Errorf("element 2 is %#v, want a list of three", reply[2])
	}
	var failed redistest.Error
	if _, err := server.Try("HGET", "k"); !errors.As(err, &failed) || !strings.HasPrefix(string(failed), "ERR wrong number") {
		t.Errorf("HGET without a field: %v, want the server's error", err)
	}
}

// A server that cannot start says why.
func TestWrongArgument(t *testing.T) {
	text := runInner(t, "TestInnerWrongArgument", "REDISTEST_INNER=1")
	if !strings.Contains(text, "ended at once") || !strings.Contains(text, "no-such-option") {
		t.Fatalf("the failure does not tell what the server said:\n%s", text)
	}
}

func TestInnerWrongArgument(t *testing.T) {
	if os.Getenv("REDISTEST_INNER") == "" {
		t.Skip("runs in a process of its own")
	}
	redistest.Start(t, "--no-such-option", "1")
}

func TestAbsentServer(t *testing.T) {
	const line = "redis-server is not installed: sudo apt-get install redis-server"
	nowhere := "PATH=" + t.TempDir()
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"Plain":    {[]string{nowhere, "CI=", "DOGPILE_TEST_SERVERS="}, "--- SKIP"},
		"InCI":     {[]string{nowhere, "CI=1", "DOGPILE_TEST_SERVERS="}, "--- FAIL"},
		"Required": {[]string{nowhere, "CI=", "DOGPILE_TEST_SERVERS=required"}, "--- FAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			text := runInner(t, "TestInnerAbsentServer", append(test.env, "REDISTEST_INNER=1")...)
			for _, way := range []string{"Start", "Shared", "StartCluster", "SharedCluster", "StartSentinel"} {
				if !strings.Contains(text, test.want+": TestInnerAbsentServer/"+way+" ") {
					t.Errorf("%s without redis-server: want %s, got\n%s", way, test.want, text)
				}
			}
			if n := strings.Count(text, line); n != 5 {
				t.Errorf("5 tests say %d times %q:\n%s", n, line, text)
			}
		})
	}
}

func TestInnerAbsentServer(t *testing.T) {
	if os.Getenv("REDISTEST_INNER") == "" {
		t.Skip("runs in a process of its own")
	}
	t.Run("Start", func(t *testing.T) { redistest.Start(t) })
	t.Run("Shared", func(t *testing.T) { redistest.Shared(t) })
	t.Run("StartCluster", func(t *testing.T) { redistest.StartCluster(t) })
	t.Run("SharedCluster", func(t *testing.T) { redistest.SharedCluster(t) })
	t.Run("StartSentinel", func(t *testing.T) { redistest.StartSentinel(t) })
}

// runInner runs one test of this package in a process of its own and returns what it
// printed.
func runInner(t *testing.T, test string, env ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text)
}

// dieWithServer starts a server, prints its process id and waits to be killed.
func dieWithServer() {
	server := redistest.Shared(&testing.B{})
	fmt.Println(server.PID())
	select {}
}
