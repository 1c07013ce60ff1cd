package redis_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// lateStamps is late with a backend instead of a region, and with all stamps that there
// have been.
type lateStamps struct {
	late
	do      func(args ...any) any
	through *redis.Backend // the one whose requests go astray
	direct  *redis.Backend
	guards  []backend.Guard // a region, what is renewed with every tag, and a tag
	ever    map[backend.Stamp]bool
}

// look reads the stamps, and checks that each is the one of before or one that there has
// never been. Absent ones are nobody's.
func (l *lateStamps) look(when string, before []backend.Stamps) []backend.Stamps {
	l.Helper()
	_, now, err := l.direct.GetMulti(l.Context(), nil, l.guards)
	if err != nil {
		l.Fatal(err)
	}
	for i, s := range now {
		for j, stamp := range []backend.Stamp{s.Hard, s.Soft} {
			same := before != nil && stamp == []backend.Stamp{before[i].Hard, before[i].Soft}[j]
			if !same && l.ever[stamp] && !stamp.IsZero() {
				l.Errorf("%s, guard %d has a stamp that it had long ago", when, i)
			}
			l.ever[stamp] = true
		}
	}
	return now
}

// renew invalidates all guards.
func (l *lateStamps) renew(b *redis.Backend, soft bool) {
	l.Helper()
	if err := b.Renew(l.Context(), l.guards, soft); err != nil {
		l.Fatal(err)
	}
}

// evict makes the server forget the stamps.
func (l *lateStamps) evict() {
	l.Helper()
	for _, name := range []string{":stamp:{users}", ":stamp:{users}:any", ":stamp:{users}:a"} {
		l.do("DEL", l.p.prefix+name)
	}
}

func (l *lateStamps) must(_ any, err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// What is late about stamps only invalidates, or does nothing.
func TestFaultLateRequestsAboutStamps(t *testing.T) {
	const about = ":stamp:{users}:a"
	create := map[string]func(*lateStamps){
		"Stamps": func(l *lateStamps) { l.must(l.through.Stamps(l.Context(), l.guards)) },
		"Acquire": func(l *lateStamps) {
			grants, _, err := l.through.Acquire(l.Context(), keysOf("k"), l.guards)
			l.must(nil, errors.Join(err, grants[0].Lease.Release(l.Context())))
		},
		"Acquire of several": func(l *lateStamps) {
			grants, _, err := l.through.Acquire(l.Context(), keysOf("k", "l"), l.guards)
			l.must(nil, errors.Join(err, grants[0].Lease.Release(l.Context()), grants[1].Lease.Release(l.Context())))
		},
	}
	cases := map[string]func(*lateStamps){
		"Renew": func(l *lateStamps) {
			var first []backend.Stamps
			for _, soft := range []bool{false, true} {
				first = l.look("at first", first)
				l.astray(1, "", "evalsha", about)
				l.renew(l.through, soft)
				second := l.look("after Renew", first)
				l.renew(l.direct, soft)
				third := l.look("after another Renew", second)
				l.deliver()
				now := l.look("after the late one", third)
				for i, last := range now {
					if soft && last.Hard != first[i].Hard || !soft && last.Soft != first[i].Soft {
						l.Errorf("Renew with soft = %v changed the other stamp of guard %d", soft, i)
					}
					if soft && (second[i].Soft == first[i].Soft || third[i].Soft == second[i].Soft) || !soft && (second[i].Hard == first[i].Hard || third[i].Hard == second[i].Hard) {
						l.Errorf("Renew with soft = %v left guard %d as it was", soft, i)
					}
				}
				first = now
			}
		},
		"Renew of what is not there any more": func(l *lateStamps) {
			l.astray(1, "", "evalsha", about)
			l.renew(l.through, false)
			l.evict()
			l.deliver()
			now := l.look("after the late one", nil)
			if now[0] == (backend.Stamps{}) || now[1] != (backend.Stamps{}) || now[2] != (backend.Stamps{}) {
				l.Errorf("the late Renew left %x, want new stamps of the region and none of tags", now)
			}
		},
		"Set": func(l *lateStamps) {
			grants, before, err := l.through.Acquire(l.Context(), keysOf("k"), l.guards)
			l.must(nil, err)
			items := []backend.Item{{Key: keysOf("k")[0], Entry: &backend.Entry{Data: []byte("made")}, Lease: grants[0].Lease}}
			l.astray(1, "", "evalsha", about, "made")
			after, err := l.through.Set(l.Context(), items, l.guards)
			l.must(nil, errors.Join(err, items[0].Err))
			for i := range l.guards {
				if after[i] != before[i] {
					l.Errorf("Set returned %x for guard %d, want %x", after[i], i, before[i])
				}
			}
			l.must(nil, l.direct.Delete(l.Context(), keysOf("k")))
			l.evict()
			l.deliver()
			for i, s := range l.look("after the late one", nil) {
				if s != (backend.Stamps{}) {
					l.Errorf("a late Set has created the stamps of guard %d", i)
				}
			}
		},
	}
	for name, create := range create {
		cases[name+", before an invalidation"] = func(l *lateStamps) {
			l.evict()
			l.astray(1, "", "evalsha", about)
			create(l)
			first := l.look("when they were created", nil)
			l.renew(l.direct, false)
			second := l.look("after Renew", first)
			l.deliver()
			for i, s := range l.look("after the late one", second) {
				if s != second[i] {
					l.Errorf("what creates stamps has changed those of guard %d", i)
				}
			}
		}
		cases[name+", before they are gone"] = func(l *lateStamps) {
			l.evict()
			l.astray(1, "", "evalsha", about)
			create(l)
			l.look("when they were created", nil)
			l.evict()
			l.deliver()
			for i, s := range l.look("after the late one", nil) {
				if s == (backend.Stamps{}) && i > 0 {
					l.Errorf("guard %d has no stamps: was the request not late?", i)
				}
			}
		}
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			server := redistest.Shared(t)
			proxy, prefix := faultproxy.New(t, server.Addr), space()
			open := func(addr string) *redis.Backend {
				opt := server.Options()
				opt.Addr, opt.MaxRetries, opt.ContextTimeoutEnabled = addr, -1, true
				client := goredis.NewClient(opt)
				b := redis.New(client, redis.Config{Prefix: prefix})
				t.Cleanup(func() {
					_ = b.Close()
					_ = client.Close()
				})
				return b
			}
			l := &lateStamps{
				late:    late{T: t, proxy: proxy, p: process{prefix: prefix}},
				do:      func(args ...any) any { return server.Do(t, args...) },
				through: open(proxy.Addr), direct: open(server.Addr),
				guards: []backend.Guard{{Region: "users"}, usersTag("any"), usersTag("a")},
				ever:   map[backend.Stamp]bool{},
			}
			// The server knows the scripts.
			for _, b := range []*redis.Backend{l.through, l.direct} {
				for _, keys := range [][]backend.Key{keysOf("k"), keysOf("k", "l")} {
					grants, _, err := b.Acquire(t.Context(), keys, l.guards)
					l.must(nil, err)
					var items []backend.Item
					for i := range grants {
						items = append(items, backend.Item{Key: keys[i], Entry: &backend.Entry{Data: []byte("x")}, Lease: grants[i].Lease})
					}
					l.must(b.Set(t.Context(), items, l.guards))
					l.must(nil, b.Delete(t.Context(), keys))
				}
				l.renew(b, false)
			}
			run(l)
		})
	}
}

