package memcached_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memcached"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

func put(t *testing.T, b *memcached.Backend, key backend.Key, data []byte, ttl time.Duration) error {
	t.Helper()
	items := []backend.Item{{Key: key, Entry: &backend.Entry{Data: data}, TTL: ttl}}
	if _, err := b.Set(t.Context(), items, nil); err != nil {
		t.Fatalf("Set = %v", err)
	}
	return items[0].Err
}

func get(t *testing.T, b *memcached.Backend, key backend.Key) []byte {
	t.Helper()
	found, err := b.Get(t.Context(), key, nil)
	if err != nil {
		t.Fatalf("Get = %v", err)
	}
	if found.Entry == nil {
		return nil
	}
	return found.Entry.Data
}

// A value over the limit is refused before it is sent, and the old one stays (R27).
func TestFaultTooLarge(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: space()})
	if err := put(t, b, lateKey, []byte("old"), 0); err != nil {
		t.Fatal(err)
	}
	if err := put(t, b, lateKey, make([]byte, 2<<20), 0); !errors.Is(err, memcached.ErrTooLarge) {
		t.Errorf("Err of an item of 2 MiB = %v, want ErrTooLarge", err)
	}
	if got := get(t, b, lateKey); string(got) != "old" {
		t.Errorf("%q is stored, want the old value", got)
	}
	grants, _, err := b.Acquire(t.Context(), []backend.Key{lateKey}, nil)
	if err != nil {
		t.Fatal(err)
	}
	items := []backend.Item{{Key: lateKey, Entry: &backend.Entry{Data: make([]byte, 2<<20)}, Lease: grants[0].Lease}}
	if _, err := b.Set(t.Context(), items, nil); err != nil || !errors.Is(items[0].Err, memcached.ErrTooLarge) {
		t.Errorf("Err of a publication of 2 MiB = %v, %v; want ErrTooLarge", err, items[0].Err)
	}
	items[0].Entry = &backend.Entry{Data: []byte("small")}
	if _, err := b.Set(t.Context(), items, nil); err != nil || items[0].Err != nil {
		t.Errorf("the lease is not held any more after that: %v, %v", err, items[0].Err)
	}
	// What is just allowed is stored.
	largest := make([]byte, memcached.DefaultMaxValueSize)
	_, _ = rand.Read(largest)
	if err := put(t, b, lateKey, largest, time.Hour); err != nil {
		t.Errorf("Err of a value of DefaultMaxValueSize = %v", err)
	}
	if !bytes.Equal(get(t, b, lateKey), largest) {
		t.Error("a value of DefaultMaxValueSize is not what is found")
	}
}

// Values in parts, and compressed ones, come back as they were, whoever reads them; a
// part that is missing or another one makes a miss.
func TestPartsAndCompression(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	prefix := space()
	reader := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: prefix})
	random := make([]byte, 5<<20)
	_, _ = rand.Read(random)
	text := bytes.Repeat([]byte("all work and no play "), 1<<18)
	for name, cfg := range map[string]memcached.Config{
		"chunked":  {Chunked: true},
		"both":     {Chunked: true, Compress: true},
		"small":    {Chunked: true, MaxValueSize: 100 << 10},
		"compress": {Compress: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Servers, cfg.Prefix = []string{server.Addr}, prefix
			b := open(t, cfg)
			for i, data := range [][]byte{{}, []byte("x"), random[:1023], random[:1024], random[:1025], text[:2000], text, random} {
				err := put(t, b, lateKey, data, time.Hour)
				if len(data) == len(random) && name == "compress" {
					if !errors.Is(err, memcached.ErrTooLarge) {
						t.Errorf("Err of what cannot be compressed = %v, want ErrTooLarge", err)
					}
					continue
				}
				if err != nil {
					t.Errorf("value %d: Err = %v", i, err)
				}
				if got := get(t, reader, lateKey); got == nil || !bytes.Equal(got, data) {
					t.Errorf("value %d of %d bytes comes back with %d", i, len(data), len(got))
				}
				several, _, err := reader.GetMulti(t.Context(), []backend.Key{lateKey, {Region: "users", Name: "no"}, lateKey}, nil)
				if err != nil || several[1] != nil || several[0] == nil || !bytes.Equal(several[0].Data, data) || !bytes.Equal(several[2].Data, data) {
					t.Errorf("value %d: GetMulti = %v", i, err)
				}
			}
		})
	}
}

