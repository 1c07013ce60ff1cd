package memcached_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/lock"
)

// python is the layout of dogpile.cache.
var python = codec.Layout{LockPrefix: "_lock"}

// viewOf returns the view of a backend.
func viewOf(t testing.TB, b *memcached.Backend, layout codec.Layout) backend.Backend {
	t.Helper()
	view, err := b.Share(layout)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

// shared returns a view of the server that all tests share, with leases of two seconds,
// and a key that no other test has.
func shared(t testing.TB, layout codec.Layout) (*memcachedtest.Server, backend.Backend, backend.Key) {
	server := memcachedtest.Shared(t, 1)[0]
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: space(), LeaseTTL: 2 * time.Second})
	return server, viewOf(t, b, layout), sharedKey()
}

func sharedKey() backend.Key { return backend.Key{Region: "users", Name: "shared-" + space()} }

// putOne stores one item and returns what came of it.
func putOne(t testing.TB, b backend.Backend, item backend.Item) error {
	t.Helper()
	items := []backend.Item{item}
	stamps, err := b.Set(t.Context(), items, []backend.Guard{{Region: "users"}})
	if stamps != nil {
		t.Errorf("Set returns the stamps %v, want none", stamps)
	}
	return errors.Join(err, items[0].Err)
}

// dataOf returns what is stored under a key; "" is nothing.
func dataOf(t testing.TB, b backend.Backend, key backend.Key) string {
	t.Helper()
	found, err := b.Get(t.Context(), key, []backend.Guard{{Region: "users"}})
	if err != nil {
		t.Fatal(err)
	}
	if found.Stamps != nil {
		t.Errorf("Get returns the stamps %v, want none", found.Stamps)
	}
	if found.Entry == nil {
		return ""
	}
	return string(found.Entry.Data)
}

func entry(text string) *backend.Entry { return &backend.Entry{Data: []byte(text)} }

// tryLease tries to take the lease of a key.
func tryLease(t testing.TB, b backend.Backend, key backend.Key) backend.Grant {
	t.Helper()
	grants, stamps, err := b.Acquire(t.Context(), []backend.Key{key}, []backend.Guard{{Region: "users"}})
	if err != nil || stamps != nil {
		t.Fatalf("Acquire = %v, %v; want no error and no stamps", stamps, err)
	}
	return grants[0]
}

func TestShareRefusesWhatCannotBeShared(t *testing.T) {
	for want, c := range map[string]struct {
		cfg    memcached.Config
		layout codec.Layout
	}{
		"2 servers":        {memcached.Config{Servers: []string{"a", "b"}}, python},
		"Chunked":          {memcached.Config{Servers: []string{"a"}, Chunked: true}, python},
		"Compress":         {memcached.Config{Servers: []string{"a"}, Compress: true}, python},
		"empty":            {memcached.Config{Servers: []string{"a"}}, codec.Layout{}},
		"control":          {memcached.Config{Servers: []string{"a"}}, codec.Layout{LockPrefix: "a b"}},
		"no room":          {memcached.Config{Servers: []string{"a"}}, codec.Layout{LockPrefix: strings.Repeat("x", 250)}},
		"StealAfter":       {memcached.Config{Servers: []string{"a"}}, codec.Layout{LockPrefix: "_lock", StealAfter: -1}},
		"Flags":            {memcached.Config{Servers: []string{"a"}}, codec.Layout{LockPrefix: "_lock", Flags: 8}},
		"Servers is empty": {memcached.Config{}, python},
	} {
		b := memcached.New(c.cfg)
		if view, err := b.Share(c.layout); view != nil || !errors.Is(err, memcached.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("Share(%+v) of %+v = %v, %v; want an ErrConfig with %q in it", c.layout, c.cfg, view, err, want)
		}
		_ = b.Close()
	}
}

