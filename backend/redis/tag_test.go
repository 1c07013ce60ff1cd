package redis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

const hour = int64(time.Hour / time.Millisecond)

// tagged is a backend, and its server behind its back.
type tagged struct {
	*testing.T
	b      *redis.Backend
	prefix string
	do     func(args ...any) any // a command about the key that is its first argument
}

// onBoth runs f on a single server and on a cluster.
func onBoth(t *testing.T, f func(tagged)) {
	open := func(t *testing.T, client goredis.UniversalClient, do func(args ...any) any) {
		prefix := space()
		b := redis.New(client, redis.Config{Prefix: prefix})
		t.Cleanup(func() { _ = b.Close() })
		f(tagged{t, b, prefix, do})
	}
	t.Run("standalone", func(t *testing.T) {
		server := redistest.Shared(t)
		open(t, server.Client(t), func(args ...any) any { return server.Do(t, args...) })
	})
	t.Run("cluster", func(t *testing.T) {
		cluster := redistest.SharedCluster(t)
		open(t, cluster.Client(t), func(args ...any) any { return cluster.NodeOf(t, args[1].(string)).Do(t, args...) })
	})
}

func usersTag(tag string) backend.Guard { return backend.Guard{Region: "users", Tag: tag} }

// name is where the stamps of a guard have to be.
func (t tagged) name(guard backend.Guard) string {
	if guard.Tag == "" {
		return t.prefix + ":stamp:{" + guard.Region + "}"
	}
	return t.prefix + ":stamp:{" + guard.Region + "}:" + guard.Tag
}

// left checks for how long the server still keeps the stamps of guard, in milliseconds: -1
// is for ever, -2 that there are none.
func (t tagged) left(when string, guard backend.Guard, want int64) {
	t.Helper()
	got := t.do("PTTL", t.name(guard)).(int64)
	if got != want && (want <= 0 || got > want || got < want-int64(time.Minute/time.Millisecond)) {
		t.Errorf("%s, the stamps of %q are kept for %d ms, want %d", when, guard, got, want)
	}
}

func (t tagged) stamps(guards ...backend.Guard) []backend.Stamps {
	t.Helper()
	stamps, err := t.b.Stamps(t.Context(), guards)
	if err != nil {
		t.Fatal(err)
	}
	return stamps
}

// put stores one item for each ttl, under leases or without, and returns the stamps.
func (t tagged) put(leased bool, guards []backend.Guard, ttls ...time.Duration) []backend.Stamps {
	t.Helper()
	items := make([]backend.Item, len(ttls))
	for i, ttl := range ttls {
		items[i] = backend.Item{Key: backend.Key{Region: "users", Name: fmt.Sprint("k", i)}, Entry: &backend.Entry{Data: []byte("x")}, TTL: ttl}
		if leased {
			grants, _, err := t.b.Acquire(t.Context(), []backend.Key{items[i].Key}, nil)
			if err != nil {
				t.Fatal(err)
			}
			items[i].Lease = grants[0].Lease
			defer grants[0].Lease.Release(context.Background())
		}
	}
	stamps, err := t.b.Set(t.Context(), items, guards)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if refused := item.TTL < 0; refused != (item.Err != nil) {
			t.Errorf("Set with a TTL of %v: Err = %v", item.TTL, item.Err)
		}
	}
	return stamps
}

func TestStampsOfTagsAreCreatedWithTTL(t *testing.T) {
	onBoth(t, func(t tagged) {
		for name, create := range map[string]func(guards []backend.Guard) error{
			"Stamps": func(guards []backend.Guard) error {
				_, err := t.b.Stamps(t.Context(), guards)
				return err
			},
			"Acquire": func(guards []backend.Guard) error {
				_, _, err := t.b.Acquire(t.Context(), keysOf("one"), guards)
				return err
			},
			"Acquire of several": func(guards []backend.Guard) error {
				_, _, err := t.b.Acquire(t.Context(), keysOf("two", "three"), guards)
				return err
			},
		} {
			own, tag, old, fresh, ever := backend.Guard{Region: name}, usersTag(name), usersTag(name+" old"), usersTag(name+" fresh"), usersTag(name+" ever")
			before := t.stamps(old, fresh, ever)
			t.do("PEXPIRE", t.name(old), hour/2-60_000)
			t.do("PEXPIRE", t.name(fresh), hour/2+60_000)
			t.do("PERSIST", t.name(ever))
			if err := create([]backend.Guard{own, tag, old, fresh, ever}); err != nil {
				t.Fatal(err)
			}
			t.left(name, own, -1)
			t.left(name, tag, hour)
			t.left(name+", with little time left", old, hour)
			t.left(name+", with enough time left", fresh, hour/2+60_000)
			t.left(name+", without a TTL", ever, -1)
			for i, after := range t.stamps(old, fresh, ever) {
				if after != before[i] {
					t.Errorf("%s has changed stamps that were there", name)
				}
			}
		}
	})
}

