package attic

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/region"
)

// fresh opens an attic of its own for each subtest of the suite.
func fresh(t *testing.T) backend.Backend {
	b, err := backend.Open("attic:")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	t.Run("InBubble", func(t *testing.T) { backendtest.Run(t, fresh, backendtest.InBubble()) })
	t.Run("InRealTime", func(t *testing.T) { backendtest.Run(t, fresh) })
}

func TestOptions(t *testing.T) {
	for url, good := range map[string]bool{
		"attic:": true, "attic:?max_entries=1": true, "attic:?max_entries=0": false, "attic:?max_entries=x": false, "attic:?max_entry=1": false,
	} {
		b, err := backend.Open(url)
		if good != (err == nil) || !good && !strings.Contains(err.Error(), "max_entries") {
			t.Errorf("Open(%q) = %v", url, err)
		}
		if err == nil {
			b.Close()
		}
	}
}

// What is kept has a bound, and no name is longer than KeyMangler says.
func TestBounds(t *testing.T) {
	b, err := backend.Open("attic:?max_entries=3")
	if err != nil {
		t.Fatal(err)
	}
	r, err := region.New("users", region.Config{Backend: b, Expiration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 10 {
		key := fmt.Sprint(strings.Repeat("long ", 100), i)
		for range 2 {
			v, err := region.GetOrCreate(t.Context(), r, key, func(context.Context) (int, error) { return i, nil })
			if v != i || err != nil {
				t.Errorf("GetOrCreate = %v, %v; want %d", v, err, i)
			}
		}
	}
	if n := len(b.(*attic).entries); n != 3 {
		t.Errorf("%d entries are kept, want 3", n)
	}
	for key := range b.(*attic).entries {
		if len(key.Name) > 250 {
			t.Errorf("a name has %d bytes, want 250 at most", len(key.Name))
		}
	}
}

// What is replaced needs no more room, and takes none from others.
func TestReplacementWithoutRoom(t *testing.T) {
	b, err := backend.Open("attic:?max_entries=3")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := range 100 {
		items := []backend.Item{{Key: backend.Key{Name: fmt.Sprint(i % 3)}, Entry: &backend.Entry{Data: []byte("v")}}}
		if _, err := b.Set(t.Context(), items, nil); err != nil || items[0].Err != nil {
			t.Fatal(err, items[0].Err)
		}
		if n := len(b.(*attic).entries); n != min(i+1, 3) {
			t.Fatalf("%d entries after %d were set", n, i+1)
		}
	}
}

func TestItIsShort(t *testing.T) {
	source, err := os.ReadFile("attic.go")
	if n := strings.Count(string(source), "\n"); err != nil || n >= 100 {
		t.Errorf("attic.go has %d lines, %v; want less than 100", n, err)
	}
}
