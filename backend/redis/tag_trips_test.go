package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// sent keeps what a client sends: round trips, each of one command or several, and tells
// of the first answer that is an error.
type sent struct {
	mu     sync.Mutex
	trips  [][]goredis.Cmder
	failed func(error)
}

func (s *sent) add(cmds ...goredis.Cmder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trips = append(s.trips, cmds)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, goredis.Nil) && s.failed != nil {
			s.failed(err)
		}
	}
}

// take returns what was sent since it was called last.
func (s *sent) take() [][]goredis.Cmder {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.trips = nil }()
	return s.trips
}

func (s *sent) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *sent) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		s.add(cmd)
		return err
	}
}

func (s *sent) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		s.add(cmds...)
		return err
	}
}

// keysIn returns the names of keys that a script was sent with.
func keysIn(cmd goredis.Cmder) (keys []string) {
	args := cmd.Args()
	if n, ok := args[min(2, len(args)-1)].(int); ok && strings.HasPrefix(cmd.Name(), "eval") {
		for _, key := range args[3 : 3+n] {
			keys = append(keys, key.(string))
		}
	}
	return keys
}

// Tags cost no round trips, be there one or ten thousand, and seen before or never.
func TestRoundTripsWithTags(t *testing.T) {
	opt := redistest.Shared(t).Options()
	opt.ReadTimeout = time.Minute // nothing is sent twice because the machine is busy
	client := goredis.NewClient(opt)
	defer client.Close()
	seen := new(sent)
	client.AddHook(seen)
	b := redis.New(client, redis.Config{Prefix: space(), LeaseTTL: time.Hour}) // nor are leases renewed
	defer b.Close()
	ctx := t.Context()
	tags := 0
	never := func(n int) []backend.Guard { // guards that nobody has used yet
		guards := []backend.Guard{{Region: "users"}}
		for range n {
			tags++
			guards = append(guards, usersTag(fmt.Sprint("tag ", tags)))
		}
		return guards
	}
	var thousand []string
	for i := range 1000 {
		thousand = append(thousand, fmt.Sprint("key ", i))
	}
	items := func(grants []backend.Grant, keys []backend.Key) (items []backend.Item) {
		for i, key := range keys {
			item := backend.Item{Key: key, Entry: &backend.Entry{Data: []byte("x")}, TTL: 24 * time.Hour}
			if grants != nil {
				item.Lease = grants[i].Lease
			}
			items = append(items, item)
		}
		return items
	}
	// create is what a region does to create values.
	create := func(guards []backend.Guard, names ...string) func() error {
		keys := keysOf(names...)
		return func() error {
			if err := b.Delete(ctx, keys); err != nil {
				return err
			}
			seen.take()
			if _, _, err := b.GetMulti(ctx, keys, guards); err != nil {
				return err
			}
			grants, before, err := b.Acquire(ctx, keys, guards)
			if err != nil {
				return err
			}
			all := items(grants, keys)
			after, err := b.Set(ctx, all, guards)
			if err != nil || all[len(all)-1].Err != nil {
				return errors.Join(err, all[len(all)-1].Err)
			}
			if !slices.Equal(before, after) || before[len(before)-1].Hard.IsZero() {
				t.Errorf("Acquire returned the stamps %x, and Set %x", before, after)
			}
			return nil
		}
	}
	renew := func(guards []backend.Guard) func() error {
		return func() error { return b.Renew(ctx, guards, true) }
	}
	known := never(3)
	for range 2 { // the server then knows the scripts, and the region's stamps are there
		_, err := b.Set(ctx, items(nil, keysOf("k")), known)
		if err = errors.Join(err, create(known, "k")(), create(known, "k", "l")(), renew(known)()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		want int
		do   func() error
	}{
		{"creation of one", 3, create(known, "k")},
		{"creation of one with new tags", 3, create(never(3), "k")},
		{"creation of one with ten thousand new tags", 3, create(never(10_000), "k")},
		{"creation of a thousand", 3, create(known, thousand...)},
		{"creation of a thousand with new tags", 3, create(never(3), thousand...)},
		{"Get", 1, func() error { _, err := b.Get(ctx, keysOf("k")[0], known); return err }},
		{"Get with ten thousand tags", 1, func() error { _, err := b.Get(ctx, keysOf("k")[0], never(10_000)); return err }},
		{"GetMulti without keys", 1, func() error { _, _, err := b.GetMulti(ctx, nil, known); return err }},
		{"Stamps", 1, func() error { _, err := b.Stamps(ctx, known); return err }},
		{"Stamps of new tags", 1, func() error { _, err := b.Stamps(ctx, never(3)); return err }},
		{"Set without leases", 2, func() error { _, err := b.Set(ctx, items(nil, keysOf("k", "l")), known); return err }},
		{"Renew", 1, renew(known)},
		{"Renew of ten thousand", 1, renew(never(9999))},
	} {
		seen.take()
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		// What keeps a process in its fleet is sent now and then, whatever is done.
		trips := slices.DeleteFunc(seen.take(), func(trip []goredis.Cmder) bool {
			return !slices.ContainsFunc(trip, func(cmd goredis.Cmder) bool { return strings.Contains(fmt.Sprint(cmd.Args()), "{users") })
		})
		if len(trips) != c.want {
			t.Errorf("%s: %d round trips, want %d", c.name, len(trips), c.want)
			for _, trip := range trips {
				t.Logf("%d commands, the last one %.200q, %v", len(trip), fmt.Sprint(trip[len(trip)-1].Args()), trip[len(trip)-1].Err())
			}
		}
	}

	// A Renew is one script for each region, and each script of very many begins with the
	// first guard.
	other := []backend.Guard{{Region: "posts", Tag: "any"}, {Region: "posts", Tag: "a"}}
	for _, c := range []struct {
		guards  []backend.Guard
		scripts int
	}{
		{known, 1}, {never(1023), 1}, {never(1024), 2}, {never(9999), 10},
		{append(slices.Clone(known), other...), 2},
		{[]backend.Guard{other[0], known[1], other[1], known[2]}, 2},
	} {
		seen.take()
		if err := b.Renew(ctx, c.guards, false); err != nil {
			t.Fatal(err)
		}
		trips := slices.DeleteFunc(seen.take(), func(trip []goredis.Cmder) bool { return len(keysIn(trip[0])) == 0 })
		if len(trips) != 1 || len(trips[0]) != c.scripts {
			t.Errorf("Renew of %d guards: %d round trips, the first of %d scripts; want one of %d", len(c.guards), len(trips), len(trips[0]), c.scripts)
		}
		first, named := map[string]string{}, map[string]bool{}
		for _, cmd := range trips[0] {
			keys := keysIn(cmd)
			region, _, _ := strings.Cut(keys[0], "}")
			if first[region] == "" {
				first[region] = keys[0]
			}
			if keys[0] != first[region] {
				t.Errorf("a script begins with %s, want the first guard, %s", keys[0], first[region])
			}
			for _, key := range keys {
				named[key] = true
			}
		}
		if len(named) != len(c.guards) {
			t.Errorf("%d guards were renewed, want %d", len(named), len(c.guards))
		}
	}
}