var partOf = regexp.MustCompile(`set (\S+:p:\S+) (\d+) `)

func TestFaultBrokenParts(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	b := open(t, memcached.Config{Servers: []string{proxy.Addr}, Chunked: true, MaxValueSize: 1024})
	for name, harm := range map[string]func(part, flags string){
		"missing": func(part, _ string) { server.Do(t, "delete "+part) },
		"other":   func(part, flags string) { server.Do(t, "set "+part+" "+flags+" 0 1024", strings.Repeat("x", 1024)) },
		"shorter": func(part, flags string) { server.Do(t, "set "+part+" "+flags+" 0 1", "x") },
		"foreign": func(part, _ string) { server.Do(t, "set "+part+" 0 0 1", "x") },
	} {
		var part atomic.Pointer[[]string]
		proxy.OnRequest(func(request []byte) {
			if m := partOf.FindStringSubmatch(string(request)); m != nil {
				part.Store(&m)
			}
		})
		if err := put(t, b, lateKey, bytes.Repeat([]byte("0123456789"), 1000), 0); err != nil {
			t.Fatal(err)
		}
		if len(get(t, b, lateKey)) != 10_000 {
			t.Fatal("the value is not there")
		}
		m := *part.Load()
		harm(m[1], m[2])
		if got := get(t, b, lateKey); got != nil {
			t.Errorf("a value with a part that is %s has %d bytes, want a miss", name, len(got))
		}
	}
}

// What somebody else stores under our names is a miss, or, if it is marked as ours,
// nothing that could do harm; and it is written over.
func TestForeignItems(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	b := open(t, memcached.Config{Servers: []string{proxy.Addr}})
	guards := []backend.Guard{{Region: "users"}}
	if _, err := b.Get(t.Context(), lateKey, guards); err != nil {
		t.Fatal(err)
	}
	requests := proxy.Requests()
	names := strings.Fields(string(requests[len(requests)-1]))[1:]
	flags := []uint32{0, 1, 0xd0610011, 0xd0610012, 0xd0610020, 0xd0610030, 0xd0610001, 0xd0610040, math.MaxUint32}
	rng := mathrand.New(mathrand.NewPCG(1, 1))
	for _, flag := range flags {
		for _, size := range []int{0, 1, 3, 4, 5, 12, 23, 24, 42, 43, 100, 2000} {
			text := make([]byte, size)
			for i := range text {
				text[i] = byte('!' + rng.IntN(90))
			}
			for _, name := range names {
				server.Do(t, fmt.Sprintf("set %s %d 0 %d", name, flag, size), string(text))
			}
			found, err := b.Get(t.Context(), lateKey, guards)
			if err != nil || found.Entry != nil {
				t.Fatalf("%d bytes with the flags %x: %v, %v; want a miss", size, flag, found.Entry, err)
			}
			stamps, err := b.Stamps(t.Context(), guards)
			if err != nil || stamps[0].Hard.IsZero() || stamps[0].Soft.IsZero() {
				t.Fatalf("%d bytes with the flags %x: stamps %x, %v; want some", size, flag, stamps, err)
			}
			if err := put(t, b, lateKey, []byte("ours"), 0); err != nil || string(get(t, b, lateKey)) != "ours" {
				t.Fatalf("%d bytes with the flags %x cannot be written over: %v", size, flag, err)
			}
		}
	}
}

