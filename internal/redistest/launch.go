package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

// freePort returns a port that nobody listens on, below the range from which Linux
// takes the ports of outgoing connections: in that range a client that dials again
// and again while the server is down would sooner or later be given the server's own
// port, and the server could not come back.
func freePort() (int, error) {
	const first, last = 20000, 32767
	var err error
	for range 100 {
		port := first + rand.IntN(last-first+1)
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d: %w", first, last, err)
}

// launch starts the process and waits until it answers. It returns errPortTaken if
// the process could not listen.
func (s *Server) launch(args []string) error {
	// A file and no pipe: a pipe needs a goroutine that reads it.
	log, err := os.Create(filepath.Join(s.dir, logName))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(s.path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	process, err := child.Start(cmd)
	if err != nil {
		return fmt.Errorf("redis-server does not start: %w", err)
	}
	if err := s.awaitAnswer(process); err != nil {
		process.Kill()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.infos = process, 1 // the one that was answered just now
	return nil
}

// awaitAnswer returns when the process answers, or has ended.
func (s *Server) awaitAnswer(process *child.Process) error {
	deadline := time.Now().Add(patience)
	pid := fmt.Sprintf("process_id:%d\r\n", process.PID)
	for {
		info, err := s.info(deadline)
		switch {
		case err == nil && strings.Contains(info, pid):
			return nil
		case err == nil:
			return errPortTaken // another server answers on it
		case !process.Running():
			if text := s.logTail(); strings.Contains(text, "already in use") {
				return errPortTaken
			} else {
				return fmt.Errorf("redis-server ended at once. It said:\n%s", text)
			}
		case time.Now().After(deadline):
			return fmt.Errorf("redis-server does not answer (%w). It said:\n%s", err, s.logTail())
		}
		// It takes a few milliseconds until the server listens, and nothing tells when.
		time.Sleep(500 * time.Microsecond)
	}
}

func (s *Server) info(deadline time.Time) (string, error) {
	c, err := dial(s.Addr, s.password, deadline)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	reply, err := c.do("INFO", "server")
	if err != nil {
		return "", err
	}
	text, ok := reply.(string)
	if !ok {
		return "", errors.New("INFO does not answer with a text")
	}
	return text, nil
}
