package redistest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// option returns what follows name on a command line.
func option(args []string, name string) string {
	for i, arg := range args {
		if arg == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// startAll starts n servers at once, all or none.
func startAll(n int, start func(i int) (*Server, error)) ([]*Server, error) {
	servers, errs := make([]*Server, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { servers[i], errs[i] = start(i) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		return servers, nil
	}
	for _, s := range servers {
		if s != nil {
			s.remove()
		}
	}
	return nil, err
}

// poll calls try until it returns nil. Servers offer no event for what is polled here.
func poll(try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// has returns nil if the text that a server answers has want in it.
func has(server *Server, want string, command ...any) error {
	reply, err := server.Try(command...)
	if err != nil {
		return err
	}
	if text, _ := reply.(string); !strings.Contains(text, want) {
		return fmt.Errorf("%v of %s has no %q:\n%s", command, server.Addr, want, text)
	}
	return nil
}