// Whatever a key is made of, nothing of it goes over the wire (R28).
func TestHostileKeys(t *testing.T) {
	server := memcachedtest.Start(t)
	proxy := faultproxy.New(t, server.Addr)
	prefix := space()
	b := open(t, memcached.Config{Servers: []string{proxy.Addr}, Prefix: prefix})
	request := regexp.MustCompile(`^(gets( ` + prefix + `:[vls]:[A-Za-z0-9_-]{43})+\r\n` +
		`|(add|cas) ` + prefix + `:[vls]:[A-Za-z0-9_-]{43} \d+ -?\d+ \d+( \d+)?\r\n[ -~\x80-\xff]*\r\n` +
		`|append ` + prefix + `:v:[A-Za-z0-9_-]{43} 0 0 0\r\n\r\n` +
		`|delete ` + prefix + `:[vl]:[A-Za-z0-9_-]{43}\r\n)$`)
	var injected atomic.Int64
	proxy.OnRequest(func(bytes []byte) {
		if !request.Match(bytes) && injected.Add(1) < 5 {
			t.Errorf("the server was sent %q", bytes)
		}
	})
	pieces := []string{"", " ", "\r\n", "\n", "\x00", "\x7f", "\xff", "set x 0 0 1\r\ny\r\n", "delete a", "flush_all\r\n", ":", "a", "b", "../", "é", strings.Repeat("k", 251), "%0d%0a", "\t"}
	rng := mathrand.New(mathrand.NewPCG(7, 7))
	seen := map[string]bool{}
	total := rounds(20_000, 1_000_000)
	const batch = 500
	for len(seen) < total {
		var keys []backend.Key
		for len(keys) < batch {
			var name strings.Builder
			for range 1 + rng.IntN(6) {
				name.WriteString(pieces[rng.IntN(len(pieces))])
			}
			if len(seen)%3 == 0 {
				fmt.Fprint(&name, rng.Uint64())
			}
			key := backend.Key{Region: []string{"users", "user", "", "a b\r\n"}[rng.IntN(4)], Name: name.String()}
			if at := fmt.Sprintf("%d %s", len(key.Region), key.Region+key.Name); !seen[at] {
				seen[at] = true
				keys = append(keys, key)
			} else if rng.IntN(10) == 0 {
				pieces = append(pieces, fmt.Sprint(rng.Uint32()))
			}
		}
		items := make([]backend.Item, len(keys))
		for i, key := range keys {
			items[i] = backend.Item{Key: key, Entry: &backend.Entry{Data: []byte(fmt.Sprintf("%d of %x", i, key.Name[:min(8, len(key.Name))]))}}
		}
		few := items[:20] // reads are cheap, writes are not
		if _, err := b.Set(t.Context(), few, nil); err != nil {
			t.Fatal(err)
		}
		entries, _, err := b.GetMulti(t.Context(), keys, []backend.Guard{{Region: keys[0].Region, Tag: keys[0].Name}})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if stored := i < len(few); stored != (e != nil) || stored && !bytes.Equal(e.Data, items[i].Entry.Data) {
				t.Fatalf("%q holds %v, want its own value or, if it was not stored, nothing", keys[i], e)
			}
		}
		if err := b.Delete(t.Context(), keys[:2]); err != nil {
			t.Fatal(err)
		}
	}
	if n := injected.Load(); n > 0 {
		t.Errorf("%d requests were not ours", n)
	}
	if n := server.Stat(t, "cmd_flush"); n > 0 {
		t.Errorf("the server was flushed %d times", n)
	}
	t.Logf("%d keys", len(seen))
}

// A TTL is what it should be on the real server: the table is that of
// internal/memcachedio, the clock the server's.
func TestTTL(t *testing.T) {
	server := memcachedtest.Shared(t, 1)[0]
	b := open(t, memcached.Config{Servers: []string{server.Addr}, Prefix: space()})
	day := 24 * time.Hour
	for _, ttl := range []time.Duration{0, 1, time.Millisecond, time.Second, 30*day - time.Second, 30 * day, 30*day + 1, 31 * day, 20 * 365 * day, math.MaxInt64} {
		if err := put(t, b, lateKey, []byte(ttl.String()), ttl); err != nil {
			t.Errorf("a TTL of %v: %v", ttl, err)
		}
		if got := get(t, b, lateKey); string(got) != ttl.String() {
			t.Errorf("with a TTL of %v nothing is stored", ttl)
		}
	}
	if err := put(t, b, lateKey, nil, -1); err == nil {
		t.Error("a negative TTL is taken")
	}
}

// Without CAS nothing can be promised.
func TestFaultServerWithoutCAS(t *testing.T) {
	server := memcachedtest.Start(t, "-C")
	b := open(t, memcached.Config{Servers: []string{server.Addr}})
	if err := put(t, b, lateKey, []byte("x"), 0); !errors.Is(err, memcached.ErrNoCAS) {
		t.Errorf("Set = %v, want ErrNoCAS", err)
	}
	if _, err := b.Stamps(t.Context(), []backend.Guard{{Region: "users"}}); !errors.Is(err, memcached.ErrNoCAS) {
		t.Errorf("Stamps = %v, want ErrNoCAS", err)
	}
}
