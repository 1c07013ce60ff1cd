package region_test

import (
	"context"
	"fmt"
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

// kinds are the ways in which a region can meet its backend: values in the same
// process, bytes, either of them behind a proxy that hides what they can do, and bytes
// as on a server.
var kinds = map[string]func() region.Config{
	"values":        func() region.Config { return config(memory.Config{}) },
	"bytes":         func() region.Config { return config(memory.Config{Copy: true}) },
	"values, proxy": func() region.Config { return proxied(config(memory.Config{})) },
	"bytes, proxy":  func() region.Config { return proxied(config(memory.Config{Copy: true})) },
	"bytes, remote": func() region.Config { return remote(config(memory.Config{Copy: true})) },
}

func config(m memory.Config) region.Config {
	return region.Config{Backend: memory.New(m), Expiration: time.Minute, StaleFor: time.Hour}
}

// remote hides that the backend lives in the process, so that it counts as a server.
func remote(cfg region.Config) region.Config {
	cfg.Backend = &struct{ backend.Backend }{cfg.Backend}
	return cfg
}

func proxied(cfg region.Config) region.Config {
	cfg.Wrap = append(cfg.Wrap, func(b backend.Backend) backend.Backend { return struct{ backend.Backend }{b} })
	return cfg
}

// eachKind runs a test in a bubble for each kind of backend.
func eachKind(t *testing.T, test func(t *testing.T, cfg region.Config)) {
	t.Helper()
	for name, cfg := range kinds {
		t.Run(name, func(t *testing.T) { inBubble(t, func(t *testing.T) { test(t, cfg()) }) })
	}
}

// inBubble runs a test in a bubble of virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

// open makes a region that is closed, before the bubble ends, with the test.
func open(t *testing.T, cfg region.Config) *region.Region {
	t.Helper()
	return openAs(t, "test", cfg)
}

func openAs(t *testing.T, name string, cfg region.Config) *region.Region {
	t.Helper()
	r, err := region.New(name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// creator counts its calls and can be made to wait.
type creator struct {
	calls atomic.Int64
	gate  chan struct{} // nil: never waits
	value func(n int64) (string, error)
}

// counting returns v1, v2 and so on.
func counting() *creator { return &creator{} }

// blocking is counting, but waits for release.
func blocking() *creator { return &creator{gate: make(chan struct{})} }

func (c *creator) release() { close(c.gate) }

func (c *creator) create(ctx context.Context) (string, error) {
	n := c.calls.Add(1)
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	if c.value != nil {
		return c.value(n)
	}
	return fmt.Sprintf("v%d", n), nil
}

func (c *creator) want(t *testing.T, n int64) {
	t.Helper()
	if got := c.calls.Load(); got != n {
		t.Errorf("the creator ran %d times, want %d", got, n)
	}
}

// must calls GetOrCreate and wants a value.
func must(t *testing.T, r *region.Region, key string, c *creator, want string, opts ...region.CallOption) {
	t.Helper()
	got, err := region.GetOrCreate(t.Context(), r, key, c.create, opts...)
	if err != nil || got != want {
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

// answer is what a call in the background has returned.
type answer struct {
	value string
	err   error
}

// background makes a call on a goroutine of its own.
func background(ctx context.Context, r *region.Region, key string, c *creator, opts ...region.CallOption) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		v, err := region.GetOrCreate(ctx, r, key, c.create, opts...)
		done <- answer{v, err}
	}()
	return done
}

// herd makes n calls at once and waits in a bubble until all of them wait.
func herd(t *testing.T, n int, r *region.Region, key string, c *creator, opts ...region.CallOption) []<-chan answer {
	t.Helper()
	var calls []<-chan answer
	for range n {
		calls = append(calls, background(t.Context(), r, key, c, opts...))
	}
	synctest.Wait()
	return calls
}

func allGot(t *testing.T, calls []<-chan answer, want string) {
	t.Helper()
	for _, call := range calls {
		if a := <-call; a.err != nil || a.value != want {
			t.Errorf("a caller got %q, %v; want %q", a.value, a.err, want)
		}
	}
}

// recorder observes everything.
type recorder struct {
	mu            sync.Mutex
	creations     []region.CreationEvent
	backendErrors []region.BackendErrorEvent
	badEntries    []region.BadEntryEvent
	unstored      []region.UnstoredEvent
	waits         []region.WaitEvent
	invalidations []region.InvalidationEvent
}

func record[E any](r *recorder, list *[]E, e E) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, e)
}

func (r *recorder) ObserveCreation(e region.CreationEvent)         { record(r, &r.creations, e) }
func (r *recorder) ObserveBackendError(e region.BackendErrorEvent) { record(r, &r.backendErrors, e) }
func (r *recorder) ObserveBadEntry(e region.BadEntryEvent)         { record(r, &r.badEntries, e) }
func (r *recorder) ObserveUnstored(e region.UnstoredEvent)         { record(r, &r.unstored, e) }
func (r *recorder) ObserveWait(e region.WaitEvent)                 { record(r, &r.waits, e) }
func (r *recorder) ObserveInvalidation(e region.InvalidationEvent) { record(r, &r.invalidations, e) }

// probe is a proxy whose hooks run before an operation and after a read, and whose
// failures replace it.
type probe struct {
	backend.Backend
	before func(op string)
	after  func(op string) // of Get, GetMulti and Set
	fail   func(op string) error
}

func probing(p *probe) func(backend.Backend) backend.Backend {
	return func(b backend.Backend) backend.Backend { p.Backend = b; return p }
}

func (p *probe) on(op string) error {
	if p.before != nil {
		p.before(op)
	}
	if p.fail != nil {
		return p.fail(op)
	}
	return nil
}

func (p *probe) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	if err := p.on("get"); err != nil {
		return backend.Found{}, err
	}
	if p.after != nil {
		defer p.after("get")
	}
	return p.Backend.Get(ctx, key, guards)
}

