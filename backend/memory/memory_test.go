package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	for name, config := range map[string]memory.Config{
		"Values":   {},
		"Copies":   {Copy: true},
		"MaxBytes": {MaxBytes: 64 << 20},
	} {
		open := func(*testing.T) backend.Backend { return memory.New(config) }
		t.Run(name+"InBubble", func(t *testing.T) { backendtest.Run(t, open, backendtest.InBubble()) })
		t.Run(name+"InRealTime", func(t *testing.T) {
			t.Parallel() // because time passes
			backendtest.Run(t, open)
		})
	}
}

func user(name string) backend.Key { return backend.Key{Region: "users", Name: name} }

// set stores a value and returns the outcome.
func set(t testing.TB, b *memory.Backend, name string, value any, ttl time.Duration) error {
	t.Helper()
	items := []backend.Item{{Key: user(name), Entry: &backend.Entry{Value: value}, TTL: ttl}}
	if _, err := b.Set(t.Context(), items, nil); err != nil {
		t.Fatalf("Set: %v", err)
	}
	return items[0].Err
}

func TestBadConfig(t *testing.T) {
	for want, config := range map[string]memory.Config{
		"both set":         {MaxEntries: 1, MaxBytes: 1},
		"MaxEntries is -1": {MaxEntries: -1},
		"MaxBytes is -1":   {MaxBytes: -1, Copy: true},
	} {
		b := memory.New(config)
		err := b.Err()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("Err of %+v = %v, want one that says %q", config, err, want)
		}
		refused := func() {
			t.Helper()
			ctx, keys := t.Context(), []backend.Key{user("ann")}
			for name, call := range map[string]func() error{
				"Err":      b.Err,
				"Get":      func() error { _, err := b.Get(ctx, keys[0], nil); return err },
				"GetMulti": func() error { _, _, err := b.GetMulti(ctx, keys, nil); return err },
				"Acquire":  func() error { _, _, err := b.Acquire(ctx, keys, nil); return err },
				"Wait":     func() error { return b.Wait(ctx, keys) },
				"Set":      func() error { _, err := b.Set(ctx, nil, nil); return err },
				"Delete":   func() error { return b.Delete(ctx, keys) },
				"Stamps":   func() error { _, err := b.Stamps(ctx, nil); return err },
				"Renew":    func() error { return b.Renew(ctx, nil, false) },
			} {
				if got := call(); !errors.Is(got, err) {
					t.Errorf("%s of %+v = %v, want what Err says", name, config, got)
				}
			}
		}
		refused()
		if b.Bytes() != config.Copy || peek(b, user("ann")) != nil || b.In("users").Live() == nil {
			t.Errorf("Bytes, Peek or Live of %+v", config)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		refused()
	}
	b := memory.New(memory.Config{})
	defer b.Close()
	if err := b.Err(); err != nil {
		t.Errorf("Err of the zero Config = %v", err)
	}
}

func TestURL(t *testing.T) {
	for url, copied := range map[string]bool{
		"memory:": false, "memory://": false, "memory:?max_entries=10": false, "memory:?max_bytes=1000000&copy=true": true,
		"memory:?copy=1": true, "memory:?copy=false": false,
	} {
		b, err := backend.Open(url)
		if err != nil {
			t.Fatalf("Open(%q): %v", url, err)
		}
		if b.Bytes() != copied {
			t.Errorf("Open(%q).Bytes() = %v", url, b.Bytes())
		}
		b.Close()
	}
	for url, wants := range map[string][]string{
		"memory:?max_entrys=10":             {`"max_entrys"`, "copy, max_bytes, max_entries"},
		"memory:?max_entries=ten":           {"max_entries", `"ten"`, "invalid syntax"},
		"memory:?max_entries=":              {"max_entries", `""`},
		"memory:?max_bytes=1e3":             {"max_bytes", `"1e3"`},
		"memory:?copy=maybe":                {"copy", `"maybe"`},
		"memory:?max_entries=1&max_bytes=1": {"both set"},
		"memory:?max_entries=-1":            {"MaxEntries is -1"},
		"memory:?copy=true&copy=false":      {"copy", "2 times"},
		"memory:?copy=%zz":                  {"cannot be read"},
		"memory:max_entries=10":             {"nothing to connect to"},
		"memory://localhost":                {"nothing to connect to"},
		"memory:///tmp":                     {"nothing to connect to"},
	} {
		b, err := backend.Open(url)
		if err == nil || b != nil {
			t.Errorf("Open(%q) = %v, %v; want an error alone", url, b, err)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Open(%q) = %q, want it to say %s", url, err, want)
			}
		}
	}
}