// A script that is executed twice, whatever repeats it, does not make the same stamps twice.
func TestScriptsMakeOtherStampsEachTime(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client(t)
	seen := new(sent)
	client.AddHook(seen)
	prefix := space()
	b := redis.New(client, redis.Config{Prefix: prefix, LeaseTTL: time.Minute})
	defer b.Close()
	guards := []backend.Guard{{Region: "users"}, usersTag("any"), usersTag("a")}
	evict := func() {
		for _, name := range []string{"", ":any", ":a"} {
			server.Do(t, "DEL", prefix+":stamp:{users}"+name)
		}
	}
	for name, do := range map[string]func() error{
		"Stamps": func() error { _, err := b.Stamps(t.Context(), guards); return err },
		"Acquire": func() error {
			grants, _, err := b.Acquire(t.Context(), keysOf("k"), guards)
			if err == nil {
				err = grants[0].Lease.Release(t.Context())
			}
			return err
		},
		"Renew": func() error { return b.Renew(t.Context(), guards, true) },
	} {
		if _, err := b.Stamps(t.Context(), guards); err != nil {
			t.Fatal(err)
		}
		if name != "Renew" {
			evict()
		}
		seen.take()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		var script []any
		for _, trip := range seen.take() {
			for _, cmd := range trip {
				if len(keysIn(cmd)) >= len(guards) {
					script = cmd.Args()
				}
			}
		}
		ever := make(map[backend.Stamp]bool)
		for range 3 {
			_, now, err := b.GetMulti(t.Context(), nil, guards)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range now {
				if s.Soft.IsZero() || ever[s.Soft] {
					t.Errorf("%s, executed again, made the stamp %x of guard %d, which there has been before, or none", name, s.Soft, i)
				}
				ever[s.Soft] = true
			}
			if name != "Renew" {
				evict()
			}
			server.Do(t, "DEL", prefix+":lock:{users:k}")
			server.Do(t, script...)
		}
	}
}

