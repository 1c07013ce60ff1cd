package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type wrapper = func(backend.Backend) backend.Backend

// eachKind runs a test in a bubble over a backend of values and over one of bytes.
func eachKind(t *testing.T, test func(t *testing.T, store backend.Backend)) {
	t.Helper()
	for name, cfg := range map[string]memory.Config{"values": {}, "bytes": {Copy: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newStore(t, cfg)) })
		})
	}
}

func newStore(t testing.TB, cfg memory.Config) backend.Backend {
	store := memory.New(cfg)
	t.Cleanup(func() { store.Close() })
	return store
}

// over makes a region called "users" over a backend that others use too.
func over(t *testing.T, store backend.Backend, wrap ...wrapper) *region.Region {
	t.Helper()
	return with(t, region.Config{Backend: store, Wrap: wrap})
}

func with(t *testing.T, cfg region.Config) *region.Region {
	t.Helper()
	cfg.Expiration, cfg.StaleFor, cfg.KeepBackendOpen = time.Minute, time.Hour, true
	r, err := region.New("users", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// spy tells which operations have reached it, and what they were about.
type spy struct {
	backend.Backend
	mu      sync.Mutex
	ops     []string
	regions []string
}

func spying(s *spy) wrapper {
	return func(b backend.Backend) backend.Backend { s.Backend = b; return s }
}

func (s *spy) saw(op string, keys []backend.Key, guards []backend.Guard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops = append(s.ops, op)
	for _, k := range keys {
		s.regions = append(s.regions, k.Region)
	}
	for _, g := range guards {
		s.regions = append(s.regions, g.Region)
	}
}

// seen returns which operations, and of which regions, in alphabetical order.
func (s *spy) seen() (ops, regions []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	once := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	return once(s.ops), once(s.regions)
}

func (s *spy) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	s.saw("Get", []backend.Key{key}, guards)
	return s.Backend.Get(ctx, key, guards)
}

func (s *spy) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	s.saw("GetMulti", keys, guards)
	return s.Backend.GetMulti(ctx, keys, guards)
}

func (s *spy) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	s.saw("Acquire", keys, guards)
	return s.Backend.Acquire(ctx, keys, guards)
}

func (s *spy) Wait(ctx context.Context, keys []backend.Key) error {
	s.saw("Wait", keys, nil)
	return s.Backend.Wait(ctx, keys)
}

func (s *spy) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	var keys []backend.Key
	for _, item := range items {
		keys = append(keys, item.Key)
	}
	s.saw("Set", keys, guards)
	return s.Backend.Set(ctx, items, guards)
}

func (s *spy) Delete(ctx context.Context, keys []backend.Key) error {
	s.saw("Delete", keys, nil)
	return s.Backend.Delete(ctx, keys)
}

func (s *spy) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	s.saw("Stamps", nil, guards)
	return s.Backend.Stamps(ctx, guards)
}

func (s *spy) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	s.saw("Renew", nil, guards)
	return s.Backend.Renew(ctx, guards, soft)
}

func (s *spy) Close() error {
	s.saw("Close", nil, nil)
	return s.Backend.Close()
}

// creator returns v1, v2 and so on; if it has a gate it waits for it.
type creator struct {
	calls atomic.Int64
	gate  chan struct{}
}

func blocking() *creator { return &creator{gate: make(chan struct{})} }

func (c *creator) create(ctx context.Context) (string, error) {
	n := c.calls.Add(1)
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return fmt.Sprintf("v%d", n), nil
}

func (c *creator) want(t *testing.T, n int64) {
	t.Helper()
	if got := c.calls.Load(); got != n {
		t.Errorf("the creator ran %d times, want %d", got, n)
	}
}

func must(t *testing.T, r *region.Region, key string, c *creator, want string, opts ...region.CallOption) {
	t.Helper()
	if got, err := region.GetOrCreate(t.Context(), r, key, c.create, opts...); err != nil || got != want {
		t.Errorf("GetOrCreate(%q) = %q, %v; want %q", key, got, err, want)
	}
}

