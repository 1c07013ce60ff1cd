package mangled_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/mangle"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/internal/mangled"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func user(name string) backend.Key { return backend.Key{Region: "users", Name: name} }

func entry(b backend.Backend, text string) *backend.Entry {
	if b.Bytes() {
		return &backend.Entry{Data: []byte(text)}
	}
	return &backend.Entry{Value: &text}
}

// eachKind runs a test over a backend of values and one of bytes.
func eachKind(t *testing.T, test func(t *testing.T, store backend.Backend)) {
	for name, config := range map[string]memory.Config{"values": {}, "bytes": {Copy: true}} {
		t.Run(name, func(t *testing.T) {
			store := memory.New(config)
			defer store.Close()
			test(t, store)
		})
	}
}

func TestConformance(t *testing.T) {
	for name, config := range map[string]memory.Config{"values": {}, "bytes": {Copy: true}} {
		for how, mangle := range map[string]mangle.Func{
			"digests": mangle.SHA256Over(20), "only digests": mangle.SHA256Over(-1), "SHA-1": mangle.SHA1, "a prefix": mangle.Prefix("v2-"),
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				backendtest.Run(t, func(t *testing.T) backend.Backend {
					other := func(key string) { t.Errorf("what was stored for %.40q is said to be another key's", key) }
					return mangled.New(memory.New(config), other, mangle)
				}, backendtest.InBubble())
			})
		}
	}
}

// spy remembers the names under which a backend is asked.
type spy struct {
	backend.Backend
	names  []string
	grants []backend.Grant // what Acquire returns if it is set
}

func (s *spy) saw(keys ...backend.Key) {
	for _, key := range keys {
		s.names = append(s.names, key.Name)
	}
}

func (s *spy) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	s.saw(key)
	return s.Backend.Get(ctx, key, guards)
}

func (s *spy) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	s.saw(keys...)
	return s.Backend.GetMulti(ctx, keys, guards)
}

func (s *spy) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	s.saw(keys...)
	grants, stamps, err := s.Backend.Acquire(ctx, keys, guards)
	if s.grants != nil {
		grants = append(grants, s.grants...)
	}
	return grants, stamps, err
}

func (s *spy) Wait(ctx context.Context, keys []backend.Key) error {
	s.saw(keys...)
	return s.Backend.Wait(ctx, keys)
}

func (s *spy) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	for i := range items {
		s.saw(items[i].Key)
	}
	return s.Backend.Set(ctx, items, guards)
}

func (s *spy) Delete(ctx context.Context, keys []backend.Key) error {
	s.saw(keys...)
	return s.Backend.Delete(ctx, keys)
}

// operations are all that have keys.
func operations(ctx context.Context, b backend.Backend, keys ...backend.Key) map[string]func() error {
	return map[string]func() error{
		"Get":      func() error { _, err := b.Get(ctx, keys[0], nil); return err },
		"GetMulti": func() error { _, _, err := b.GetMulti(ctx, keys, nil); return err },
		"Acquire": func() error {
			grants, _, err := b.Acquire(ctx, keys, nil)
			for _, g := range grants {
				if g.Lease != nil {
					err = errors.Join(err, g.Lease.Release(ctx))
				}
			}
			return err
		},
		"Wait": func() error { return b.Wait(ctx, keys) },
		"Set": func() error {
			items := make([]backend.Item, len(keys))
			for i := range items {
				items[i] = backend.Item{Key: keys[i], Entry: entry(b, "x")}
			}
			_, err := b.Set(ctx, items, nil)
			return err
		},
		"Delete": func() error { return b.Delete(ctx, keys) },
	}
}

func TestTheBackendSeesOnlyMangledKeys(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		s := &spy{Backend: store}
		b := mangled.New(s, func(string) {}, strings.ToUpper, func(key string) string { return key + "." })
		for op, call := range operations(t.Context(), b, user("a"), user("b")) {
			s.names = nil
			if err := call(); err != nil {
				t.Errorf("%s: %v", op, err)
			}
			want := []string{"A.", "B."}
			if op == "Get" {
				want = want[:1]
			}
			if !slices.Equal(s.names, want) {
				t.Errorf("%s asks the backend for %q, want %q", op, s.names, want)
			}
		}
	})
}

func TestAManglerThatFails(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		fails := func(key string) string {
			switch key {
			case "panics":
				panic("no such key")
			case "vanishes":
				return ""
			}
			return key
		}
		b := mangled.New(store, func(string) {}, fails, mangle.Prefix("x"))
		for name, word := range map[string]string{"panics": "no such key", "vanishes": "vanishes"} {
			for op, call := range operations(t.Context(), b, user(name), user("good")) {
				if err := call(); !errors.Is(err, mangled.ErrMangler) || !strings.Contains(err.Error(), word) {
					t.Errorf("%s of the key %q = %v, want mangled.ErrMangler with %q", op, name, err, word)
				}
			}
		}
		if _, err := b.Set(t.Context(), []backend.Item{{Key: user("good"), Entry: entry(b, "x")}}, nil); err != nil {
			t.Error(err)
		}
		if err := b.Delete(t.Context(), []backend.Key{user("panics"), user("good")}); !errors.Is(err, mangled.ErrMangler) {
			t.Errorf("Delete = %v, want mangled.ErrMangler", err)
		}
		if found, err := b.Get(t.Context(), user("good"), nil); err != nil || found.Entry != nil {
			t.Errorf("Get = %v, %v; want nothing: what can be deleted is, though another key cannot", found.Entry, err)
		}
		for op, call := range operations(t.Context(), mangled.New(store, func(string) {}, mangle.SHA256Over(10)), user("")) {
			if err := call(); err != nil {
				t.Errorf(`%s of the key "", which stays so, = %v`, op, err)
			}
		}
	})
}