func TestMaxEntriesFromURL(t *testing.T) {
	b, err := backend.Open("memory:?max_entries=50")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if n := fill(t, b.(*memory.Backend), 500); n > 50 || n < 25 {
		t.Errorf("%d entries are kept, want about 50", n)
	}
}

// fill stores n small entries, gives the eviction time to catch up, and returns
// how many can still be read.
func fill(t *testing.T, b *memory.Backend, n int) (kept int) {
	t.Helper()
	for i := range n {
		value := strings.Repeat("v", 100)
		if err := set(t, b, fmt.Sprint(i), &value, 0); err != nil {
			t.Fatal(err)
		}
	}
	b.CleanUp()
	for i := range n {
		if peek(b, user(fmt.Sprint(i))) != nil {
			kept++
		}
	}
	return kept
}

func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		config   memory.Config
		set      int
		min, max int
	}{
		"MaxEntries":         {memory.Config{MaxEntries: 1000}, 10_000, 900, 1000},
		"default MaxEntries": {memory.Config{}, 120_000, 90_000, 100_000},
		// An entry counts for 100 bytes of value, 16 of string header, 256 of
		// overhead and about 4 of key.
		"MaxBytes":            {memory.Config{MaxBytes: 376_000}, 10_000, 900, 1001},
		"MaxBytes with Weigh": {memory.Config{MaxBytes: 1_260_000, Weigh: func(any) int { return 1000 }}, 10_000, 900, 1001},
	} {
		t.Run(name, func(t *testing.T) {
			b := memory.New(c.config)
			defer b.Close()
			if kept := fill(t, b, c.set); kept < c.min || kept > c.max {
				t.Errorf("%d of %d entries are kept, want %d to %d", kept, c.set, c.min, c.max)
			}
		})
	}
}

func TestTooHeavy(t *testing.T) {
	b := memory.New(memory.Config{MaxBytes: 10_000})
	defer b.Close()
	small, large := "small", strings.Repeat("x", 10_000)
	for name, value := range map[string]*string{"small": &small, "large": &large} {
		if err := set(t, b, name, value, 0); err != nil {
			t.Fatalf("an item that is too large is dropped, not refused; Err = %v", err)
		}
	}
	b.CleanUp()
	if peek(b, user("large")) != nil {
		t.Error("an entry larger than MaxBytes is kept")
	}
	if peek(b, user("small")) == nil {
		t.Error("an entry larger than MaxBytes drove another one out")
	}
}

// TestTTLOnACoarseClock stores at every phase of the clock's second.
func TestTTLOnACoarseClock(t *testing.T) {
	for phase := time.Duration(0); phase < 2*time.Second; phase += 99 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			b := memory.New(memory.Config{})
			defer b.Close()
			const ttl = 1500 * time.Millisecond
			time.Sleep(phase)
			value := "v"
			// An update of a live entry takes another way through otter.
			for _, before := range []time.Duration{0, time.Hour, time.Millisecond} {
				set(t, b, "ann", &value, before)
				set(t, b, "ann", &value, ttl)
			}
			time.Sleep(ttl - 1)
			if peek(b, user("ann")) == nil {
				t.Errorf("phase %v: the entry is gone before its TTL of %v", phase, ttl)
			}
			time.Sleep(time.Second + 1)
			if peek(b, user("ann")) != nil {
				t.Errorf("phase %v: the entry is still there %v after its TTL", phase, time.Second)
			}
		})
	}
}

func TestExpiredEntriesAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(memory.Config{})
		defer b.Close()
		value := "v"
		for i := range 1000 {
			set(t, b, fmt.Sprint(i), &value, time.Second)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := b.Len(); n != 0 {
			t.Errorf("%d expired entries take memory still, though nobody touched the backend", n)
		}
	})
}