func TestShareReturnsTheSameView(t *testing.T) {
	b := open(t, memcached.Config{Servers: []string{"127.0.0.1:1"}})
	one, other := viewOf(t, b, python), viewOf(t, b, codec.Layout{LockPrefix: "_lock", Flags: 16})
	if one != viewOf(t, b, python) || one == other {
		t.Error("want one view for each layout, and always the same")
	}
	if !one.Bytes() {
		t.Error("a view is one of bytes")
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if err := one.Renew(t.Context(), []backend.Guard{{Region: "users"}}, false); !errors.Is(err, backend.ErrNoStamps) {
		t.Errorf("Renew = %v, want ErrNoStamps", err)
	}
	if stamps, err := one.Stamps(t.Context(), []backend.Guard{{Region: "users"}}); stamps != nil || err != nil {
		t.Errorf("Stamps = %v, %v; want none", stamps, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.Share(python); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("Share after Close = %v, want ErrClosed", err)
	}
	for name, err := range map[string]error{
		"Get":   func() error { _, err := one.Get(t.Context(), lateKey, nil); return err }(),
		"Renew": one.Renew(t.Context(), nil, false), "Wait": one.Wait(t.Context(), nil), "Delete": one.Delete(t.Context(), nil),
	} {
		if !errors.Is(err, backend.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", name, err)
		}
	}
}

func TestShareKeysThatMemcachedCannotHave(t *testing.T) {
	server, view, good := shared(t, python)
	server.Do(t, "set "+good.Name+" 0 0 1", "x")
	before := server.Requests(t)
	for _, name := range []string{"", "a b", "a\r\nflush_all", "a\x7f", "a\tb", strings.Repeat("x", 246)} {
		bad := backend.Key{Region: "users", Name: name}
		both := []backend.Key{good, bad}
		calls := map[string]error{
			"Get":      func() error { _, err := view.Get(t.Context(), bad, nil); return err }(),
			"GetMulti": func() error { _, _, err := view.GetMulti(t.Context(), both, nil); return err }(),
			"Acquire":  func() error { _, _, err := view.Acquire(t.Context(), both, nil); return err }(),
			"Wait":     view.Wait(t.Context(), both),
			"Set":      putOne(t, view, backend.Item{Key: bad, Entry: entry("x")}),
			"void":     putOne(t, view, backend.Item{Key: bad}),
			"Delete":   view.Delete(t.Context(), []backend.Key{bad}),
		}
		for call, err := range calls {
			if err == nil || !strings.Contains(err.Error(), "mangle.SHA1") {
				t.Errorf("%s of the key %.20q = %v, want an error that says what to do", call, name, err)
			}
		}
	}
	if n := server.Requests(t) - before; n != 0 {
		t.Errorf("%d requests went to the server, want none", n)
	}
	bad := backend.Key{Region: "users", Name: "a b"}
	items := []backend.Item{{Key: bad, Entry: entry("x")}, {Key: good, Entry: entry("y")}}
	if _, err := view.Set(t.Context(), items, nil); err != nil || items[0].Err == nil || items[1].Err != nil || dataOf(t, view, good) != "y" {
		t.Errorf("Set of a bad key and a good one = %v, %v, %v; want an Err of the bad one alone", err, items[0].Err, items[1].Err)
	}
	if err := view.Delete(t.Context(), []backend.Key{bad, good}); err == nil || dataOf(t, view, good) != "" {
		t.Errorf("Delete of a bad key and a good one = %v, want an error, and the good one deleted", err)
	}
	// The longest key that there is, with its lock.
	longest := backend.Key{Name: good.Name + strings.Repeat("x", 245-len(good.Name))}
	if err := putOne(t, view, backend.Item{Key: longest, Entry: entry("x"), Lease: leaseOf(t, view, longest).Lease}); err != nil {
		t.Error(err)
	}
}

// Values are stored as they are, under the very key.
func TestShareStoresWhatOthersRead(t *testing.T) {
	for _, flags := range []uint32{0, 16} {
		server, view, key := shared(t, codec.Layout{LockPrefix: "_lock", Flags: flags})
		other := sharedKey()
		want := func(how string, key backend.Key, text string) {
			t.Helper()
			item := fmt.Sprintf("VALUE %s %d %d\r\n%s\r\nEND", key.Name, flags, len(text), text)
			if got := server.Do(t, "get "+key.Name); got != item {
				t.Errorf("%s the server has %q, want %q", how, got, item)
			}
			if got := server.Do(t, "get _lock"+key.Name); got != "END" {
				t.Errorf("%s there is the lock %q, want none", how, got)
			}
			if got := server.Do(t, "mg "+key.Name+" t"); got != "HD t-1" {
				t.Errorf("%s the item has the TTL %q, want none", how, got)
			}
		}
		set := func(key backend.Key, text string, lease lock.Lease) {
			t.Helper()
			if err := putOne(t, view, backend.Item{Key: key, Entry: entry(text), Lease: lease}); err != nil {
				t.Fatal(err)
			}
		}
		set(key, "first", nil)
		want("after a Set where nothing was", key, "first")
		set(key, "second", nil)
		want("after a Set over a value", key, "second")
		set(other, "created", leaseOf(t, view, other).Lease)
		want("after a publication where nothing was", other, "created")
		grant := leaseOf(t, view, other)
		if grant.Entry == nil || string(grant.Entry.Data) != "created" {
			t.Errorf("Acquire finds %v, want what was stored", grant.Entry)
		}
		set(other, "again", grant.Lease)
		want("after a publication over a value", other, "again")
	}
}

func TestShareTTL(t *testing.T) {
	server, view, key := shared(t, python)
	ttl := func(key backend.Key) int {
		t.Helper()
		text, ok := strings.CutPrefix(server.Do(t, "mg "+key.Name+" t"), "HD t")
		n, err := strconv.Atoi(text)
		if !ok || err != nil {
			t.Fatalf("the TTL is %q", text)
		}
		return n
	}
	for _, d := range []time.Duration{5 * time.Second, time.Hour, 40 * 24 * time.Hour} {
		least := int(d / time.Second)
		for _, over := range []bool{false, true} {
			for _, leased := range []bool{false, true} {
				key := backend.Key{Name: fmt.Sprintf("%s-%d-%t-%t", key.Name, least, over, leased)}
				if over {
					server.Do(t, "set "+key.Name+" 0 0 1", "x")
				}
				item := backend.Item{Key: key, Entry: entry("x"), TTL: d}
				if leased {
					item.Lease = leaseOf(t, view, key).Lease
				}
				if err := putOne(t, view, item); err != nil {
					t.Fatal(err)
				}
				if n := ttl(key); n < least || n > least+2 {
					t.Errorf("a value with the TTL %v is kept for %d seconds", d, n)
				}
			}
		}
	}
	if err := putOne(t, view, backend.Item{Key: key, Entry: entry("x"), TTL: -1}); err == nil {
		t.Error("a negative TTL has no error")
	}
}

func zipped(data []byte) string {
	var out bytes.Buffer
	w, _ := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.String()
}

// What other programs have stored is read, or is an entry that nobody can read; it is
// never an error.
func TestShareReadsWhatOthersStore(t *testing.T) {
	server, view, base := shared(t, python)
	text := strings.Repeat("a text ", 1000)
	zip := zipped([]byte(text))
	const none = ""
	cases := []struct {
		flags      int
		data, want string
	}{
		{0, "plain", "plain"}, {16, "text", "text"}, {0, "", none},
		{8, zip, text}, {24, zip, text}, {8, zipped(nil), none},
		{1, "pickled", none}, {2, "1", none}, {4, "1", none}, {9, zip, none}, {32, "x", none}, {0xd0610010, "ours", none},
		{8, "", none}, {8, "x", none}, {8, zip[:len(zip)-1], none}, {8, zip[:len(zip)-3] + "abc", none}, {8, "\x78\x9c\xff\xff", none},
		{0, "last", "last"},
	}
	keys := make([]backend.Key, len(cases))
	for i, c := range cases {
		keys[i] = backend.Key{Name: fmt.Sprint(base.Name, "-", i)}
		if got := server.Do(t, fmt.Sprintf("set %s %d 0 %d", keys[i].Name, c.flags, len(c.data)), c.data); got != "STORED" {
			t.Fatal(got)
		}
	}
	keys = append(keys, backend.Key{Name: base.Name + "-absent"}, keys[0])
	entries, stamps, err := view.GetMulti(t.Context(), keys, []backend.Guard{{Region: "users"}})
	if err != nil || stamps != nil || len(entries) != len(keys) {
		t.Fatalf("GetMulti = %v, %v, %v; want %d entries", entries, stamps, err, len(keys))
	}
	for i, c := range cases {
		if entries[i] == nil || string(entries[i].Data) != c.want {
			t.Errorf("an item with the flags %d and %.20q reads as %.40v, want an entry with %.40q", c.flags, c.data, entries[i], c.want)
		}
		if got := dataOf(t, view, keys[i]); got != c.want {
			t.Errorf("Get of an item with the flags %d and %.20q = %.40q, want %.40q", c.flags, c.data, got, c.want)
		}
	}
	if absent, twice := entries[len(cases)], entries[len(cases)+1]; absent != nil || twice == nil || string(twice.Data) != "plain" {
		t.Errorf("an absent key reads as %v and one that stands there twice as %v", absent, twice)
	}
	grants, _, err := view.Acquire(t.Context(), keys[:len(cases)], nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if grants[i].Lease == nil || grants[i].Entry == nil || string(grants[i].Entry.Data) != c.want {
			t.Errorf("Acquire of an item with the flags %d and %.20q = %v, want %.40q", c.flags, c.data, grants[i], c.want)
		}
	}
}

func TestShareTooLarge(t *testing.T) {
	_, view, key := shared(t, python)
	if err := putOne(t, view, backend.Item{Key: key, Entry: entry("first")}); err != nil {
		t.Fatal(err)
	}
	for _, item := range []backend.Item{{}, {Lease: leaseOf(t, view, key).Lease}} {
		item.Key, item.Entry = key, &backend.Entry{Data: make([]byte, memcached.DefaultMaxValueSize+1)}
		if err := putOne(t, view, item); !errors.Is(err, memcached.ErrTooLarge) || strings.Contains(err.Error(), "Chunked") {
			t.Errorf("a value that is too large: %v, want ErrTooLarge", err)
		}
		if got := dataOf(t, view, key); got != "first" {
			t.Errorf("%q is stored, want what was there", got)
		}
		item.Entry = &backend.Entry{Data: make([]byte, memcached.DefaultMaxValueSize)}
		if item.Lease != nil {
			if err := putOne(t, view, item); err != nil {
				t.Errorf("the largest value, under a lease that is still held: %v", err)
			}
		}
	}
}

// A small item does not become more in memory than the largest value.
func TestShareReadsNoMoreThanTheLargestValue(t *testing.T) {
	t.Parallel()
	server, view, key := shared(t, python)
	bomb := zipped(make([]byte, 64<<20+1))
	server.Do(t, fmt.Sprintf("set %s 8 0 %d", key.Name, len(bomb)), bomb)
	found, err := view.Get(t.Context(), key, nil)
	if err != nil || found.Entry == nil || len(found.Entry.Data) != 0 {
		t.Errorf("Get = %v; want an entry that nobody can read", err)
	}
	// Nor do many small ones become more, all together.
	most := zipped(make([]byte, 40<<20))
	keys := []backend.Key{sharedKey(), sharedKey()}
	for _, key := range keys {
		server.Do(t, fmt.Sprintf("set %s 8 0 %d", key.Name, len(most)), most)
	}
	entries, _, err := view.GetMulti(t.Context(), keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, e := range entries {
		total += len(e.Data)
	}
	if total != 40<<20 {
		t.Errorf("two values of 40 MiB were read as %d bytes; want those of one", total)
	}
}
