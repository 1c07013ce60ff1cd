package region_test

import (
	"context"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/region"
)

func loadText(_ context.Context, key string) (string, error) { return "value of " + key, nil }

// Hits on the memory backend allocate nothing, with stats on.
func TestHitsAllocateNothing(t *testing.T) {
	r, err := region.New("allocations", region.Config{Backend: memory.New(memory.Config{}), Expiration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx := t.Context()
	byNumber, byText := region.Cached(r, load1), region.Cached(r, loadText)
	pair := region.Cached2(r, load2)
	create := counting().create
	if err := region.Set(ctx, r, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"GetOrCreate":    func() error { _, err := region.GetOrCreate(ctx, r, "k", create); return err },
		"Cached(int64)":  func() error { _, err := byNumber(ctx, 1234567); return err },
		"Cached(string)": func() error { _, err := byText(ctx, "a key of thirty-five characters, no"); return err },
		"Cached2":        func() error { _, err := pair(ctx, "first", "second"); return err },
		"Get":            func() error { _, _, err := region.Get[string](ctx, r, "k"); return err },
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		before := r.Stats()
		n := testing.AllocsPerRun(1000, func() {
			if err := call(); err != nil {
				t.Error(err)
			}
		})
		// The race detector makes sync.Pool drop things at random.
		if n != 0 && !raceEnabled {
			t.Errorf("%s allocates %v times", name, n)
		}
		if hits := r.Stats().Hits - before.Hits; hits != 1001 {
			t.Errorf("%s: %d hits were counted, want 1001", name, hits)
		}
	}
}

// Hits over a backend of bytes allocate the context of the call and, for a wrapped
// function, the key; the rest is the codec's.
func TestByteHitsAllocateLittle(t *testing.T) {
	c := cbor.New()
	data, err := c.Append(nil, account{ID: 1234567, Name: "somebody", Age: 42})
	if err != nil {
		t.Fatal(err)
	}
	codecs := testing.AllocsPerRun(1000, func() {
		if err := c.Decode(data, new(account)); err != nil {
			t.Error(err)
		}
	})
	for who, hit := range byteHits(t) {
		want := codecs + 1
		if who != "Get" && who != "GetOrCreate" {
			want++
		}
		if who == "CacheOnArguments" || who == "Bound.Get" {
			// The function's stamps are asked for, answered by the shelf, read from
			// the value, and compared.
			want += 6
		}
		ctx := t.Context()
		n := testing.AllocsPerRun(1000, func() {
			if err := hit(ctx); err != nil {
				t.Error(err)
			}
		})
		// The race detector makes sync.Pool drop things at random.
		if n > want && !raceEnabled {
			t.Errorf("%s allocates %v times, want %v", who, n, want)
		}
	}
}
