package redisurl

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

// ways are those in which commands reach a cluster.
var ways = map[string]func(ctx context.Context, c redis.UniversalClient, key string) (string, error){
	"get": func(ctx context.Context, c redis.UniversalClient, key string) (string, error) {
		return c.Get(ctx, key).Result()
	},
	"get in a pipeline": func(ctx context.Context, c redis.UniversalClient, key string) (string, error) {
		pipe := c.Pipeline()
		get := pipe.Get(ctx, key)
		_, _ = pipe.Exec(ctx)
		return get.Result()
	},
	"script": func(ctx context.Context, c redis.UniversalClient, key string) (string, error) {
		return redis.NewScript(`return redis.call("GET", KEYS[1])`).Run(ctx, c, []string{key}).Text()
	},
	"script in a pipeline, once": func(ctx context.Context, c redis.UniversalClient, key string) (string, error) {
		pipe := c.Pipeline()
		eval := once{redis.NewCmd(ctx, "eval", `return redis.call("GET", KEYS[1])`, 1, key)}
		_ = pipe.Process(ctx, eval)
		_, _ = pipe.Exec(ctx)
		return eval.Text()
	},
	"script, once": func(ctx context.Context, c redis.UniversalClient, key string) (string, error) {
		eval := once{redis.NewCmd(ctx, "eval", `return redis.call("GET", KEYS[1])`, 1, key)}
		_ = c.Process(ctx, eval)
		return eval.Text()
	},
}

// readAll reads key in every way, each with a client that was made before and knows
// only what it knew then.
func readAll(t *testing.T, when string, clients map[string]redis.UniversalClient, key, want string) {
	t.Helper()
	for way, read := range ways {
		got, err := read(t.Context(), clients[way], key)
		if errors.Is(err, redis.Nil) {
			got, err = "nothing", nil
		}
		if err != nil || got != want {
			t.Errorf("%s, %s: %q, %v; want %q", when, way, got, err, want)
		}
	}
}

// openAll opens a client for each way, and has it learn who serves which slot.
func openAll(t *testing.T, raw, key string) map[string]redis.UniversalClient {
	t.Helper()
	clients := map[string]redis.UniversalClient{}
	for way := range ways {
		clients[way] = open(t, raw)
		if err := clients[way].Get(t.Context(), key).Err(); err != nil && !errors.Is(err, redis.Nil) {
			t.Fatalf("%s: %v", way, err)
		}
	}
	return clients
}

func TestRedirectionsAreFollowed(t *testing.T) {
	cluster := redistest.StartCluster(t)
	const stayed, moved, absent = "{slot}stayed", "{slot}moved", "{slot}absent"
	from := cluster.NodeOf(t, stayed)
	to := cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	slot := from.Do(t, "CLUSTER", "KEYSLOT", stayed)
	fromID, toID := from.Do(t, "CLUSTER", "MYID"), to.Do(t, "CLUSTER", "MYID")
	from.Do(t, "SET", stayed, "here")
	from.Do(t, "SET", moved, "there")

	raw := "redis+cluster://" + strings.Join(cluster.Addrs, ",")
	before := openAll(t, raw, stayed)
	quiet := openAll(t, raw, stayed)

	// The slot is on its way: what has gone already, and what is not there, is asked
	// for at its destination.
	host, port, err := net.SplitHostPort(to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	from.Do(t, "MIGRATE", host, port, moved, 0, 5000)
	readAll(t, "during the move", before, stayed, "here")
	readAll(t, "during the move", before, moved, "there")
	readAll(t, "during the move", before, absent, "nothing")

	// The slot has moved, and nobody told the clients.
	from.Do(t, "MIGRATE", host, port, stayed, 0, 5000)
	to.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	from.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	readAll(t, "after the move", quiet, stayed, "here")
	readAll(t, "after the move", quiet, moved, "there")
	readAll(t, "after the move", before, absent, "nothing")

	// The routing tables of go-redis cost a large reply and keep to no deadline.
	for _, node := range cluster.Nodes {
		if n := node.CommandsByName(t)["command"]; n != 0 {
			t.Errorf("%s was asked for COMMAND %d times, want never", node.Addr, n)
		}
	}
}

func TestReplicaTakesOver(t *testing.T) {
	cluster := redistest.StartCluster(t, "--repl-diskless-sync-delay", "0")
	const key = "k"
	master := cluster.NodeOf(t, key)
	replica := replicaOf(t, cluster, master)
	master.Do(t, "SET", key, "v")
	if n := master.Do(t, "WAIT", 1, 10_000); n != int64(1) {
		t.Fatalf("%v replicas have the value, want 1", n)
	}
	raw := "redis+cluster://" + strings.Join(cluster.Addrs, ",") + "?read_timeout=200ms"

	// The old master tells who has taken over.
	clients := openAll(t, raw, key)
	replica.Do(t, "CLUSTER", "FAILOVER")
	await(t, "the replica has taken over", func() error { return replicates(t, replica, "role:master") })
	await(t, "the old master follows it", func() error { return replicates(t, master, "master_link_status:up") })
	readAll(t, "after a planned change of the master", clients, key, "v")
	master, replica = replica, master

	// Nobody at the old address tells. go-redis would ask nobody else for a minute.
	readSoon := func(when string) {
		t.Helper()
		begin := time.Now()
		for way, read := range ways {
			for {
				got, err := read(t.Context(), clients[way], key)
				if err == nil && got == "v" {
					break
				}
				if time.Since(begin) > 30*time.Second {
					t.Fatalf("%s, %s: still %q, %v after 30 s; want \"v\"", when, way, got, err)
				}
			}
		}
	}
	clients = openAll(t, raw, key)
	master.Stop(t)
	replica.Do(t, "CLUSTER", "FAILOVER", "TAKEOVER")
	readSoon("when the master hangs")
	master.Continue(t)
	await(t, "the old master follows the new one", func() error { return replicates(t, master, "master_link_status:up") })
	master, replica = replica, master

	clients = openAll(t, raw, key)
	master.Kill(t)
	replica.Do(t, "CLUSTER", "FAILOVER", "TAKEOVER")
	readSoon("when the master is dead")
}

// replicaOf starts a replica of master that is in step with it and known to all
// nodes of the cluster.
func replicaOf(t *testing.T, cluster *redistest.Cluster, master *redistest.Server) *redistest.Server {
	t.Helper()
	bus := freePort(t)
	replica := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-announce-ip", "127.0.0.1",
		"--cluster-node-timeout", "5000", "--cluster-require-full-coverage", "no")
	host, port, err := net.SplitHostPort(replica.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range cluster.Nodes {
		node.Do(t, "CLUSTER", "MEET", host, port, bus)
	}
	id := master.Do(t, "CLUSTER", "MYID").(string)
	await(t, "the replica knows its master", func() error {
		_, err := replica.Try("CLUSTER", "REPLICATE", id)
		return err
	})
	await(t, "the replica has caught up", func() error { return replicates(t, replica, "master_link_status:up") })
	for _, node := range cluster.Nodes {
		await(t, "all nodes know the replica", func() error {
			if nodes := node.Do(t, "CLUSTER", "NODES").(string); !strings.Contains(nodes, "slave "+id) {
				return errors.New(nodes)
			}
			return nil
		})
	}
	return replica
}

// replicates returns an error unless the server says want of its replication.
func replicates(t *testing.T, server *redistest.Server, want string) error {
	t.Helper()
	if info := server.Do(t, "INFO", "replication").(string); !strings.Contains(info, want) {
		return errors.New(info)
	}
	return nil
}

// await polls a server for what it tells nobody by itself.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// freePort returns a port on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
