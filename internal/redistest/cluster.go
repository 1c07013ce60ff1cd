package redistest

import (
	"fmt"
	"net"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const slots = 16384

// Cluster is a Redis cluster of three masters without replicas, each of which serves
// a third of the slots. Its methods are safe for concurrent use.
type Cluster struct {
	// Nodes are the masters in the order of their slots, Addrs their addresses.
	Nodes []*Server
	Addrs []string
}

// StartCluster starts a cluster, waits until every node sees it whole, and stops it
// when the test ends. args are appended to the command line of each node.
//
// It takes about two seconds, because a master waits that long before it believes
// that its cluster is well. The nodes go on serving their slots when one of them is
// gone (cluster-require-full-coverage no): without replicas one lost node would
// otherwise take the whole cluster down, where a cluster in production, which has
// replicas, lacks the slots of one node for a while.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c, err := startCluster(binary(t), args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	return c
}

// Options returns what a client needs to connect; see [Server.Options].
func (c *Cluster) Options() *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                    c.Addrs,
		Password:                 c.Nodes[0].password,
		ContextTimeoutEnabled:    true,
		DialerRetries:            1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Client returns a client with [Cluster.Options] that is closed when the test ends.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	client := redis.NewClusterClient(c.Options())
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// NodeOf returns the node that serves key.
func (c *Cluster) NodeOf(t testing.TB, key string) *Server {
	t.Helper()
	var failed error
	for _, node := range c.Nodes { // any that is alive knows
		reply, err := node.Try("CLUSTER", "KEYSLOT", key)
		if slot, ok := reply.(int64); ok {
			return c.Nodes[int(slot)*len(c.Nodes)/slots]
		}
		failed = err
	}
	t.Fatalf("no node of the cluster can tell the slot of %q: %v", key, failed)
	return nil
}

// AwaitOK waits until every node says that it sees the cluster whole, as after a
// [Server.Restart] of a node.
func (c *Cluster) AwaitOK(t testing.TB) {
	t.Helper()
	if err := c.awaitOK(); err != nil {
		t.Fatal(err)
	}
}

// Commands returns the sum of [Server.Commands] of the nodes.
func (c *Cluster) Commands(t testing.TB) int64 {
	t.Helper()
	var sum int64
	for _, node := range c.Nodes {
		sum += node.Commands(t)
	}
	return sum
}

func startCluster(path string, args []string) (*Cluster, error) {
	c := &Cluster{}
	var err error
	if c.Nodes, err = startAll(3, func(int) (*Server, error) { return start(path, clusterNode(args)) }); err != nil {
		return nil, err
	}
	for _, node := range c.Nodes {
		c.Addrs = append(c.Addrs, node.Addr)
	}
	if err = c.join(); err == nil {
		err = c.awaitOK()
	}
	if err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

func clusterNode(args []string) func(int) []string {
	return func(port int) []string {
		// The port of the cluster's own traffic is 10000 higher by default, among
		// the ports of outgoing connections. 0 leaves it at that.
		bus, _ := freePort()
		return append(standalone(nil)(port), append([]string{
			"--cluster-enabled", "yes",
			"--cluster-port", strconv.Itoa(bus),
			"--cluster-announce-ip", "127.0.0.1",
			"--cluster-node-timeout", "5000",
			"--cluster-require-full-coverage", "no",
		}, args...)...)
	}
}

// join gives each node its slots and makes the nodes known to each other.
func (c *Cluster) join() error {
	for i, node := range c.Nodes {
		// Ranges such that slot*n/slots is the node, which NodeOf relies on.
		first := (i*slots + len(c.Nodes) - 1) / len(c.Nodes)
		last := ((i+1)*slots+len(c.Nodes)-1)/len(c.Nodes) - 1
		commands := [][]any{
			{"CLUSTER", "ADDSLOTSRANGE", first, last},
			{"CLUSTER", "SET-CONFIG-EPOCH", i + 1},
		}
		// Every pair meets. The nodes would tell each other of the third one, but
		// that takes another second.
		for _, other := range c.Nodes[:i] {
			host, port, err := net.SplitHostPort(other.Addr)
			if err != nil {
				return err
			}
			commands = append(commands, []any{"CLUSTER", "MEET", host, port, option(other.args, "--cluster-port")})
		}
		for _, command := range commands {
			if _, err := node.Try(command...); err != nil {
				return fmt.Errorf("%v on %s: %w", command, node.Addr, err)
			}
		}
	}
	return nil
}

func (c *Cluster) awaitOK() error {
	for _, node := range c.Nodes {
		err := poll(func() error {
			// The state alone is well before all slots are known, since full
			// coverage is not required.
			for _, want := range []string{
				"cluster_state:ok\r\n",
				fmt.Sprintf("cluster_slots_ok:%d\r\n", slots),
				fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.Nodes)),
			} {
				if err := has(node, want, "CLUSTER", "INFO"); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("the cluster does not become well: %w", err)
		}
	}
	return nil
}

func (c *Cluster) remove() {
	for _, node := range c.Nodes {
		node.remove()
	}
}
