package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	backendredis "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/lock"
	"github.com/dogpile-go/dogpile/lock/redis"
)

// awkward are keys that end or leave empty what stands between the braces, or look
// like one that was escaped.
var awkward = []string{"", "}", "}}", "}a", "{", "{}", "}{", "{a}", "a}", "a{b}c", "%", "%%", "%}", "%}a", "%a", "a%", ":", "\x00"}

// stored returns the names of all keys that begin with prefix.
func stored(t testing.TB, server *redistest.Server, prefix string) []string {
	t.Helper()
	var names []string
	for _, name := range server.Do(t, "KEYS", prefix+"*").([]any) {
		names = append(names, name.(string))
	}
	return names
}

func TestNamesOfLocks(t *testing.T) {
	server := redistest.Shared(t)
	prefix := space(t)
	l := open(t, server.Client(t), redis.Config{Prefix: prefix})
	for key, want := range map[string]string{
		"users:user:42": prefix + ":mutex:{users:user:42}",
		"":              prefix + ":mutex:{%}",
		"}a":            prefix + ":mutex:{%}a}",
	} {
		lease := acquire(t, l, key)
		if got := stored(t, server, prefix); len(got) != 1 || got[0] != want {
			t.Errorf("the lock of %q is stored under %q, want %q", key, got, want)
		}
		if got := server.Do(t, "GET", want); got != lease.Token() {
			t.Errorf("the lock of %q holds %q, want the token of its lease, %q", key, got, lease.Token())
		}
		if err := lease.Release(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAwkwardKeys(t *testing.T) {
	check := func(t *testing.T, a, b *redis.Locker) {
		for _, key := range awkward {
			if got := acquire(t, a, key).Key(); got != key {
				t.Errorf("the lease of %q says that its key is %q", key, got)
			}
		}
		for _, key := range awkward {
			refused(t, b, key)
		}
		if err := b.Void(within(t), awkward...); err != nil {
			t.Fatal(err)
		}
		for _, key := range awkward {
			acquire(t, b, key)
		}
	}
	t.Run("Standalone", func(t *testing.T) {
		server := redistest.Shared(t)
		a, b := pair(t, clients(t, server), redis.Config{})
		check(t, a, b)
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		a, b := pair(t, func() goredis.UniversalClient { return cluster.Client(t) }, redis.Config{})
		check(t, a, b)
	})
}

// TestSlots looks where the server itself puts a lock and the value that a backend of
// the same prefix keeps under that key.
func TestSlots(t *testing.T) {
	server := redistest.SharedCluster(t)
	prefix := space(t)
	b := backendredis.New(server.Client(t), backendredis.Config{Prefix: prefix})
	defer b.Close()
	l := open(t, server.Client(t), redis.Config{Prefix: prefix})
	for _, region := range []string{"users", "", "}", "}a", "%", "%}"} {
		for _, name := range append(awkward, "user:42") {
			key := backend.Key{Region: region, Name: name}
			items := []backend.Item{{Key: key, Entry: &backend.Entry{Data: []byte("value")}}}
			if _, err := b.Set(within(t), items, nil); err != nil || items[0].Err != nil {
				t.Fatal(err, items[0].Err)
			}
			lease := acquire(t, l, key.String())
			// Besides them there are notes, which scripts use together with values.
			var all []string
			var slots []any
			for _, node := range server.Nodes {
				for _, name := range stored(t, node, prefix) {
					if strings.HasPrefix(name, prefix+":note:") {
						continue
					}
					all = append(all, name)
					slots = append(slots, node.Do(t, "CLUSTER", "KEYSLOT", name))
				}
			}
			if len(all) != 2 || slots[0] != slots[1] {
				t.Errorf("value and lock of %q are %q in slots %v, want two keys in one slot", key, all, slots)
			}
			if err := lease.Release(within(t)); err != nil {
				t.Fatal(err)
			}
			if err := b.Delete(within(t), []backend.Key{key}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBesideABackend takes the lease of a key in a backend and the lock of that key,
// which have nothing to do with each other.
func TestBesideABackend(t *testing.T) {
	server := redistest.Shared(t)
	prefix := space(t)
	b := backendredis.New(server.Client(t), backendredis.Config{Prefix: prefix})
	defer b.Close()
	l := open(t, server.Client(t), redis.Config{Prefix: prefix})
	key := backend.Key{Region: "users", Name: "user:42"}
	lease := acquire(t, l, key.String())
	grants, _, err := b.Acquire(within(t), []backend.Key{key}, nil)
	if err != nil || grants[0].Lease == nil {
		t.Fatalf("Acquire beside a lock of the same key = %v, %v; want the lease", grants, err)
	}
	if err := b.Delete(within(t), []backend.Key{key}); err != nil {
		t.Fatal(err)
	}
	awaitLoss(t, grants[0].Lease, "the key was deleted")
	if refused(t, l, key.String()); isLost(lease) {
		t.Error("a backend's Delete has voided a lock")
	}
	if _, _, err := b.Acquire(within(t), []backend.Key{key}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Void(within(t), key.String()); err != nil {
		t.Fatal(err)
	}
	awaitLoss(t, lease, "it was voided")
	if grants, _, err := b.Acquire(within(t), []backend.Key{key}, nil); err != nil || grants[0].Lease != nil {
		t.Errorf("Acquire = %v, %v after a lock was voided; want the lease to be held still", grants, err)
	}
}

func TestForeignKeys(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, server.Client(t), redis.Config{Prefix: "foreign"})
	server.Do(t, "HSET", "foreign:mutex:{key}", "field", "value")
	_, err := l.TryAcquire(within(t), "key")
	if !errors.Is(err, redis.ErrForeign) || !strings.Contains(err.Error(), "foreign:mutex:{key}") {
		t.Errorf("TryAcquire of a key of another type = %v, want ErrForeign with its name", err)
	}
	if err := l.Void(within(t), "key"); err != nil {
		t.Fatal(err)
	}
	acquire(t, l, "key")
}

// TestVoidOfMany wants one round trip for a thousand locks.
func TestVoidOfMany(t *testing.T) {
	const n = 2500
	check := func(t *testing.T, a, b *redis.Locker) {
		keys := make([]string, n)
		leases := make([]lock.Lease, 0, n/100)
		for i := range keys {
			keys[i] = fmt.Sprint("key ", i)
			if i%100 == 0 {
				leases = append(leases, acquire(t, a, keys[i]))
			}
		}
		if err := b.Void(within(t), keys...); err != nil {
			t.Fatal(err)
		}
		for _, lease := range leases {
			awaitLoss(t, lease, "it was voided")
			acquire(t, b, lease.Key())
		}
	}
	t.Run("Standalone", func(t *testing.T) {
		server := redistest.Start(t)
		a, b := pair(t, clients(t, server), redis.Config{})
		check(t, a, b)
		if calls := server.CommandsByName(t)["unlink"]; calls != 3 {
			t.Errorf("%d UNLINK commands for %d keys, want 3", calls, n)
		}
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		a, b := pair(t, func() goredis.UniversalClient { return cluster.Client(t) }, redis.Config{})
		check(t, a, b)
	})
}

func TestVoidWithoutKeys(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, server.Client(t), redis.Config{})
	if err := l.Void(context.Background()); err != nil {
		t.Errorf("Void without keys = %v, want nil", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Void(context.Background()); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("Void without keys after Close = %v, want lock.ErrClosed", err)
	}
}
