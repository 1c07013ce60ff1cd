package redistest

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// quorum is how many of the three sentinels have to agree that the master is down.
const quorum = 2

// Sentinel is a master with two replicas, watched by three sentinels that put a replica
// in the master's place when it is gone. Its methods are safe for concurrent use.
type Sentinel struct {
	// MasterName is the name under which the sentinels know the master: mymaster.
	MasterName string
	// Addrs are the addresses of the sentinels.
	Addrs []string
	// Sentinels are the sentinels, Nodes the servers: first the one that was the
	// master at the start, then its replicas.
	Sentinels []*Server
	Nodes     []*Server
}

// StartSentinel starts the six processes, waits until the sentinels know the master,
// the replicas and each other, and stops them when the test ends. It takes some three
// seconds. A master is taken for down after 600 ms without an answer. args are appended
// to the command lines of the three servers.
func StartSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{MasterName: "mymaster"}
	t.Cleanup(func() {
		for _, server := range slices.Concat(s.Sentinels, s.Nodes) {
			server.remove()
		}
	})
	if err := s.start(binary(t), args); err != nil {
		t.Fatal(err)
	}
	return s
}

// Options returns what a client needs to connect; see [Server.Options].
func (s *Sentinel) Options() *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName:            s.MasterName,
		SentinelAddrs:         s.Addrs,
		Password:              s.Nodes[0].password,
		ContextTimeoutEnabled: true,
		DialerRetries:         1,
		DisableIdentity:       true,
	}
}

// Client returns a client of whichever server is the master, with [Sentinel.Options].
// It is closed when the test ends.
func (s *Sentinel) Client(t testing.TB) *redis.Client {
	client := redis.NewFailoverClient(s.Options())
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Master returns the server that all sentinels take for the master. It waits while
// they do not agree, or while that server does not say so itself.
func (s *Sentinel) Master(t testing.TB) *Server {
	t.Helper()
	master, err := s.awaitMaster(nil)
	if err != nil {
		t.Fatal(err)
	}
	return master
}

// Failover makes the sentinels put a replica in the place of the master, which is well,
// and waits until [Sentinel.Master] is another. It returns the new one. The old one
// lives on and takes itself for a master for some ten seconds more, until the sentinels
// make it a replica: it is a server that a client must not go on writing to.
func (s *Sentinel) Failover(t testing.TB) *Server {
	t.Helper()
	old := s.Master(t)
	err := poll(func() error {
		// A sentinel that has just started, or has a failover under way, refuses.
		_, err := s.Sentinels[0].Try("SENTINEL", "FAILOVER", s.MasterName)
		return err
	})
	if err != nil {
		t.Fatalf("SENTINEL FAILOVER: %v", err)
	}
	return s.AwaitFailover(t, old)
}

// KillMaster kills the master with SIGKILL and returns it, without waiting for what
// follows; see [Sentinel.AwaitFailover].
func (s *Sentinel) KillMaster(t testing.TB) *Server {
	t.Helper()
	master := s.Master(t)
	master.Kill(t)
	return master
}

// AwaitFailover waits until another server than old is the master, and returns it.
func (s *Sentinel) AwaitFailover(t testing.TB, old *Server) *Server {
	t.Helper()
	master, err := s.awaitMaster(old)
	if err != nil {
		t.Fatal(err)
	}
	return master
}

func (s *Sentinel) start(path string, args []string) error {
	// No delay before a replica gets its data: five seconds by default.
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	master, err := start(path, standalone(args))
	if err != nil {
		return err
	}
	s.Nodes = append(s.Nodes, master)
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		return err
	}
	replicas, err := startAll(2, func(int) (*Server, error) {
		args := append([]string{"--replicaof", host + " " + port, "--masterauth", master.password}, args...)
		return start(path, standalone(args))
	})
	if err != nil {
		return err
	}
	s.Nodes = append(s.Nodes, replicas...)
	// A sentinel asks a master for its replicas when it meets it and then only every
	// ten seconds, so they have to be there.
	for _, replica := range replicas {
		err := poll(func() error { return has(replica, "master_link_status:up\r\n", "INFO", "replication") })
		if err != nil {
			return err
		}
	}
	if s.Sentinels, err = startAll(3, func(int) (*Server, error) { return startSentinel(path, s.MasterName, host, port, master.password) }); err != nil {
		return err
	}
	for _, sentinel := range s.Sentinels {
		s.Addrs = append(s.Addrs, sentinel.Addr)
	}
	return poll(s.complete)
}

