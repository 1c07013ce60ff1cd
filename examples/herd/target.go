package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
)

// target is the Redis that the herd runs on, as the parent sees it: past all caches.
type target struct {
	name   string // host, port and database, and nothing that is secret
	url    string // what the workers open
	prefix string // of all keys
	lease  string // how long a lease lasts that is not renewed
	used   []string
	client *goredis.Client
}

// leaseTTL is long, so that nobody thinks that a takeover waits for its end.
const leaseTTL = "30s"

// connect makes sure that the server can be used. The keys of the herd get a prefix
// of their own, behind the one in the URL if there is one, so that they are nobody
// else's.
func connect(ctx context.Context, rawURL string) (*target, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" {
		// The error would repeat the URL, which may have a password in it.
		return nil, errors.New("-redis takes the URL of one server: redis://host:6379, or rediss:// for TLS")
	}
	query := u.Query()
	prefix := "dogpile-herd-" + strings.ToLower(rand.Text()[:8])
	if given := query.Get("prefix"); given != "" {
		prefix = given + ":" + prefix
	}
	query.Set("prefix", prefix)
	if !query.Has("lease_ttl") {
		query.Set("lease_ttl", leaseTTL)
	}
	u.RawQuery = query.Encode()
	t := &target{
		name:   u.Host + strings.TrimSuffix(u.Path, "/"),
		url:    u.String(),
		prefix: prefix,
		lease:  query.Get("lease_ttl"),
	}

	if err := t.usable(ctx); err != nil {
		return nil, fmt.Errorf("the Redis at %s cannot be used: %w", t.name, err)
	}
	u.RawQuery = "" // go-redis knows other options than backend/redis
	settings, err := goredis.ParseURL(u.String())
	if err != nil {
		return nil, errors.New("-redis takes a URL such as redis://user:password@host:6379/0")
	}
	t.client = goredis.NewClient(settings)
	if _, err := t.commands(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("the Redis at %s does not say what it does: %w", t.name, err), t.client.Close())
	}
	return t, nil
}

// usable opens the backend once, for its clear errors, before the workers do.
func (t *target) usable(ctx context.Context) error {
	b, err := backend.Open(t.url)
	if err != nil {
		return err
	}
	if p, ok := b.(interface{ Ping(context.Context) error }); ok {
		err = p.Ping(ctx)
	}
	return errors.Join(err, b.Close())
}

// commands returns how often the server has run which command, but for INFO, with
// which this is found out. What a script calls counts, as does the script.
func (t *target) commands(ctx context.Context) (map[string]int, error) {
	info, err := t.client.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	calls := map[string]int{}
	for line := range strings.Lines(info) { // cmdstat_get:calls=21,usec=175,…
		line, ok := strings.CutPrefix(line, "cmdstat_")
		name, numbers, _ := strings.Cut(line, ":calls=")
		number, _, _ := strings.Cut(numbers, ",")
		n, err := strconv.Atoi(number)
		if ok && err == nil && name != "info" {
			calls[name] = n
		}
	}
	return calls, nil
}

// clean deletes what the herd has stored, under the names that the documentation of
// backend/redis tells. It does so also when the program is interrupted.
func (t *target) clean(out *screen) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stamps := t.prefix + ":stamp:{" + Herd.Name() + "}"
	keys := []string{stamps, stamps + ":*"} // of the region, and of all tags together
	for _, key := range t.used {
		key = "{" + Herd.Name() + ":" + key + "}"
		keys = append(keys, t.prefix+":"+key, t.prefix+":lock:"+key)
	}
	if err := t.client.Del(ctx, keys...).Err(); err != nil {
		out.line("Keys that begin with %s may be left in Redis: %v", t.prefix, err)
	}
}