func TestStampsOfTagsAreKeptAsLongAsItems(t *testing.T) {
	const day = 24 * time.Hour
	onBoth(t, func(t tagged) {
		for _, c := range []struct {
			what         string
			before, want int64 // ms; -1: for ever, -2: absent
			ttls         []time.Duration
		}{
			{"the longest counts", hour, 25 * hour, []time.Duration{time.Minute, day, time.Second}},
			{"nothing is shortened", 30 * hour, 30 * hour, []time.Duration{time.Minute, day}},
			{"there is time enough", 24*hour + hour/2 + 60_000, 24*hour + hour/2 + 60_000, []time.Duration{day}},
			{"there is too little time", 24*hour + hour/2 - 60_000, 25 * hour, []time.Duration{day}},
			{"an item that is kept for ever", hour, -1, []time.Duration{day, 0, time.Hour}},
			{"an item that is kept for ever comes first", hour, -1, []time.Duration{0, time.Hour}},
			{"stamps that are kept for ever", -1, -1, []time.Duration{time.Hour}},
			{"both are kept for ever", -1, -1, []time.Duration{0}},
			{"an item that is refused does not count", hour, 2 * hour, []time.Duration{time.Hour, -1}},
			{"all items are refused", hour / 4, hour / 4, []time.Duration{-1}},
			{"absent", -2, -2, []time.Duration{day}},
			{"absent, and an item that is kept for ever", -2, -2, []time.Duration{0}},
			{"the longest there is", hour, 9223372036855 + hour, []time.Duration{1<<63 - 1}},
		} {
			for _, leased := range []bool{false, true} {
				own, tag := backend.Guard{Region: "users"}, usersTag("a")
				before := t.stamps(own, tag)
				switch {
				case c.before == -2:
					t.do("DEL", t.name(tag))
					before[1] = backend.Stamps{}
				case c.before == -1:
					t.do("PERSIST", t.name(tag))
				default:
					t.do("PEXPIRE", t.name(tag), c.before)
				}
				got := t.put(leased, []backend.Guard{own, tag}, c.ttls...)
				if len(got) != 2 || got[0] != before[0] || got[1] != before[1] {
					t.Errorf("%s: Set returned the stamps %x, want %x", c.what, got, before)
				}
				t.left(c.what, tag, c.want)
				t.left(c.what, own, -1)
			}
		}
	})
}

func TestRenewKeepsTTL(t *testing.T) {
	onBoth(t, func(t tagged) {
		for _, soft := range []bool{false, true} {
			own, some, ever, absent := backend.Guard{Region: fmt.Sprint("users", soft)}, usersTag("some"), usersTag("ever"), usersTag("absent")
			list := usersTag("list")
			before := t.stamps(some, ever)
			t.do("PEXPIRE", t.name(some), 3*hour)
			t.do("PERSIST", t.name(ever))
			t.do("DEL", t.name(list))
			t.do("RPUSH", t.name(list), "a list")
			if err := t.b.Renew(t.Context(), []backend.Guard{some, absent, ever, own, list}, soft); err != nil {
				t.Fatal(err)
			}
			t.left("renewed", some, 3*hour)
			t.left("renewed", ever, -1)
			t.left("renewed, but absent", absent, -2)
			t.left("renewed, but absent", own, -1)
			if s := t.stamps(list)[0]; s.Hard.IsZero() {
				t.Error("a key of another type stays where stamps should be")
			}
			t.left("created instead of a list", list, hour)
			for i, after := range t.stamps(some, ever) {
				if hard, soften := after.Hard != before[i].Hard, after.Soft != before[i].Soft; hard == soft || soften != soft {
					t.Errorf("Renew with soft = %v: hard changed %v, soft %v", soft, hard, soften)
				}
			}
		}
		// Reads create nothing.
		guards := []backend.Guard{usersTag("absent"), usersTag("absent as well")}
		if _, err := t.b.Get(t.Context(), keysOf("k")[0], guards); err != nil {
			t.Error(err)
		}
		if _, _, err := t.b.GetMulti(t.Context(), keysOf("k", "l"), guards); err != nil {
			t.Error(err)
		}
		if _, err := t.b.Set(t.Context(), nil, guards); err != nil {
			t.Error(err)
		}
		for _, guard := range guards {
			t.left("read", guard, -2)
		}
	})
}

