package redis_test

import (
	"context"
	"errors"
	"net/url"
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

func TestBadConfiguration(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	replicas := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true})
	defer replicas.Close()
	var none *goredis.Client
	for name, c := range map[string]struct {
		client goredis.UniversalClient
		cfg    redis.Config
		says   string
	}{
		"no client":        {nil, redis.Config{}, "nil"},
		"a nil client":     {none, redis.Config{}, "nil"},
		"a ring":           {ring, redis.Config{}, "*redis.Ring"},
		"replicas":         {replicas, redis.Config{}, "replicas"},
		"a short lease":    {client, redis.Config{LeaseTTL: time.Millisecond - 1}, "millisecond"},
		"a negative lease": {client, redis.Config{LeaseTTL: -time.Second}, "millisecond"},
		"a brace":          {client, redis.Config{Prefix: "a{b}"}, "brace"},
		"a lock's prefix":  {client, redis.Config{Prefix: "app:lock"}, "app:lock"},
		"a long prefix":    {client, redis.Config{Prefix: strings.Repeat("p", 129)}, "129"},
	} {
		t.Run(name, func(t *testing.T) {
			b := redis.New(c.client, c.cfg)
			if err := b.Err(); !errors.Is(err, redis.ErrConfig) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Err = %v, want ErrConfig and %q in it", err, c.says)
			}
			if _, err := b.Get(t.Context(), backend.Key{}, nil); !errors.Is(err, redis.ErrConfig) {
				t.Errorf("Get = %v, want ErrConfig", err)
			}
			if _, err := region.New("users", region.Config{Backend: b, Expiration: time.Minute}); !errors.Is(err, region.ErrConfig) {
				t.Errorf("a region takes it: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		})
	}
}

func TestBadURL(t *testing.T) {
	for raw, says := range map[string]string{
		"redis://127.0.0.1:6379/0?perfix=app":   `"prefix"`,
		"redis://127.0.0.1:6379/zero":           "zero",
		"redis:///0":                            "host",
		"redis://127.0.0.1:1?lease_ttl=1us":     "lease_ttl",
		"redis://127.0.0.1:1?prefix=a{b}":       "brace",
		"redis+cluster://127.0.0.1:1/3":         "3",
		"redis+sentinel://127.0.0.1:1":          "master",
		"redis://:secret@127.0.0.1:1?prefix=a{": "brace",
	} {
		_, err := backend.Open(raw)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v, want an error with %s in it", raw, err, says)
		}
	}
}

// A server that cannot be used says why: to Get as its error, to GetOrCreate as an
// event.
func TestServerRefuses(t *testing.T) {
	guarded := redistest.Start(t, "--requirepass", "right")
	plain := redistest.Start(t)
	plain.Do(t, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", "-set")
	old := faultproxy.New(t, plain.Addr)
	old.Rewrite([]byte("redis_version:7.0.15"), []byte("redis_version:6.0.15"))
	nobody := faultproxy.New(t, plain.Addr)
	nobody.Refuse(true)
	for name, c := range map[string]struct {
		url  string
		want error
	}{
		"a wrong password":   {"redis://:wrong@" + guarded.Addr, redis.ErrAuth},
		"no password":        {"redis://" + guarded.Addr, redis.ErrAuth},
		"an old server":      {"redis://" + old.Addr, redis.ErrTooOld},
		"may not set":        {"redis://reader:pw@" + plain.Addr, redis.ErrNotAllowed},
		"nobody is there":    {"redis://" + nobody.Addr, nil},
		"no such database":   {"redis://" + plain.Addr + "/99", nil},
		"no such user there": {"redis://somebody:wrong@" + plain.Addr, redis.ErrAuth},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := backend.Open(c.url)
			if err != nil {
				t.Fatal(err)
			}
			wrong := new(failures)
			r, err := region.New("users", region.Config{Backend: b, Expiration: time.Minute, Observer: wrong})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (string, error) { return "v", nil }); got != "v" || err != nil {
				t.Errorf("GetOrCreate = %q, %v; want the created value", got, err)
			}
			err = region.Set(t.Context(), r, "k", "v")
			told := wrong.all()
			if err == nil || len(told) == 0 {
				t.Fatalf("Set = %v, and the observer was told %v; want errors", err, told)
			}
			if c.want != nil && (!errors.Is(err, c.want) || !errors.Is(told[0], c.want)) {
				t.Errorf("Set = %v, and the observer was told %v; want %v", err, told[0], c.want)
			}
			if u, _ := url.Parse(c.url); u.User != nil {
				if password, _ := u.User.Password(); strings.Contains(err.Error(), password+"@") {
					t.Errorf("the error has the password in it: %v", err)
				}
			}
		})
	}
}