func TestWeigh(t *testing.T) {
	type row struct{ name string }
	var given []any
	b := memory.New(memory.Config{MaxBytes: 1 << 20, Weigh: func(value any) int {
		given = append(given, value)
		if value == (row{"bad"}) {
			panic("cannot weigh this")
		}
		return -1
	}})
	defer b.Close()
	good, pointer, bad := row{"ann"}, &row{"bob"}, row{"bad"}
	if err := set(t, b, "value", &good, 0); err != nil {
		t.Error(err)
	}
	if err := set(t, b, "pointer", &pointer, 0); err != nil {
		t.Error(err)
	}
	if err := set(t, b, "not found", nil, 0); err != nil {
		t.Error(err)
	}
	if len(given) != 2 || given[0] != good || given[1] != pointer {
		t.Errorf("Weigh was given %v, want the values as they were created", given)
	}
	if err := set(t, b, "bad", &bad, 0); err == nil || !strings.Contains(err.Error(), "cannot weigh this") {
		t.Errorf("Err after a panic in Weigh = %v, want one that tells of it", err)
	}
	for name, want := range map[string]bool{"value": true, "pointer": true, "not found": true, "bad": false} {
		if got := peek(b, user(name)) != nil; got != want {
			t.Errorf("%q is stored = %v, want %v", name, got, want)
		}
	}
}

func TestPeekAllocatesNothing(t *testing.T) {
	b := memory.New(memory.Config{})
	defer b.Close()
	value := "v"
	set(t, b, "ann", &value, time.Hour)
	key, name, missing := user("ann"), []byte("ann"), []byte("bob")
	var local backend.Local = b
	if n := testing.AllocsPerRun(1000, func() {
		if peek(b, key) == nil || peekBytes(local, name) == nil || peekBytes(local, missing) != nil {
			t.Error("Peek")
		}
	}); n != 0 {
		t.Errorf("three Peeks allocate %v times", n)
	}
}

// TestPeekKeepsNoBytes reuses one buffer for many keys, while the eviction policy
// is busy with what was read.
func TestPeekKeepsNoBytes(t *testing.T) {
	b := memory.New(memory.Config{MaxEntries: 100})
	defer b.Close()
	for i := range 100 {
		value := fmt.Sprint(i)
		set(t, b, value, &value, time.Hour)
	}
	buf := make([]byte, 0, 8)
	for turn := range 20_000 {
		want := fmt.Sprint(turn % 200)
		buf = append(buf[:0], want...)
		if e := peekBytes(b, buf); e != nil && *e.Value.(*string) != want {
			t.Fatalf("PeekBytes(%q) = the entry of %q", want, *e.Value.(*string))
		}
		copy(buf, "########")
		if peekBytes(b, buf) != nil {
			t.Fatal("a key that was never stored is found")
		}
		if turn%10 == 0 {
			value := fmt.Sprint(turn % 200)
			set(t, b, value, &value, time.Hour)
		}
	}
}

// TestCloseDuringSet closes the backend when Set has begun but stored nothing.
func TestCloseDuringSet(t *testing.T) {
	var b *memory.Backend
	b = memory.New(memory.Config{MaxBytes: 1 << 20, Weigh: func(any) int { b.Close(); return 1 }})
	value := "v"
	items := []backend.Item{{Key: user("ann"), Entry: &backend.Entry{Value: &value}}}
	if _, err := b.Set(t.Context(), items, nil); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("Set = %v, want backend.ErrClosed", err)
	}
}

func TestCloseUnderLoad(t *testing.T) {
	for range 20 {
		b := memory.New(memory.Config{MaxEntries: 10})
		done := make(chan error)
		for i := range 8 {
			go func() {
				ctx, value := context.Background(), "v"
				for n := 0; ; n++ {
					key := user(fmt.Sprint((i + n) % 20))
					_, err := b.Set(ctx, []backend.Item{{Key: key, Entry: &backend.Entry{Value: &value}}}, nil)
					if err == nil {
						_, err = b.Get(ctx, key, nil)
					}
					if err == nil {
						_, _, err = b.Acquire(ctx, []backend.Key{key}, nil)
					}
					if err == nil {
						err = b.Delete(ctx, []backend.Key{key})
					}
					if err != nil {
						done <- err
						return
					}
				}
			}()
		}
		b.Close()
		for range 8 {
			if err := <-done; !errors.Is(err, backend.ErrClosed) {
				t.Errorf("an operation during Close = %v, want backend.ErrClosed", err)
			}
		}
		for i := range 20 {
			if peek(b, user(fmt.Sprint(i))) != nil {
				t.Error("an entry is found after Close")
			}
		}
	}
}

// peek reads an entry past all operations.
func peek(b *memory.Backend, key backend.Key) *backend.Entry {
	e, _ := b.In(key.Region).Peek(key.Name)
	return e
}

// peekBytes is peek with a key that stands in a buffer.
func peekBytes(b backend.Local, name []byte) *backend.Entry {
	e, _ := b.In("users").PeekBytes(name)
	return e
}