// The stamps of a region move from one server of a cluster to another, one by one. All that
// is done with them goes on meanwhile.
func TestFaultReshardingOfStamps(t *testing.T) {
	cluster := redistest.StartCluster(t)
	client := cluster.Client(t)
	seen := new(sent)
	client.AddHook(seen)
	prefix := space()
	b := redis.New(client, redis.Config{Prefix: prefix})
	defer b.Close()
	ctx := t.Context()
	guards := []backend.Guard{{Region: "users"}, usersTag("any"), usersTag("a"), usersTag("b")}
	late := append(guards[:4:4], usersTag("late"))
	first, err := b.Stamps(ctx, guards)
	if err != nil {
		t.Fatal(err)
	}
	moved := prefix + ":stamp:{users}:any"
	from := cluster.NodeOf(t, moved)
	to := cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	slot := from.Do(t, "CLUSTER", "KEYSLOT", moved)
	id := func(s *redistest.Server) any { return s.Do(t, "CLUSTER", "MYID") }
	to.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
	from.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
	host, port, _ := net.SplitHostPort(to.Addr)
	from.Do(t, "MIGRATE", host, port, moved, 0, 5000)
	moving := 0
	seen.failed = func(err error) {
		if strings.HasPrefix(err.Error(), "TRYAGAIN") {
			moving++
		}
	}
	// Of the guards one is here and some are there, and one is nowhere yet.
	var name int
	works := func() {
		t.Helper()
		name++
		keys := keysOf(strings.Repeat("k", name), strings.Repeat("l", name))
		_, before, err := b.GetMulti(ctx, nil, guards)
		if err != nil {
			t.Fatal(err)
		}
		for i := range before {
			if before[i] != first[i] {
				t.Errorf("guard %d has other stamps than before", i)
			}
		}
		grants, captured, err := b.Acquire(ctx, keys, late)
		if err != nil {
			t.Fatalf("Acquire: %v", err)
		}
		items := []backend.Item{{Key: keys[0], Entry: &backend.Entry{Data: []byte("x")}, Lease: grants[0].Lease, TTL: 24 * time.Hour}, {Key: keys[1], Lease: grants[1].Lease}}
		after, err := b.Set(ctx, items, late)
		if err != nil || items[0].Err != nil || items[1].Err != nil {
			t.Fatalf("Set = %v, %v, %v", err, items[0].Err, items[1].Err)
		}
		stamps, err := b.Stamps(ctx, late)
		if err != nil {
			t.Fatalf("Stamps: %v", err)
		}
		for i := range late {
			if after[i] != captured[i] || stamps[i] != captured[i] || captured[i].Hard.IsZero() || i < 4 && captured[i] != first[i] {
				t.Errorf("guard %d: Acquire returned %x, Set %x and Stamps %x", i, captured[i], after[i], stamps[i])
			}
		}
		if err := b.Renew(ctx, late[1:], true); err != nil {
			t.Errorf("Renew: %v", err)
		}
		stamps, err = b.Stamps(ctx, late)
		if err != nil {
			t.Fatalf("Stamps: %v", err)
		}
		for i := range late {
			if changed := stamps[i].Soft != captured[i].Soft; changed != (i > 0) || stamps[i].Hard != captured[i].Hard {
				t.Errorf("guard %d was %x, and is %x after a soft Renew", i, captured[i], stamps[i])
			}
		}
		first = stamps[:4]
	}
	works()
	if moving == 0 {
		t.Error("no script was refused: were all stamps on one server?")
	}
	for _, key := range from.Do(t, "CLUSTER", "GETKEYSINSLOT", slot, 100).([]any) {
		from.Do(t, "MIGRATE", host, port, key, 0, 5000)
	}
	works()
	for _, node := range cluster.Nodes {
		node.Do(t, "CLUSTER", "SETSLOT", slot, "NODE", id(to))
	}
	works()
}

// A server that is full takes no new stamps. What is to be invalidated hard is so all the
// same, because the old ones can be taken away.
func TestFaultFullServer(t *testing.T) {
	server := redistest.Start(t)
	ctx := t.Context()
	on := func() *region.Region {
		b, err := backend.Open(server.URL() + "/0")
		if err != nil {
			t.Fatal(err)
		}
		r, err := region.New("users", region.Config{Backend: b, Expiration: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	r, elsewhere := on(), on()
	for name, invalidate := range map[string]func() error{
		"InvalidateTags": func() error { return r.InvalidateTags(ctx, "t") },
		"Invalidate":     func() error { return r.Invalidate(ctx, region.Hard) },
		"Delete":         func() error { return r.Delete(ctx, "k") },
	} {
		server.Do(t, "CONFIG", "SET", "maxmemory", "0")
		if err := region.Set(ctx, r, "k", "old", region.WithTags("t")); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := region.Get[string](ctx, elsewhere, "k"); v != "old" || !ok || err != nil {
			t.Fatal(v, ok, err)
		}
		server.Do(t, "CONFIG", "SET", "maxmemory", "1")
		if err := region.SoftTags(ctx, r, "t"); !errors.Is(err, region.ErrPending) {
			t.Errorf("SoftTags on a full server: %v, want ErrPending, because it has to keep the hard stamp", err)
		}
		if err := invalidate(); err != nil {
			t.Errorf("%s on a full server: %v", name, err)
		}
		if v, ok, err := region.Get[string](ctx, elsewhere, "k", region.AllowStale()); ok || err != nil {
			t.Errorf("after %s on a full server %q, %v, %v is found elsewhere", name, v, ok, err)
		}
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
}