// Keys of which a mangler makes one.
func TestKeysThatBecomeOne(t *testing.T) {
	eachKind(t, func(t *testing.T, store backend.Backend) {
		ctx := t.Context()
		var others []string
		b := mangled.New(store, func(key string) { others = append(others, key) }, func(key string) string { return key[:1] })
		keys := []backend.Key{user("a1"), user("a2"), user("b"), user("a3")}
		grants, _, err := b.Acquire(ctx, keys, nil)
		if err != nil || len(grants) != 4 || grants[0].Lease == nil || grants[1].Lease != nil || grants[2].Lease == nil || grants[3].Lease != nil {
			t.Fatalf("Acquire = %+v, %v; want leases for the first and the third key", grants, err)
		}
		items := []backend.Item{
			{Key: keys[0], Entry: entry(b, "a1"), Lease: grants[0].Lease},
			{Key: keys[2], Entry: entry(b, "b"), Lease: grants[2].Lease},
		}
		if _, err := b.Set(ctx, items, nil); err != nil || items[0].Err != nil || items[1].Err != nil {
			t.Fatalf("Set = %v, Err %v and %v", err, items[0].Err, items[1].Err)
		}
		others = nil
		entries, _, err := b.GetMulti(ctx, keys, nil)
		found, err2 := b.Get(ctx, keys[3], nil)
		grants, _, err3 := b.Acquire(ctx, keys[1:2], nil)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		if entries[0] == nil || entries[2] == nil {
			t.Errorf("GetMulti = %v, want what was stored under the first and the third key", entries)
		}
		if !b.Bytes() { // bytes say themselves whose they are
			for _, e := range []*backend.Entry{entries[1], entries[3], found.Entry, grants[0].Entry} {
				if e != nil {
					t.Errorf("another key's entry is returned: %+v", *e)
				}
			}
			if want := []string{"a2", "a3", "a3", "a2"}; !slices.Equal(others, want) {
				t.Errorf("others' entries were found for %q, want %q", others, want)
			}
		}
		grants[0].Lease.Release(ctx)

		items = []backend.Item{{Key: keys[0], Entry: entry(b, "new")}, {Key: keys[1], Entry: entry(b, "refused")}}
		if _, err := b.Set(ctx, items, nil); err != nil || items[0].Err != nil || items[1].Err == nil {
			t.Errorf("Set of two items in one place = %v, Err %v and %v; want an Err for the second one", err, items[0].Err, items[1].Err)
		}
		if err := b.Delete(ctx, keys[3:]); err != nil {
			t.Error(err)
		}
		if found, _ := b.Get(ctx, keys[0], nil); found.Entry != nil {
			t.Error("a Delete has left what stands in the key's place")
		}
	})
}

// An entry that was stored without the mangler is of no key that anybody knows.
func TestAnEntryWithoutASeal(t *testing.T) {
	store := memory.New(memory.Config{})
	defer store.Close()
	for _, tags := range [][]backend.Tagged{nil, {{Tag: "#t"}}, {{Tag: "mangled"}}} {
		e := entry(store, "x")
		e.Tags = tags
		if _, err := store.Set(t.Context(), []backend.Item{{Key: user("k"), Entry: e}}, nil); err != nil {
			t.Fatal(err)
		}
		others := 0
		b := mangled.New(store, func(string) { others++ }, mangle.Prefix(""))
		if found, err := b.Get(t.Context(), user("k"), nil); err != nil || found.Entry != nil || others != 1 {
			t.Errorf("Get = %v, %v, told %d times; want nothing, nil, once", found.Entry, err, others)
		}
	}
}

// What is done for one key touches nothing that others may have of the same entry.
func TestEntriesAreLeftAsTheyAre(t *testing.T) {
	store := memory.New(memory.Config{})
	defer store.Close()
	b := mangled.New(store, func(string) {}, mangle.SHA1)
	e := entry(b, "x")
	tags := []backend.Tagged{{Tag: "#t"}, {Tag: "#another value's"}}
	e.Tags = tags[:1]
	if _, err := b.Set(t.Context(), []backend.Item{{Key: user("k"), Entry: e}}, nil); err != nil {
		t.Fatal(err)
	}
	if len(e.Tags) != 1 || tags[1].Tag != "#another value's" {
		t.Errorf("Set has changed the tags that it was given, to %v", tags)
	}
	found, err := b.Get(t.Context(), user("k"), nil)
	if err != nil || found.Entry == nil {
		t.Fatal(found, err)
	}
	_ = append(found.Entry.Tags, backend.Tagged{Tag: "#more"})
	if again, err := b.Get(t.Context(), user("k"), nil); err != nil || again.Entry == nil {
		t.Errorf("what a reader has appended to the tags is in what is stored: %v, %v", again, err)
	}
}

func TestABackendThatGrantsTooMuch(t *testing.T) {
	store := memory.New(memory.Config{})
	defer store.Close()
	extra, _, err := store.Acquire(t.Context(), []backend.Key{user("extra")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := mangled.New(&spy{Backend: store, grants: extra}, func(string) {}, mangle.SHA1)
	if grants, _, err := b.Acquire(t.Context(), []backend.Key{user("a"), user("b")}, nil); err == nil || grants != nil {
		t.Errorf("Acquire = %v, %v; want an error", grants, err)
	}
	for _, key := range []string{mangle.SHA1("a"), mangle.SHA1("b"), "extra"} {
		if grants, _, err := store.Acquire(t.Context(), []backend.Key{user(key)}, nil); err != nil || grants[0].Lease == nil {
			t.Errorf("the lease of %q is held still: %v", key, err)
		}
	}
}
