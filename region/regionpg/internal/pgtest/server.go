package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

// User is the superuser of each server.
const User = "tester"

// Server is a PostgreSQL server. Its methods are safe for concurrent use.
type Server struct {
	// Addr is the server's host and port. It stays the same over [Server.Restart].
	Addr string

	// Password is what [User] has to tell, a text of letters and digits.
	Password string

	bin string
	dir string

	mu      sync.Mutex
	process *child.Process
}

// Start starts a server and stops it when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start(folder(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

// URL returns the address of the database postgres, password included.
func (s *Server) URL() string { return s.URLAt(s.Addr) }

// URLAt is [Server.URL] by way of a proxy.
func (s *Server) URLAt(addr string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(User, s.Password), Host: addr, Path: "/postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

// Conn returns a connection that is closed when the test ends.
func (s *Server) Conn(t testing.TB) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		t.Fatalf("a connection to %s: %v", s.Addr, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Exec runs one statement, or several if there are no args, on a connection of its own.
func (s *Server) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL())
	if err == nil {
		_, err = conn.Exec(ctx, sql, args...)
		_ = conn.Close(ctx)
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Int runs a query that returns one number, on a connection of its own.
func (s *Server) Int(t testing.TB, sql string, args ...any) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL())
	if err == nil {
		err = conn.QueryRow(ctx, sql, args...).Scan(&n)
		_ = conn.Close(ctx)
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// Stop shuts the server down, which ends its connections. When it returns, the process
// is gone.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(os.Interrupt); err != nil { // fast shutdown
		t.Fatal(err)
	}
}

// Restart starts the server again on its port, after shutting it down if it is running.
// It has what it had.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	if err := s.launch(); err != nil {
		t.Fatalf("%s does not start again: %v", s.Addr, err)
	}
}

func start(bin string) (*Server, error) {
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, Password: rand.Text()}
	if err = s.initialize(); err == nil {
		// Between finding a port free and listening on it somebody else may take it.
		for range 20 {
			var port int
			if port, err = freePort(); err != nil {
				break
			}
			s.Addr = "127.0.0.1:" + strconv.Itoa(port)
			if err = s.launch(); !errors.Is(err, errPortTaken) {
				break
			}
		}
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

var errPortTaken = errors.New("the port was taken by somebody else")

// initialize makes an empty database.
func (s *Server) initialize() error {
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.Password), 0o600); err != nil {
		return err
	}
	process, err := s.run("initdb", "-D", s.data(), "-U", User, "--pwfile", password,
		"-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync")
	if err == nil {
		err = process.Wait()
	}
	if err != nil {
		return fmt.Errorf("initdb: %w. It said:\n%s", err, s.logTail())
	}
	return nil
}

// launch starts the server and waits until it answers. It returns errPortTaken if the
// process could not listen.
func (s *Server) launch() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	process, err := s.run("postgres", "-D", s.data(), "-h", "127.0.0.1", "-p", port,
		"-c", "unix_socket_directories=", // a path of a socket may be too long
		"-c", "fsync=off", "-c", "shared_buffers=8MB", "-c", "lc_messages=C", "-c", "log_timezone=UTC")
	if err != nil {
		return fmt.Errorf("postgres does not start: %w", err)
	}
	s.mu.Lock()
	s.process = process
	s.mu.Unlock()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		// Nobody else knows the password, so what answers is the server that was started.
		conn, err := pgx.Connect(context.Background(), s.URL()+"&connect_timeout=5")
		if err == nil {
			return conn.Close(context.Background())
		}
		if !process.Running() {
			text := s.logTail()
			if strings.Contains(text, "could not bind") {
				return errPortTaken
			}
			return fmt.Errorf("postgres ended at once. It said:\n%s", text)
		}
		if time.Now().After(deadline) {
			process.Kill()
			return fmt.Errorf("postgres does not answer (%w). It said:\n%s", err, s.logTail())
		}
	}
}

// run starts one of PostgreSQL's programs as a user whom it accepts, and gives that user
// what is in the folder.
func (s *Server) run(name string, args ...string) (*child.Process, error) {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	if err := asUser(cmd, s.dir); err != nil {
		return nil, err
	}
	// A file and no pipe: a pipe needs a goroutine that reads it.
	log, err := os.Create(filepath.Join(s.dir, logName))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	// Variables such as PGDATA are for other servers, and a locale may not be there.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.dir}
	return child.Start(cmd)
}

// stop ends the process with a signal, and with SIGKILL if that does not help. It does
// nothing to a process that has ended.
func (s *Server) stop(signal os.Signal) error {
	s.mu.Lock()
	process := s.process
	s.mu.Unlock()
	if process == nil || !process.Running() {
		return nil
	}
	// It is our child, and its id is not given to another before it has been waited for;
	// if that happens just now, FindProcess or Signal fails.
	if p, err := os.FindProcess(process.PID); err == nil {
		_ = p.Signal(signal)
	}
	select {
	case <-process.Done():
		return nil
	case <-time.After(patience):
		process.Kill()
		return fmt.Errorf("postgres did not end within %v after %v. It said:\n%s", patience, signal, s.logTail())
	}
}

// remove ends the process and takes its folder away.
func (s *Server) remove() {
	_ = s.stop(immediate)
	_ = os.RemoveAll(s.dir)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// logName is the file in the server's folder with what it writes.
const logName = "log"

// logTail returns the end of what was written.
func (s *Server) logTail() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, logName))
	return string(text[max(0, len(text)-2000):])
}

// freePort returns a port that nobody listens on, below the range from which Linux takes
// the ports of outgoing connections: in that range a client that dials again and again
// while the server is down would sooner or later be given the server's own port.
func freePort() (int, error) {
	const first, last = 20000, 32767
	var err error
	for range 100 {
		port := first + mathrand.IntN(last-first+1)
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d: %w", first, last, err)
}
