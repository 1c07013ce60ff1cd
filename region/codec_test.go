package region_test

import (
	"context"
	"errors"
	"testing"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/codec/json"
	"github.com/dogpile-go/dogpile/region"
)

func TestAValueThatCannotBeEncodedReachesItsCallers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := &recorder{}
		cfg := config(memory.Config{Copy: true})
		cfg.Observer = rec
		r := open(t, cfg)
		type node struct{ Next *node }
		ring := &node{}
		ring.Next = ring
		got, err := region.GetOrCreate(t.Context(), r, "ring", func(context.Context) (*node, error) { return ring, nil })
		if got != ring || err != nil {
			t.Errorf("got %v, %v; want the ring itself", got, err)
		}
		f, err := region.GetOrCreate(t.Context(), r, "func", func(context.Context) (func() int, error) {
			return func() int { return 1 }, nil
		})
		if err != nil || f() != 1 {
			t.Errorf("a function: %v", err)
		}
		if len(rec.unstored) != 2 || !errors.Is(rec.unstored[0].Err, region.ErrEncode) {
			t.Errorf("events %+v; want two of ErrEncode", rec.unstored)
		}

		if err := region.Set(t.Context(), r, "k", "before"); err != nil {
			t.Fatal(err)
		}
		if err := region.Set(t.Context(), r, "k", ring); !errors.Is(err, region.ErrEncode) {
			t.Errorf("Set = %v, want ErrEncode", err)
		}
		holds(t, r, "k", "before")
	})
}

type panicky struct{ N int }

func (panicky) MarshalJSON() ([]byte, error) { panic("no") }

func TestAPanicOfACodecIsNotThePanicOfACaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		cfg.Codec = json.New()
		r := open(t, cfg)
		if _, err := region.GetOrCreate(t.Context(), r, "k", func(context.Context) (panicky, error) { return panicky{1}, nil }); err != nil {
			t.Error(err)
		}
		if err := region.Set(t.Context(), r, "k", panicky{}); !errors.Is(err, region.ErrEncode) {
			t.Errorf("Set = %v, want ErrEncode", err)
		}
	})
}

type undecodable struct{ N int }

func (undecodable) MarshalJSON() ([]byte, error) { return []byte("1"), nil }
func (*undecodable) UnmarshalJSON([]byte) error  { panic("no") }

func TestAValueWhoseDecodingPanicsIsAMissAndAnEvent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		cfg.Codec = json.New()
		r := open(t, cfg)
		if err := region.Set(t.Context(), r, "k", undecodable{}); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := region.Get[undecodable](t.Context(), r, "k"); ok || err != nil {
			t.Errorf("Get = %v, %v; want a miss", ok, err)
		}
		if s := r.Stats(); s.BadEntries != 1 {
			t.Errorf("%d bad entries, want 1", s.BadEntries)
		}
	})
}

func TestAnotherCodecsBytesAreAMiss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		old := open(t, cfg)
		must(t, old, "k", counting(), "v1")
		cfg.Codec = json.New()
		r := open(t, cfg)
		holds(t, r, "k", "")
		if s := r.Stats(); s.Foreign != 1 || s.BadEntries != 0 {
			t.Errorf("%d foreign and %d bad entries, want 1 and none", s.Foreign, s.BadEntries)
		}
	})
}

func TestDamagedBytesAreAMissAndAnEvent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(memory.Config{Copy: true})
		rec := &recorder{}
		cfg.Observer = rec
		r := open(t, cfg)
		ctx := t.Context()
		must(t, r, "k", counting(), "v1")
		found, err := cfg.Backend.Get(ctx, backend.Key{Region: "test", Name: "k"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		put := func(key string, data []byte) {
			t.Helper()
			items := []backend.Item{{Key: backend.Key{Region: "test", Name: key}, Entry: &backend.Entry{Data: data}}}
			if _, err := cfg.Backend.Set(ctx, items, nil); err != nil || items[0].Err != nil {
				t.Fatal(err, items[0].Err)
			}
		}
		for name, data := range map[string][]byte{
			"nothing":   nil,
			"truncated": found.Entry.Data[:len(found.Entry.Data)-1],
			"flipped":   append(append([]byte{}, found.Entry.Data[:50]...), append([]byte{found.Entry.Data[50] ^ 1}, found.Entry.Data[51:]...)...),
			"foreign":   []byte(`{"ct": 1795222722.15, "v": 2}|"x"`),
		} {
			put("k", data)
			events := len(rec.badEntries)
			holds(t, r, "k", "")
			if len(rec.badEntries) != events+1 {
				t.Errorf("%s: no event", name)
			}
		}
		put("other", found.Entry.Data)
		holds(t, r, "other", "")
		put("k", found.Entry.Data)
		holds(t, r, "k", "v1")
	})
}
