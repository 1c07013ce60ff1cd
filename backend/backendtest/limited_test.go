package backendtest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/mangle"
	"github.com/dogpile-go/dogpile/backend/memory"
)

// limited is a backend that cannot keep long names.
type limited struct{ backend.Backend }

const longest = 80

func (l *limited) KeyMangler() func(string) string { return mangle.SHA256Over(longest) }

func (l *limited) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	if len(key.Name) > longest {
		return backend.Found{}, fmt.Errorf("a name of %d bytes", len(key.Name))
	}
	return l.Backend.Get(ctx, key, guards)
}

func (l *limited) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	for i := range items {
		if n := len(items[i].Key.Name); n > longest {
			return nil, fmt.Errorf("a name of %d bytes", n)
		}
	}
	return l.Backend.Set(ctx, items, guards)
}

// The suite uses a backend as a region does: with the keys that it can keep.
func TestABackendThatCannotKeepEveryKey(t *testing.T) {
	t.Run("one side", func(t *testing.T) {
		backendtest.Run(t, func(*testing.T) backend.Backend {
			return &limited{memory.New(memory.Config{})}
		}, backendtest.InBubble())
	})
	t.Run("two sides", func(t *testing.T) {
		backendtest.RunPair(t, func(t *testing.T) (a, b backend.Backend) {
			server := memory.New(memory.Config{Copy: true})
			t.Cleanup(func() { server.Close() })
			return &limited{newSide(server)}, &limited{newSide(server)}
		}, backendtest.InBubble())
	})
}
