package decorate_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

// eachConfig runs a test in a bubble for a backend of values, one of bytes, and one that
// counts as a server, each behind a proxy that is told to count and to fail.
func eachConfig(t *testing.T, test func(t *testing.T, cfg region.Config, p *tap)) {
	for name, of := range map[string]func() backend.Backend{
		"values": func() backend.Backend { return memory.New(memory.Config{}) },
		"bytes":  func() backend.Backend { return memory.New(memory.Config{Copy: true}) },
		"remote": func() backend.Backend { return &struct{ backend.Backend }{memory.New(memory.Config{Copy: true})} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &tap{}
				cfg := region.Config{Backend: of(), Expiration: time.Minute}
				cfg.Wrap = []func(backend.Backend) backend.Backend{func(b backend.Backend) backend.Backend {
					return &tapped{Backend: b, tap: p}
				}}
				test(t, cfg, p)
			})
		})
	}
}

func openRegion(t *testing.T, name string, cfg region.Config) *region.Region {
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

var errDown = errors.New("the backend is down")

// tap sees what regions ask of a backend.
type tap struct {
	reads   atomic.Int64 // of entries
	failing atomic.Bool  // everything fails

	mu    sync.Mutex
	turns []backend.Key // for which Acquire was called, of regions that no user can have
}

func (p *tap) err() error {
	if p.failing.Load() {
		return errDown
	}
	return nil
}

func (p *tap) turn() backend.Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.turns) == 0 {
		return backend.Key{}
	}
	return p.turns[len(p.turns)-1]
}

type tapped struct {
	backend.Backend
	tap *tap
}

func (b *tapped) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	b.tap.reads.Add(1)
	if err := b.tap.err(); err != nil {
		return backend.Found{}, err
	}
	return b.Backend.Get(ctx, key, guards)
}

func (b *tapped) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	b.tap.reads.Add(1)
	if err := b.tap.err(); err != nil {
		return nil, nil, err
	}
	return b.Backend.GetMulti(ctx, keys, guards)
}

func (b *tapped) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	if err := b.tap.err(); err != nil {
		return nil, nil, err
	}
	b.tap.mu.Lock()
	for _, key := range keys {
		if key.Region != "test" {
			b.tap.turns = append(b.tap.turns, key)
		}
	}
	b.tap.mu.Unlock()
	return b.Backend.Acquire(ctx, keys, guards)
}

// upTo yields the numbers below n.
func upTo(n int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
