package region_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/codec/cbor"
	"github.com/dogpile-go/dogpile/region"
)

// shelf is a backend of bytes whose reads cost nothing of their own: it looks at the
// context as the client of a server does, and answers with what lies there. What is
// measured over it is the region's share of a hit, and the codec's.
type shelf struct {
	backend.Backend
	lies   map[string]backend.Found
	stamps map[backend.Guard]backend.Stamps
}

func (s *shelf) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	if deadline, ok := ctx.Deadline(); !ok || deadline.IsZero() {
		return backend.Found{}, fmt.Errorf("a call without deadline: %w", ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return backend.Found{}, err
	}
	found := s.lies[key.Name]
	if len(guards) > 1 {
		found.Stamps = make([]backend.Stamps, len(guards))
		for i, guard := range guards {
			found.Stamps[i] = s.stamps[guard]
		}
	}
	return found, nil
}

// fill puts on the shelf what is stored under keys by now.
func (s *shelf) fill(tb testing.TB, of string, keys ...string) {
	tb.Helper()
	for _, name := range keys {
		found, err := s.Backend.Get(tb.Context(), backend.Key{Region: of, Name: name}, []backend.Guard{{Region: of}})
		if err != nil || found.Entry == nil {
			tb.Fatalf("%q is not stored: %v", name, err)
		}
		s.lies[name] = found
	}
}

// account is a small value.
type account struct {
	ID   int64
	Name string
	Age  int
}

func loadAccount(_ context.Context, id int64) (account, error) {
	return account{ID: id, Name: "somebody", Age: 42}, nil
}

// byteHits are the ways to hit an account on a shelf.
func byteHits(tb testing.TB) map[string]func(context.Context) error {
	tb.Helper()
	s := &shelf{Backend: memory.New(memory.Config{Copy: true}), lies: map[string]backend.Found{}, stamps: map[backend.Guard]backend.Stamps{}}
	r, err := region.New("accounts", region.Config{
		Backend: s, Expiration: time.Hour, Observer: loud{tb},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	ctx := tb.Context()
	want, err := loadAccount(ctx, 1234567)
	if err != nil {
		tb.Fatal(err)
	}
	if err := region.Set(ctx, r, "account:1234567", want); err != nil {
		tb.Fatal(err)
	}
	bound := region.Bind1(r, loadAccount)
	bySpace := region.Cached(r, loadAccount, region.Namespace("accounts"))
	key, err := bound.Key(want.ID)
	if err != nil {
		tb.Fatal(err)
	}
	if err := bound.Set(ctx, want.ID, want); err != nil {
		tb.Fatal(err)
	}
	if _, err := bySpace(ctx, want.ID); err != nil {
		tb.Fatal(err)
	}
	s.fill(tb, "accounts", "account:1234567", key, "accounts(int64(1234567))")
	guards := []backend.Guard{{Region: "accounts"}, {Region: "accounts", Tag: "(" + key[:strings.Index(key, "(")]}}
	stamps, err := s.Backend.Stamps(ctx, guards)
	if err != nil {
		tb.Fatal(err)
	}
	for i, guard := range guards {
		s.stamps[guard] = stamps[i]
	}

	create := func(context.Context) (account, error) { return account{}, region.ErrNotFound }
	check := func(got account, err error) error {
		if err != nil || got != want {
			return fmt.Errorf("got %+v, %w; want %+v", got, err, want)
		}
		return nil
	}
	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error {
			got, _, err := region.Get[account](ctx, r, "account:1234567")
			return check(got, err)
		},
		"GetOrCreate": func(ctx context.Context) error {
			return check(region.GetOrCreate(ctx, r, "account:1234567", create))
		},
		"CacheOnArguments": func(ctx context.Context) error {
			return check(bound.Call(ctx, want.ID))
		},
		"Cached": func(ctx context.Context) error {
			return check(bySpace(ctx, want.ID))
		},
		"Bound.Get": func(ctx context.Context) error {
			got, _, err := bound.Get(ctx, want.ID)
			return check(got, err)
		},
	}
}

// loud fails a test whose stored values cannot be read.
type loud struct{ testing.TB }

func (l loud) ObserveBadEntry(e region.BadEntryEvent) { l.Error(e.Err) }

func BenchmarkByteHit(b *testing.B) {
	hits := byteHits(b)
	for _, who := range []string{"Get", "GetOrCreate", "Cached", "CacheOnArguments", "Bound.Get"} {
		hit := hits[who]
		b.Run(who+"/serial", func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if err := hit(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(who+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := hit(b.Context()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	b.Run("decode", func(b *testing.B) {
		c := cbor.New()
		data, err := c.Append(nil, account{ID: 1234567, Name: "somebody", Age: 42})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Decode(data, new(account)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