// Keys of another type stand where ours would be.
func TestKeysOfAnotherType(t *testing.T) {
	for name, server := range map[string]func(t *testing.T) (url string, do func(args ...any) any){
		"standalone": func(t *testing.T) (string, func(...any) any) {
			s := redistest.Shared(t)
			return "redis://" + s.Addr, func(args ...any) any { return s.Do(t, args...) }
		},
		"cluster": func(t *testing.T) (string, func(...any) any) {
			c := redistest.SharedCluster(t)
			return "redis+cluster://" + strings.Join(c.Addrs, ","), func(args ...any) any {
				return c.NodeOf(t, args[1].(string)).Do(t, args...)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, do := server(t)
			prefix := space()
			b, err := backend.Open(url + "?prefix=" + prefix)
			if err != nil {
				t.Fatal(err)
			}
			bad := new(badEntries)
			r, err := region.New("users", region.Config{Backend: b, Expiration: time.Minute, Observer: bad})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			ctx := t.Context()
			create := func(context.Context) (string, error) { return "v", nil }
			do("RPUSH", prefix+":{users:k}", "a list")
			do("RPUSH", prefix+":lock:{users:k}", "a list")
			do("RPUSH", prefix+":stamp:{users}", "a list")
			for range 2 {
				if got, err := region.GetOrCreate(ctx, r, "k", create); got != "v" || err != nil {
					t.Fatalf("GetOrCreate = %q, %v", got, err)
				}
			}
			if len(bad.seen) == 0 || bad.seen[0].Key != "k" {
				t.Errorf("the observer was told %v, want that k holds something else", bad.seen)
			}
			if s := r.Stats(); s.Creations != 1 || s.Hits != 1 {
				t.Errorf("%+v; want one creation, and a hit after it", s)
			}

			do("DEL", prefix+":stamp:{users}")
			do("RPUSH", prefix+":stamp:{users}", "a list")
			if err := r.Invalidate(ctx, region.Hard); err != nil {
				t.Errorf("Invalidate = %v", err)
			}
			if _, ok, err := region.Get[string](ctx, r, "k"); ok || err != nil {
				t.Errorf("Get after Invalidate = %v, %v; want a miss", ok, err)
			}

			// A lock of nobody's that never expires is in nobody's way.
			do("SET", prefix+":lock:{users:other}", "somebody's lock")
			if got, err := region.GetOrCreate(ctx, r, "other", create); got != "v" || err != nil {
				t.Fatalf("GetOrCreate = %q, %v", got, err)
			}
			if _, ok, err := region.Get[string](ctx, r, "other"); !ok || err != nil {
				t.Errorf("Get = %v, %v; want the created value", ok, err)
			}
		})
	}
}

type badEntries struct{ seen []region.BadEntryEvent }

func (b *badEntries) ObserveBadEntry(e region.BadEntryEvent) { b.seen = append(b.seen, e) }

// Nothing is ever stored for ever that was to expire.
func TestTTL(t *testing.T) {
	server := redistest.Shared(t)
	prefix := space()
	b := redis.New(server.Client(t), redis.Config{Prefix: prefix})
	defer b.Close()
	data := &backend.Entry{Data: []byte("x")}
	for _, c := range []struct {
		ttl    time.Duration
		stored bool
		most   int64 // PTTL; -1: for ever
	}{
		{-1, false, 0},
		{-time.Hour, false, 0},
		{1, false, 0},
		{time.Millisecond - 1, false, 0},
		{time.Second, true, 1000},
		{time.Second + 1, true, 1001},
		{1500*time.Millisecond + 300*time.Microsecond, true, 1501},
		{1<<63 - 1, true, 9223372036855},
		{0, true, -1},
	} {
		server.Do(t, "DEL", prefix+":{users:k}")
		for _, lease := range []bool{false, true} {
			item := backend.Item{Key: backend.Key{Region: "users", Name: "k"}, Entry: data, TTL: c.ttl}
			if lease {
				grants, _, err := b.Acquire(t.Context(), []backend.Key{item.Key}, nil)
				if err != nil || grants[0].Lease == nil {
					t.Fatalf("Acquire = %v, %v", grants, err)
				}
				item.Lease = grants[0].Lease
				defer item.Lease.Release(t.Context())
			}
			items := []backend.Item{item}
			if _, err := b.Set(t.Context(), items, nil); err != nil {
				t.Fatal(err)
			}
			if stored := items[0].Err == nil; stored != c.stored {
				t.Errorf("TTL %v: Err = %v, want stored = %v", c.ttl, items[0].Err, c.stored)
			}
			left := server.Do(t, "PTTL", prefix+":{users:k}").(int64)
			switch {
			case !c.stored && left != -2:
				t.Errorf("TTL %v was refused, and the key has a PTTL of %d", c.ttl, left)
			case c.stored && c.most < 0 && left != -1:
				t.Errorf("TTL %v: PTTL %d, want none", c.ttl, left)
			case c.stored && c.most > 0 && (left > c.most || left < c.most-500):
				t.Errorf("TTL %v: PTTL %d, want %d", c.ttl, left, c.most)
			}
			if lease {
				_ = item.Lease.Release(t.Context())
			}
		}
	}
}

// A lock that looks like ours but never expires, as a restored backup may hold, is not
// waited for for ever.
func TestLockThatNeverExpires(t *testing.T) {
	server := redistest.Shared(t)
	prefix := space()
	p := join(t, server.Addr, prefix, "&lease_ttl=500ms")
	for _, token := range []string{"aaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa+bbbbbbbbbbbbbbbb", "somebody else's"} {
		server.Do(t, "SET", prefix+":lock:{users:"+token+"}", token)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got, err := region.GetOrCreate(ctx, p.Region, token, func(context.Context) (string, error) { return "v", nil })
		cancel()
		if got != "v" || err != nil {
			t.Errorf("behind the lock %q GetOrCreate = %q, %v", token, got, err)
		}
	}
}
