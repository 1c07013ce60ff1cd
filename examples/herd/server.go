package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// server is a redis-server that this program has started. It listens on loopback
// only and writes nothing to disk.
type server struct {
	path string
	pid  int
	url  string

	command *exec.Cmd
	ended   chan struct{}
}

var errNoServer = errors.New("there is no Redis to use: install one (apt-get install redis-server), or pass -redis redis://host:6379")

// startServer starts a redis-server on a free port and waits until it answers.
func startServer(ctx context.Context) (*server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errNoServer
	}
	// Somebody else may take the port before the server does.
	for range 3 {
		var s *server
		if s, err = startOn(ctx, path); err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func startOn(ctx context.Context, path string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{
		path:    path,
		url:     fmt.Sprintf("redis://127.0.0.1:%d", port),
		command: exec.Command(path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no"),
		ended:   make(chan struct{}),
	}
	dieWithParent(s.command)
	started := make(chan error)
	go func() {
		// What dieWithParent asks for is to die with the thread that starts the
		// server. Locked to this goroutine, the thread lives as long as it is needed.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.command.Start()
		started <- err
		if err == nil {
			_ = s.command.Wait() // how it ended does not matter
			close(s.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	s.pid = s.command.Process.Pid
	if err := s.await(ctx, port); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// await returns when it is this server that answers on the port.
func (s *server) await(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := goredis.NewClient(&goredis.Options{
		Addr:          net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		DialerRetries: 1,
	})
	defer func() { _ = client.Close() }()
	for {
		info, err := client.Info(ctx, "server").Result()
		if err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.pid)) {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s ended at once; start one yourself and pass -redis", s.path)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.path, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stop ends the server. There is nothing in it that would have to be saved.
func (s *server) stop() {
	_ = s.command.Process.Kill() // it fails only if the server has ended
	<-s.ended
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
