package null_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/null"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	open := func(*testing.T) backend.Backend { return null.New() }
	t.Run("InBubble", func(t *testing.T) {
		backendtest.Run(t, open, backendtest.StoresNothing(), backendtest.InBubble())
	})
	t.Run("InRealTime", func(t *testing.T) { backendtest.Run(t, open, backendtest.StoresNothing()) })
}

func TestURL(t *testing.T) {
	for _, url := range []string{"null:", "null://", "NULL:"} {
		b, err := backend.Open(url)
		if err != nil {
			t.Fatalf("Open(%q): %v", url, err)
		}
		if _, ok := b.(*null.Backend); !ok {
			t.Fatalf("Open(%q) = %T", url, b)
		}
		b.Close()
	}
	for url, want := range map[string]string{
		"null:?max_entries=1": `"max_entries"`,
		"null://host":         "nothing to connect to",
		"null:x":              "nothing to connect to",
	} {
		if b, err := backend.Open(url); err == nil || b != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, %v; want an error with %s", url, b, err, want)
		}
	}
}