// holds checks what Get finds; want "" stands for a miss.
func holds(t *testing.T, r *region.Region, key, want string) {
	t.Helper()
	got, ok, err := region.Get[string](t.Context(), r, key)
	if err != nil || ok != (want != "") || got != want {
		t.Errorf("Get(%q) = %q, %v, %v; want %q", key, got, ok, err, want)
	}
}

// call makes a call on a goroutine of its own, and waits until it waits.
func call(t *testing.T, r *region.Region, key string, c *creator, opts ...region.CallOption) <-chan string {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		v, err := region.GetOrCreate(t.Context(), r, key, c.create, opts...)
		if err != nil {
			v = err.Error()
		}
		done <- v
	}()
	synctest.Wait()
	return done
}

func got(t *testing.T, done <-chan string, want string) {
	t.Helper()
	if v := <-done; v != want {
		t.Errorf("a caller got %q, want %q", v, want)
	}
}

func user(name string) backend.Key { return backend.Key{Region: "users", Name: name} }

var users = backend.Guard{Region: "users"}

// entry returns an entry that says text, in the form that b keeps.
func entry(b backend.Backend, text string) *backend.Entry {
	if b.Bytes() {
		return &backend.Entry{Data: []byte(text)}
	}
	return &backend.Entry{Value: &text}
}

// put stores text under the key of a user, and fails if that fails.
func put(t testing.TB, b backend.Backend, name, text string) {
	t.Helper()
	items := []backend.Item{{Key: user(name), Entry: entry(b, text)}}
	if _, err := b.Set(t.Context(), items, nil); err != nil || items[0].Err != nil {
		t.Fatalf("Set: %v, %v", err, items[0].Err)
	}
}

// says returns what is stored for a user; "" for nothing.
func says(t testing.TB, b backend.Backend, key backend.Key) string {
	t.Helper()
	found, err := b.Get(t.Context(), key, nil)
	switch {
	case err != nil:
		t.Fatalf("Get: %v", err)
	case found.Entry == nil:
		return ""
	case found.Entry.Data != nil:
		return string(found.Entry.Data)
	}
	return *found.Entry.Value.(*string)
}

// isFree checks whether the lease of a user's key can be had.
func isFree(t testing.TB, b backend.Backend, name string, want bool) {
	t.Helper()
	grants, _, err := b.Acquire(context.Background(), []backend.Key{user(name)}, []backend.Guard{users})
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	if got := grants[0].Lease != nil; got != want {
		t.Errorf("the lease of %q is free: %v, want %v", name, got, want)
	}
	if grants[0].Lease != nil {
		grants[0].Lease.Release(context.Background())
	}
}

// operations are calls of every operation of a backend but Close, by name.
func operations(ctx context.Context, b backend.Backend) map[string]func() error {
	keys, guards := []backend.Key{user("ann")}, []backend.Guard{users}
	return map[string]func() error{
		"Get":      func() error { _, err := b.Get(ctx, keys[0], guards); return err },
		"GetMulti": func() error { _, _, err := b.GetMulti(ctx, keys, guards); return err },
		"Acquire": func() error {
			grants, _, err := b.Acquire(ctx, keys, guards)
			for _, g := range grants {
				if g.Lease == nil {
					return errors.New("the lease was not granted")
				}
				g.Lease.Release(context.Background())
			}
			return err
		},
		"Wait": func() error { return b.Wait(ctx, keys) },
		"Set": func() error {
			_, err := b.Set(ctx, []backend.Item{{Key: keys[0], Entry: entry(b, "x")}}, guards)
			return err
		},
		"Delete": func() error { return b.Delete(ctx, keys) },
		"Stamps": func() error { _, err := b.Stamps(ctx, guards); return err },
		"Renew":  func() error { return b.Renew(ctx, guards, false) },
	}
}
