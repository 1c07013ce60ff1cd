package redistest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestSentinel(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	first := sentinel.Master(t)
	if first != sentinel.Nodes[0] {
		t.Fatalf("the master is %s, want the first node %s", first.Addr, sentinel.Nodes[0].Addr)
	}
	client := sentinel.Client(t)
	if err := client.Set(t.Context(), "k", "v", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if got := first.Do(t, "GET", "k"); got != "v" {
		t.Fatalf("the first master has %v, want what the client set", got)
	}

	second := sentinel.Failover(t)
	if second == first || !first.Running() {
		t.Fatalf("after a failover the master is %s, and the old one is running: %v; want another one, and true", second.Addr, first.Running())
	}
	if role := second.Do(t, "INFO", "replication").(string); !strings.Contains(role, "role:master") {
		t.Fatalf("the new master says\n%s", role)
	}

	killed := sentinel.KillMaster(t)
	if killed != second || killed.Running() {
		t.Fatalf("KillMaster killed %s, running: %v; want %s, dead", killed.Addr, killed.Running(), second.Addr)
	}
	third := sentinel.AwaitFailover(t, killed)
	if third == second {
		t.Fatal("the master is still the one that was killed")
	}
	// The client gets there as well, after an error or two.
	for deadline := time.Now().Add(30 * time.Second); client.Set(t.Context(), "k", "w", time.Minute).Err() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the client does not find the new master")
		}
	}
	if got := third.Do(t, "GET", "k"); got != "w" {
		t.Fatalf("the third master has %v, want what the client set", got)
	}
}

func TestSentinelWithPassword(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t, "--requirepass", "secret")
	if err := sentinel.Client(t).Set(t.Context(), "k", "v", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
}
