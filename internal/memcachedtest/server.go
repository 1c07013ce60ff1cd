package memcachedtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

// Server is a memcached. Its methods are safe for concurrent use.
type Server struct {
	// Addr is the server's host and port. It stays the same over [Server.Restart].
	Addr string

	path string
	args []string

	mu      sync.Mutex
	process *child.Process
}

// Start starts a memcached and stops it when the test ends. args are appended to its
// command line, such as "-m", "1": of two that contradict each other the last one
// counts.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := start(binary(t), args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.current().Kill() })
	return s
}

// StartSeveral is [Start] for n servers.
func StartSeveral(t testing.TB, n int, args ...string) []*Server {
	t.Helper()
	servers := make([]*Server, n)
	for i := range servers {
		servers[i] = Start(t, args...)
	}
	return servers
}

// URL returns the URL under which a backend opens the server.
func (s *Server) URL() string { return "memcached://" + s.Addr }

// PID returns the id of the process, which [Server.Restart] changes.
func (s *Server) PID() int { return s.current().PID }

// Kill ends the server with SIGKILL. When it returns, the process is gone.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.current().Kill()
}

// Restart starts the server again on its port, after killing it if it is running. It
// is empty then.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.current().Kill()
	if err := s.launch(); err != nil {
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

// Do sends one command line, with data behind it if there is some, over a connection of
// its own, and returns the answer up to the line that ends it, without that line's end.
func (s *Server) Do(t testing.TB, command string, data ...string) string {
	t.Helper()
	answer, err := ask(s.Addr, command, data...)
	if err != nil {
		t.Fatalf("%s on %s: %v", command, s.Addr, err)
	}
	return answer
}

// Stat returns a number from the server's statistics, such as "curr_items" or
// "curr_connections", which counts the connection of this call.
func (s *Server) Stat(t testing.TB, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(stat(s.Do(t, "stats"), name), 10, 64)
	if err != nil {
		t.Fatalf("%s has no number %s in its statistics", s.Addr, name)
	}
	return n
}

// Requests returns how many requests for keys the server has seen, each key of a read
// counted.
func (s *Server) Requests(t testing.TB) int64 {
	t.Helper()
	stats := s.Do(t, "stats")
	var sum int64
	for _, name := range []string{"cmd_get", "cmd_set", "cmd_touch", "delete_hits", "delete_misses"} {
		n, _ := strconv.ParseInt(stat(stats, name), 10, 64)
		sum += n
	}
	return sum
}

func stat(stats, name string) string {
	for line := range strings.Lines(stats) {
		if value, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func ask(addr, command string, data ...string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	text := command + "\r\n"
	for _, d := range data {
		text += d + "\r\n"
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	r := bufio.NewReader(c)
	var answer strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return answer.String(), err
		}
		word, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if word != "STAT" && word != "VALUE" && !inData(answer.String()) {
			return answer.String() + strings.TrimRight(line, "\r\n"), nil
		}
		answer.WriteString(line)
	}
}

// inData reports whether an answer ends with the line that announces a value, so that
// what follows is data. Values of tests have no line ends.
func inData(answer string) bool {
	lines := strings.Split(strings.TrimRight(answer, "\r\n"), "\n")
	return strings.HasPrefix(lines[len(lines)-1], "VALUE ")
}

func (s *Server) current() *child.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

var errPortTaken = errors.New("the port was taken by somebody else")

// start starts a server on a port that it finds free. The port is below those of
// outgoing connections, so that nobody gets it while the server is down for a moment.
func start(path string, args []string) (*Server, error) {
	const first, last = 20000, 32767
	var err error
	for range 100 {
		port := strconv.Itoa(first + rand.IntN(last-first+1))
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+port); err != nil {
			continue
		}
		_ = l.Close()
		s := &Server{Addr: "127.0.0.1:" + port, path: path}
		s.args = []string{"-l", "127.0.0.1", "-p", port, "-m", "64", "-U", "0", "-I", "1m"}
		if os.Getuid() == 0 {
			// It refuses to run as root unless it is told to. As another user it would
			// not die with this process: the kernel forgets that when a process
			// changes its user.
			s.args = append(s.args, "-u", "root")
		}
		s.args = append(s.args, args...)
		if err = s.launch(); err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d: %w", first, last, err)
}

// launch starts the process and waits until it answers.
func (s *Server) launch() error {
	cmd := exec.Command(s.path, s.args...)
	log, err := os.CreateTemp("", "memcachedtest-")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// The process writes into it still; nobody else needs its name.
	defer func() { _ = os.Remove(log.Name()) }()
	cmd.Stdout, cmd.Stderr = log, log
	process, err := child.Start(cmd)
	if err != nil {
		return fmt.Errorf("memcached does not start: %w", err)
	}
	if err := s.awaitAnswer(process, log); err != nil {
		process.Kill()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = process
	return nil
}

// awaitAnswer returns when the process answers, or has ended.
func (s *Server) awaitAnswer(process *child.Process, log *os.File) error {
	deadline := time.Now().Add(patience)
	for {
		stats, err := ask(s.Addr, "stats")
		switch pid := stat(stats, "pid"); {
		case err == nil && pid == strconv.Itoa(process.PID):
			return nil
		case err == nil:
			return errPortTaken // another server answers on it
		case !process.Running():
			text := make([]byte, 2000)
			n, _ := log.ReadAt(text, 0)
			if strings.Contains(string(text[:n]), "already in use") {
				return errPortTaken
			}
			return fmt.Errorf("memcached ended at once. It said:\n%s", text[:n])
		case time.Now().After(deadline):
			return fmt.Errorf("memcached does not answer: %w", err)
		}
		// It takes a few milliseconds until the server listens, and nothing tells when.
		time.Sleep(500 * time.Microsecond)
	}
}
