package dogpilepy_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	_ "github.com/dogpile-go/dogpile/backend/memcached"
	_ "github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/codec/dogpilepy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// shop is a server that programs in both languages use.
type shop struct {
	kind   string
	url    string // for Go
	python pythontest.RegionConfig

	redis     *redistest.Server
	memcached *memcachedtest.Server
}

// expiration is that of all regions here.
const expiration = 10 * time.Minute

// onBoth runs a test on Redis and on memcached, each with a server of its own.
func onBoth(t *testing.T, test func(t *testing.T, s *shop)) {
	t.Run("redis", func(t *testing.T) { test(t, redisShop(t)) })
	t.Run("memcached", func(t *testing.T) { test(t, memcachedShop(t)) })
}

func redisShop(t *testing.T) *shop {
	pythontest.Needed(t)
	server := redistest.Start(t)
	return &shop{kind: "redis", url: server.URL() + "/0", redis: server, python: pythontest.RegionConfig{
		Backend:    pythontest.Redis,
		Arguments:  map[string]any{"url": server.URL() + "/0", "distributed_lock": true, "lock_timeout": 30},
		Expiration: expiration,
		Serializer: "json",
	}}
}

func memcachedShop(t *testing.T) *shop {
	pythontest.Needed(t)
	server := memcachedtest.Start(t)
	return &shop{kind: "memcached", url: server.URL(), memcached: server, python: pythontest.RegionConfig{
		Backend:    pythontest.Memcached,
		Arguments:  map[string]any{"url": strings.TrimPrefix(server.URL(), "memcached://"), "distributed_lock": true, "lock_timeout": 30},
		Expiration: expiration,
		Serializer: "json",
	}}
}

// pythonWith returns the configuration of Python's region with other arguments.
func (s *shop) pythonWith(arguments map[string]any) pythontest.RegionConfig {
	cfg := s.python
	cfg.Arguments = maps.Clone(cfg.Arguments)
	for name, v := range arguments {
		if v == nil {
			delete(cfg.Arguments, name)
		} else {
			cfg.Arguments[name] = v
		}
	}
	return cfg
}

// open returns a region in Go, which is closed with the test.
func (s *shop) open(t *testing.T, configure ...func(*region.Config)) (*region.Region, *told) {
	t.Helper()
	saw := new(told)
	cfg := region.Config{Expiration: expiration, Interop: dogpilepy.Format, Observer: saw}
	for _, f := range configure {
		f(&cfg)
	}
	if cfg.Backend == nil {
		b, err := backend.Open(s.url)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Backend = b
	}
	r, err := region.New("shared", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, saw
}

// put stores bytes as they are.
func (s *shop) put(t *testing.T, key, data string) {
	t.Helper()
	if s.redis != nil {
		s.redis.Do(t, "SET", key, data)
		return
	}
	if got := s.memcached.Do(t, fmt.Sprintf("set %s 0 0 %d", key, len(data)), data); got != "STORED" {
		t.Fatalf("memcached does not store %.40q: %s", data, got)
	}
}

// told notes what a region tells its observer.
type told struct {
	mu       sync.Mutex
	bad      []error
	unstored []error
	failed   []error
}

func (o *told) ObserveBadEntry(e region.BadEntryEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bad = append(o.bad, e.Err)
}

func (o *told) ObserveUnstored(e region.UnstoredEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unstored = append(o.unstored, e.Err)
}

func (o *told) ObserveBackendError(e region.BackendErrorEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = append(o.failed, e.Err)
}

// nothing fails the test if anything was told, and forgets it.
func (o *told) nothing(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.bad)+len(o.unstored)+len(o.failed) > 0 {
		t.Errorf("the region tells of bad entries %v, values not stored %v, failures %v; want nothing", o.bad, o.unstored, o.failed)
	}
	o.bad, o.unstored, o.failed = nil, nil, nil
}