func (p *probe) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if err := p.on("get"); err != nil {
		return nil, nil, err
	}
	if p.after != nil {
		defer p.after("get")
	}
	return p.Backend.GetMulti(ctx, keys, guards)
}

func (p *probe) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	if err := p.on("acquire"); err != nil {
		return nil, nil, err
	}
	return p.Backend.Acquire(ctx, keys, guards)
}

func (p *probe) Wait(ctx context.Context, keys []backend.Key) error {
	if err := p.on("wait"); err != nil {
		return err
	}
	return p.Backend.Wait(ctx, keys)
}

func (p *probe) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := p.on("set"); err != nil {
		return nil, err
	}
	if p.after != nil {
		defer p.after("set")
	}
	return p.Backend.Set(ctx, items, guards)
}

func (p *probe) Delete(ctx context.Context, keys []backend.Key) error {
	if err := p.on("delete"); err != nil {
		return err
	}
	return p.Backend.Delete(ctx, keys)
}

func (p *probe) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := p.on("stamps"); err != nil {
		return nil, err
	}
	return p.Backend.Stamps(ctx, guards)
}

func (p *probe) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := p.on("renew"); err != nil {
		return err
	}
	return p.Backend.Renew(ctx, guards, soft)
}

// slowBackend hangs but obeys its ctx, as a client of a server that has gone silent does.
type slowBackend struct {
	backend.Backend
	on atomic.Bool
}

func (s *slowBackend) hang(ctx context.Context) error {
	if s.on.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *slowBackend) Get(ctx context.Context, k backend.Key, g []backend.Guard) (backend.Found, error) {
	if err := s.hang(ctx); err != nil {
		return backend.Found{}, err
	}
	return s.Backend.Get(ctx, k, g)
}

func (s *slowBackend) Set(ctx context.Context, i []backend.Item, g []backend.Guard) ([]backend.Stamps, error) {
	if err := s.hang(ctx); err != nil {
		return nil, err
	}
	return s.Backend.Set(ctx, i, g)
}

func (s *slowBackend) Delete(ctx context.Context, k []backend.Key) error {
	if err := s.hang(ctx); err != nil {
		return err
	}
	return s.Backend.Delete(ctx, k)
}

func (s *slowBackend) Stamps(ctx context.Context, g []backend.Guard) ([]backend.Stamps, error) {
	if err := s.hang(ctx); err != nil {
		return nil, err
	}
	return s.Backend.Stamps(ctx, g)
}