// All stamps of a region are in one slot of a cluster, whatever it and its tags are called:
// scripts about them are refused otherwise.
func TestStampsOfARegionAreInOneSlot(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	b := redis.New(cluster.Client(t), redis.Config{Prefix: space()})
	defer b.Close()
	ctx := t.Context()
	for _, region := range []string{"users", "", "}", "{", "{}", "%", "a}b", "{a", "}{", "a{b}c", "a b", "é", "\x00"} {
		guards := []backend.Guard{{Region: region}}
		for _, tag := range []string{"a", "{b}", "}", "{", ":", "\x00\xff", "\r\n", strings.Repeat("{", 64<<10)} {
			guards = append(guards, backend.Guard{Region: region, Tag: tag})
		}
		created, err := b.Stamps(ctx, guards)
		if err != nil {
			t.Errorf("Stamps of the region %q: %v", region, err)
			continue
		}
		if err := b.Renew(ctx, guards, true); err != nil {
			t.Errorf("Renew of the region %q: %v", region, err)
		}
		items := []backend.Item{{Key: backend.Key{Region: region, Name: "k"}, Entry: &backend.Entry{Data: []byte("x")}}}
		renewed, err := b.Set(ctx, items, guards)
		if err != nil || items[0].Err != nil {
			t.Errorf("Set in the region %q: %v, %v", region, err, items[0].Err)
		}
		for i := range renewed {
			if renewed[i].Hard != created[i].Hard || renewed[i].Soft == created[i].Soft {
				t.Errorf("the stamps of %.40q were %x, and then %x; want a new soft one", guards[i], created[i], renewed[i])
			}
		}
	}
}

// Most reads ask for few guards, and without a deadline, which is a way of its own.
func TestFewGuards(t *testing.T) {
	onBoth(t, func(t tagged) {
		t.put(false, nil, time.Hour)
		stored, missing := keysOf("k0")[0], keysOf("missing")[0]
		guards := []backend.Guard{{Region: "users"}}
		for n := range 12 {
			guards = append(guards, usersTag(fmt.Sprint(n)), backend.Guard{Region: fmt.Sprint("region ", n), Tag: "a"})
		}
		want := t.stamps(guards...)
		guards, want = append(guards, usersTag("absent")), append(want, backend.Stamps{})
		check := func(how string, got []backend.Stamps, from, to int) {
			t.Helper()
			if !slices.Equal(got, want[from:to]) {
				t.Errorf("%s with the guards %d to %d returned %x, want %x", how, from, to, got, want[from:to])
			}
		}
		for from := range guards {
			for to := from; to <= min(from+10, len(guards)); to++ {
				found, err := t.b.Get(t.Context(), stored, guards[from:to])
				if err != nil || found.Entry == nil || string(found.Entry.Data) != "x" {
					t.Errorf("Get = %+v, %v; want what was stored", found.Entry, err)
				}
				check("Get", found.Stamps, from, to)
				found, err = t.b.Get(t.Context(), missing, guards[from:to])
				if err != nil || found.Entry != nil {
					t.Errorf("Get = %+v, %v; want a miss", found.Entry, err)
				}
				check("Get, a miss,", found.Stamps, from, to)
				_, stamps, err := t.b.GetMulti(t.Context(), nil, guards[from:to])
				if err != nil {
					t.Error(err)
				}
				check("GetMulti without keys", stamps, from, to)
			}
		}
	})
}

func TestTenThousandGuards(t *testing.T) {
	onBoth(t, func(t tagged) {
		guards := make([]backend.Guard, 10_000)
		for i := range guards {
			guards[i] = usersTag(fmt.Sprint("tag ", i))
		}
		key := keysOf("k")[0]
		grants, want, err := t.b.Acquire(t.Context(), []backend.Key{key}, guards)
		if err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			found, err := t.b.Get(t.Context(), key, guards)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range found.Stamps {
				if s != want[i] || s.Hard.IsZero() || s.Soft.IsZero() {
					t.Fatalf("Get returned %x for guard %d, want %x", s, i, want[i])
				}
			}
			if round > 0 {
				break
			}
			items := []backend.Item{{Key: key, Entry: &backend.Entry{Data: []byte("x")}, Lease: grants[0].Lease, TTL: 24 * time.Hour}}
			if err := t.b.Renew(t.Context(), guards, false); err != nil {
				t.Fatal(err)
			}
			stamps, err := t.b.Set(t.Context(), items, guards)
			if err != nil || items[0].Err != nil {
				t.Fatal(err, items[0].Err)
			}
			for i := range stamps {
				if stamps[i].Hard == want[i].Hard {
					t.Fatalf("guard %d was not renewed", i)
				}
			}
			want = stamps
			t.left("stored", guards[9999], 25*hour)
		}
	})
}
