package redistest_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.SharedCluster(t)
	client := cluster.Client(t)
	used := make(map[*redistest.Server]int)
	for i := range 300 {
		key := fmt.Sprint("cluster-", i)
		if err := client.Set(t.Context(), key, i, 0).Err(); err != nil {
			t.Fatalf("SET %s: %v", key, err)
		}
		// The node itself takes the key without sending us elsewhere.
		node := cluster.NodeOf(t, key)
		if got := node.Do(t, "GET", key); got != fmt.Sprint(i) {
			t.Fatalf("%s has %v on the node that NodeOf returns, want %d", key, got, i)
		}
		used[node]++
	}
	if len(used) != 3 {
		t.Fatalf("300 keys are on %d nodes, want 3", len(used))
	}
}

func TestClusterLosesOneNode(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	client := cluster.Client(t)
	lost := cluster.NodeOf(t, "a")
	lost.Kill(t)
	for i := range 100 {
		key := fmt.Sprint("k", i)
		if cluster.NodeOf(t, key) == lost {
			continue
		}
		if err := client.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatalf("SET %s on a node that is alive: %v", key, err)
		}
	}
	lost.Restart(t)
	cluster.AwaitOK(t)
	if err := client.Get(t.Context(), "a").Err(); err != redis.Nil {
		t.Fatalf("GET on the restarted node: %v, want redis.Nil", err)
	}
}