func startSentinel(path, name, host, port, password string) (*Server, error) {
	lines := []string{
		fmt.Sprintf("sentinel monitor %s %s %s %d", name, host, port, quorum),
		fmt.Sprintf("sentinel down-after-milliseconds %s 600", name),
		fmt.Sprintf("sentinel failover-timeout %s 5000", name),
	}
	if password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", name, password))
	}
	return startConfigured(path, strings.Join(lines, "\n")+"\n", func(port int) []string {
		return []string{confName, "--sentinel", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", "."}
	})
}

// complete says what the sentinels do not know yet.
func (s *Sentinel) complete() error {
	for _, sentinel := range s.Sentinels {
		if _, err := sentinel.Try("SENTINEL", "CKQUORUM", s.MasterName); err != nil {
			return err
		}
		reply, err := sentinel.Try("SENTINEL", "MASTER", s.MasterName)
		if err != nil {
			return err
		}
		want := map[string]string{"flags": "master", "num-slaves": "2", "num-other-sentinels": "2"}
		if err := lacks(sentinel, reply, want); err != nil {
			return err
		}
		if reply, err = sentinel.Try("SENTINEL", "REPLICAS", s.MasterName); err != nil {
			return err
		}
		replicas, _ := reply.([]any)
		for _, replica := range replicas {
			want := map[string]string{"flags": "slave", "master-link-status": "ok"}
			if err := lacks(sentinel, replica, want); err != nil {
				return err
			}
		}
	}
	return nil
}

// lacks says which of the wanted fields a reply of names and values does not have.
func lacks(server *Server, reply any, want map[string]string) error {
	list, _ := reply.([]any)
	got := make(map[any]any)
	for pair := range slices.Chunk(list, 2) {
		got[pair[0]] = pair[len(pair)-1]
	}
	for name, value := range want {
		if got[name] != value {
			return fmt.Errorf("sentinel %s has %s %v of %v, want %s", server.Addr, name, got[name], got["name"], value)
		}
	}
	return nil
}

// awaitMaster waits until the sentinels agree on a master that is not the old one, and
// which knows that it is one.
func (s *Sentinel) awaitMaster(old *Server) (master *Server, err error) {
	err = poll(func() error {
		var addrs []string
		for _, sentinel := range s.Sentinels {
			if !sentinel.Running() {
				continue
			}
			reply, err := sentinel.Try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.MasterName)
			if err != nil {
				return err
			}
			pair, _ := reply.([]any)
			if len(pair) != 2 {
				return fmt.Errorf("sentinel %s knows no master", sentinel.Addr)
			}
			addrs = append(addrs, fmt.Sprintf("%v:%v", pair[0], pair[1]))
		}
		if len(slices.Compact(slices.Clone(addrs))) != 1 {
			return fmt.Errorf("the sentinels do not agree on the master: %v", addrs)
		}
		if old != nil && addrs[0] == old.Addr {
			return fmt.Errorf("%s is still the master", old.Addr)
		}
		i := slices.IndexFunc(s.Nodes, func(node *Server) bool { return node.Addr == addrs[0] })
		if i < 0 {
			return fmt.Errorf("the sentinels take %s for the master, which is none of the servers", addrs[0])
		}
		master = s.Nodes[i]
		return has(master, "role:master\r\n", "INFO", "replication")
	})
	return master, err
}
