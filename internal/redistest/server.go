package redistest

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

// Server is a redis-server, or a sentinel. Its methods are safe for concurrent use.
type Server struct {
	// Addr is the server's host and port. It stays the same over [Server.Restart].
	Addr string

	path     string
	dir      string
	password string
	args     []string // the command line

	mu      sync.Mutex
	process *child.Process
	infos   int64 // INFO commands that we sent to this process ourselves
}

// Start starts a redis-server and stops it when the test ends. args are appended to
// its command line, such as "--maxmemory", "2mb". A password given there with
// --requirepass is used by all methods.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := start(binary(t), standalone(args))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

func standalone(args []string) func(int) []string {
	return func(port int) []string {
		return append([]string{
			"--port", strconv.Itoa(port),
			"--bind", "127.0.0.1",
			"--save", "",
			"--appendonly", "no",
			"--daemonize", "no",
			"--dir", ".",
		}, args...)
	}
}

// URL returns the server's address as redis.ParseURL understands it, password
// included.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr}
	if s.password != "" {
		u.User = url.UserPassword("", s.password)
	}
	return u.String()
}

// Options returns what a client needs to connect, without the commands that a client
// otherwise sends on each new connection and that Redis 7.0 does not know. The client
// keeps to the deadline of its ctx and dials a server that is down only once.
func (s *Server) Options() *redis.Options {
	return &redis.Options{
		Addr:                     s.Addr,
		Password:                 s.password,
		ContextTimeoutEnabled:    true,
		DialerRetries:            1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Client returns a client with [Server.Options] that is closed when the test ends.
func (s *Server) Client(t testing.TB) *redis.Client {
	client := redis.NewClient(s.Options())
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// PID returns the id of the process, which [Server.Restart] changes.
func (s *Server) PID() int { return s.current().PID }

// Running says whether there is a process, be it halted by [Server.Stop].
func (s *Server) Running() bool { return s.current().Running() }

// Kill ends the server with SIGKILL. When it returns, the process is gone.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.current().Kill()
}

// Restart starts the server again on its port, after killing it if it is running. It
// is empty then. A node of a cluster still knows its slots and the other nodes.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.current().Kill()
	if err := s.launch(s.args); err != nil {
		t.Fatalf("%s does not start again: %v", s.Addr, err)
	}
}

// Stop halts the server with SIGSTOP: it keeps its connections, and new ones are
// accepted by the kernel, but it answers nothing until [Server.Continue].
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.current().Stop(); err != nil {
		t.Fatalf("stop %s: %v", s.Addr, err)
	}
}

// Continue lets a server go on that was halted by [Server.Stop].
func (s *Server) Continue(t testing.TB) {
	t.Helper()
	if err := s.current().Continue(); err != nil {
		t.Fatalf("continue %s: %v", s.Addr, err)
	}
}

// Do runs one command over a connection of its own and returns the reply: string,
// int64, nil or []any. An error of any kind ends the test; see [Server.Try].
func (s *Server) Do(t testing.TB, args ...any) any {
	t.Helper()
	reply, err := s.Try(args...)
	if err != nil {
		t.Fatalf("%v on %s: %v", args, s.Addr, err)
	}
	return reply
}

// Try is [Server.Do] for commands that may fail. What the server itself says is an
// [Error].
func (s *Server) Try(args ...any) (any, error) {
	c, err := dial(s.Addr, s.password, time.Now().Add(patience))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	return c.do(args...)
}

// Commands returns how many commands the server has run since it was started, by all
// clients, those of [Server.Do] included. Only the INFO with which this method finds
// out is left out. Differences are what is of use:
//
//	before := server.Commands(t)
//	...
//	spent := server.Commands(t) - before
//
// As in INFO commandstats, what a script calls counts as well as the script, and
// PEXPIRE, CLIENT or HELLO count as much as GET. [Server.CommandsByName] tells which.
func (s *Server) Commands(t testing.TB) int64 {
	t.Helper()
	var sum int64
	for _, calls := range s.CommandsByName(t) {
		sum += calls
	}
	return sum
}

// CommandsByName is [Server.Commands] by the name of the command in small letters, as
// "get" or "client|tracking".
func (s *Server) CommandsByName(t testing.TB) map[string]int64 {
	t.Helper()
	s.mu.Lock() // so that no other INFO of ours comes between this one and its count
	defer s.mu.Unlock()
	info := s.Do(t, "INFO", "commandstats").(string)
	calls := make(map[string]int64)
	for line := range strings.Lines(info) {
		name, ok := strings.CutPrefix(line, "cmdstat_")
		if !ok {
			continue
		}
		name, rest, _ := strings.Cut(name, ":calls=")
		count, _, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			t.Fatalf("INFO commandstats has a line that is not understood: %q", line)
		}
		calls[name] = n
	}
	// This INFO is not in its own reply, those before it are.
	if calls["info"] -= s.infos; calls["info"] == 0 {
		delete(calls, "info")
	}
	s.infos++
	return calls
}

func (s *Server) current() *child.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// remove ends the process and takes its folder away.
func (s *Server) remove() {
	s.current().Kill()
	_ = os.RemoveAll(s.dir)
}

// start starts a server on a port that it finds free. options returns the command
// line for a port; paths in it are relative to the server's own folder.
func start(path string, options func(port int) []string) (*Server, error) {
	return startConfigured(path, "", options)
}

// startConfigured is start for a server that wants a configuration file: confName, with
// the content conf. Some servers write into it what they learn.
func startConfigured(path, conf string, options func(port int) []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return nil, err
	}
	s := &Server{path: path, dir: dir}
	// Between finding a port free and listening on it somebody else may take it.
	for range 20 {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		s.Addr = "127.0.0.1:" + strconv.Itoa(port)
		s.args = options(port)
		if err = os.WriteFile(filepath.Join(dir, confName), []byte(conf), 0o600); err != nil {
			break
		}
		s.password = option(s.args, "--requirepass")
		if err = s.launch(s.args); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// logTail returns the end of what the server wrote.
func (s *Server) logTail() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, logName))
	return string(text[max(0, len(text)-2000):])
}

// The files in a server's folder: what it writes to its standard output, and its
// configuration.
const (
	logName  = "log"
	confName = "redis.conf"
)

var errPortTaken = errors.New("the port was taken by somebody else")
