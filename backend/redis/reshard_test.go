package redis_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// A slot moves from one server of a cluster to another while its keys are read, set and
// deleted. What cannot be done meanwhile is done when it has moved.
func TestFaultResharding(t *testing.T) {
	cluster := redistest.StartCluster(t)
	prefix := space()
	var fleet [2]process
	for i := range fleet {
		fleet[i] = joinOn(t, redis.New(cluster.Client(t), redis.Config{Prefix: prefix}), prefix)
	}
	p, other := fleet[0], fleet[1]
	ctx := t.Context()
	for round := range 3 {
		key := fmt.Sprint("moving", round)
		value := prefix + ":{users:" + key + "}"
		from := cluster.NodeOf(t, value)
		to := cluster.Nodes[0]
		if to == from {
			to = cluster.Nodes[1]
		}
		slot := from.Do(t, "CLUSTER", "KEYSLOT", value)
		id := func(s *redistest.Server) any { return s.Do(t, "CLUSTER", "MYID") }
		set := func(v string) {
			t.Helper()
			if err := region.Set(ctx, p.Region, key, v); err != nil {
				t.Errorf("Set = %v", err)
			}
			other.finds(t, key, v)
		}
		works := func(when string) {
			t.Helper()
			set(when)
			if err := other.Delete(ctx, key); err != nil {
				t.Errorf("%s: Delete = %v", when, err)
			}
			// Somebody waits on one side for what the other side creates.
			shortly, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			held, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := region.GetOrCreate(ctx, p.Region, key, func(context.Context) (string, error) {
					close(held)
					<-release
					return when, nil
				})
				done <- err
			}()
			<-held
			go func() {
				// Most often the other side waits by then.
				_ = other.b.Wait(shortly, keysOf(key))
				close(release)
			}()
			other.finds(t, key, when)
			if err := <-done; err != nil {
				t.Errorf("%s: GetOrCreate = %v", when, err)
			}
		}
		works("before")
		// The value is here, and a lock would be there: what needs both has to wait
		// until the slot has moved. Reads go on.
		set("before")
		to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
		from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
		waits := make(chan error, 2)
		go func() { waits <- region.Set(ctx, p.Region, key, "on its way") }()
		go func() { waits <- other.Delete(ctx, key) }()
		other.finds(t, key, "before")
		host, port, _ := net.SplitHostPort(to.Addr)
		for _, name := range from.Do(t, "CLUSTER", "GETKEYSINSLOT", slot, 100).([]any) {
			from.Do(t, "MIGRATE", host, port, name, 0, 5000)
		}
		other.finds(t, key, "before")
		for _, node := range cluster.Nodes {
			node.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", id(to))
		}
		for range 2 {
			if err := <-waits; err != nil {
				t.Errorf("while the slot moved: %v", err)
			}
		}
		works("after")
	}
	for _, p := range fleet {
		p.fine(t)
	}
}

func keysOf(names ...string) (keys []backend.Key) {
	for _, name := range names {
		keys = append(keys, backend.Key{Region: "users", Name: name})
	}
	return keys
}
