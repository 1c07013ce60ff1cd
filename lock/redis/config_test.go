package redis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/lock/redis"
)

func TestBadConfigurations(t *testing.T) {
	// Nothing listens there: a configuration is judged without a server.
	good := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	defer good.Close()
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	replicas := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true})
	defer replicas.Close()

	for name, c := range map[string]struct {
		client goredis.UniversalClient
		cfg    redis.Config
		says   string
	}{
		"TTL below a millisecond": {good, redis.Config{TTL: time.Millisecond - 1}, "TTL is 999.999µs"},
		"negative TTL":            {good, redis.Config{TTL: -time.Second}, "TTL is -1s"},
		"no client":               {nil, redis.Config{}, "it is nil"},
		"nil client":              {(*goredis.Client)(nil), redis.Config{}, "it is nil"},
		"nil cluster client":      {(*goredis.ClusterClient)(nil), redis.Config{}, "it is nil"},
		"Ring client":             {ring, redis.Config{}, "*redis.Ring"},
		"client of replicas":      {replicas, redis.Config{}, "ReadOnly"},
		"prefix with a brace":     {good, redis.Config{Prefix: "a{b"}, "brace"},
		"prefix with a brace 2":   {good, redis.Config{Prefix: "ab}"}, "brace"},
		"long prefix":             {good, redis.Config{Prefix: strings.Repeat("p", 129)}, "129 bytes"},
		"prefix of leases":        {good, redis.Config{Prefix: "app:lock"}, ":lock"},
		"prefix of stamps":        {good, redis.Config{Prefix: "app:stamp"}, ":stamp"},
		"prefix of locks":         {good, redis.Config{Prefix: "app:mutex"}, ":mutex"},
	} {
		t.Run(name, func(t *testing.T) {
			l := redis.New(c.client, c.cfg)
			err := l.Err()
			if !errors.Is(err, redis.ErrConfig) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("Err() = %v, want an ErrConfig that says %q", err, c.says)
			}
			lease, acquiring := l.TryAcquire(t.Context(), "key")
			if lease != nil {
				t.Errorf("TryAcquire = %v, want no lease", lease)
			}
			for call, got := range map[string]error{
				"TryAcquire": acquiring,
				"Wait":       l.Wait(t.Context(), "key"),
				"Void":       l.Void(t.Context(), "key"),
			} {
				if got != err {
					t.Errorf("%s = %v, want what Err() says", call, got)
				}
			}
			if err := l.Close(); err != nil {
				t.Errorf("Close = %v, want nil", err)
			}
		})
	}
}

func TestGoodConfigurations(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	for name, cfg := range map[string]redis.Config{
		"zero":           {},
		"shortest TTL":   {TTL: time.Millisecond},
		"longest prefix": {Prefix: strings.Repeat("p", 128)},
	} {
		t.Run(name, func(t *testing.T) {
			l := redis.New(client, cfg)
			if err := l.Err(); err != nil {
				t.Errorf("Err() = %v, want nil", err)
			}
			if err := l.Close(); err != nil {
				t.Errorf("Close = %v, want nil", err)
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	server := redistestWithPassword(t)
	opt := server.Options()
	opt.Password = "wrong-secret"
	client := goredis.NewClient(opt)
	defer client.Close()
	l := open(t, client, redis.Config{Logger: quiet})
	_, err := l.TryAcquire(within(t), "key")
	if !errors.Is(err, redis.ErrAuth) || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("TryAcquire with a wrong password = %v, want ErrAuth without the password", err)
	}
	if err := l.Void(within(t), "key"); !errors.Is(err, redis.ErrAuth) || strings.Count(err.Error(), redis.ErrAuth.Error()) != 1 {
		t.Errorf("Void with a wrong password = %v, want ErrAuth, said once", err)
	}
}

func TestUserWhoMayNot(t *testing.T) {
	server := redistestWithPassword(t)
	server.Do(t, "ACL", "SETUSER", "reader", "on", ">secret", "~other*", "&*", "+@all")
	opt := server.Options()
	opt.Username, opt.Password = "reader", "secret"
	client := goredis.NewClient(opt)
	defer client.Close()
	l := open(t, client, redis.Config{Logger: quiet})
	if _, err := l.TryAcquire(within(t), "key"); !errors.Is(err, redis.ErrNotAllowed) {
		t.Errorf("TryAcquire of a user without rights = %v, want ErrNotAllowed", err)
	}
	if err := l.Void(within(t), "key"); !errors.Is(err, redis.ErrNotAllowed) {
		t.Errorf("Void of a user without rights = %v, want ErrNotAllowed", err)
	}
}
