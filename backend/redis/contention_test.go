package redis_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
	"github.com/dogpile-go/dogpile/internal/redistest"
	"github.com/dogpile-go/dogpile/region"
)

// setBytes sets a value without a lease.
func setBytes(t *testing.T, b backend.Backend, name, value string) error {
	items := []backend.Item{{Key: backend.Key{Region: "users", Name: name}, Entry: &backend.Entry{Data: []byte(value)}, TTL: time.Hour}}
	_, err := b.Set(t.Context(), items, nil)
	return errors.Join(err, items[0].Err)
}

func bytesOf(t *testing.T, b backend.Backend, name string) string {
	t.Helper()
	found, err := b.Get(t.Context(), backend.Key{Region: "users", Name: name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if found.Entry == nil {
		return ""
	}
	return string(found.Entry.Data)
}

// Everybody sets and deletes one key at once, also to the same bytes: none of it fails,
// and in the end the value is one of those.
func TestSetsAndDeletesOfOneKey(t *testing.T) {
	server := redistest.Shared(t)
	prefix := space()
	var all sync.WaitGroup
	var fleet []process
	for i := range 4 {
		p := join(t, server.Addr, prefix, "")
		fleet = append(fleet, p)
		for range 4 {
			all.Go(func() {
				for n := range 100 {
					if err := region.Set(t.Context(), p.Region, "k", fmt.Sprint(n)); err != nil {
						t.Errorf("Set = %v", err)
					}
					if err := setBytes(t, p.b, "same", "always the same"); err != nil {
						t.Errorf("Set of the same bytes = %v", err)
					}
				}
			})
			if i%2 == 0 {
				all.Go(func() {
					for range 200 {
						if err := p.Delete(t.Context(), "k"); err != nil {
							t.Errorf("Delete = %v", err)
						}
					}
				})
			}
		}
	}
	all.Wait()
	if got := bytesOf(t, fleet[0].b, "same"); got != "always the same" {
		t.Errorf("in the end the value is %q", got)
	}
	if err := region.Set(t.Context(), fleet[0].Region, "k", "the last"); err != nil {
		t.Fatal(err)
	}
	fleet[1].finds(t, "k", "the last")
}

// Who comes to the lock of another writer shares its token: one of them stores, and the
// other one knows that it has been replaced.
func TestWritersShare(t *testing.T) {
	server := redistest.Shared(t)
	prefix := space()
	proxy := faultproxy.New(t, server.Addr)
	first, second := join(t, proxy.Addr, prefix, ""), join(t, server.Addr, prefix, "")
	if err := setBytes(t, first.b, "another", "warm up"); err != nil {
		t.Fatal(err)
	}
	stores := 0
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", "of the first")(request) {
			if stores++; stores == 1 {
				if err := setBytes(t, second.b, "k", "of the second"); err != nil {
					t.Errorf("the second Set = %v", err)
				}
			}
		}
	})
	if err := setBytes(t, first.b, "k", "of the first"); err != nil {
		t.Errorf("the first Set = %v", err)
	}
	if got := bytesOf(t, second.b, "k"); got != "of the second" || stores != 1 {
		t.Errorf("after %d attempts to store the value is %q; want one attempt, and that of the second, which came first", stores, got)
	}
}

// A Set whose lock expires while it stores has stored all the same, or fails.
func TestFaultLockOfAWriteExpires(t *testing.T) {
	server := redistest.Shared(t)
	prefix := space()
	proxy := faultproxy.New(t, server.Addr)
	p := join(t, proxy.Addr, prefix, "&lease_ttl=300ms")
	if err := setBytes(t, p.b, "another", "warm up"); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", "the value")(request) {
			once.Do(func() { time.Sleep(400 * time.Millisecond) }) // a slow network
		}
	})
	if err := setBytes(t, p.b, "k", "the value"); err != nil {
		t.Errorf("Set = %v", err)
	}
	if got := bytesOf(t, p.b, "k"); got != "the value" {
		t.Errorf("after Set has returned nil the value is %q", got)
	}
}

// A Set whose answer gets lost is not carried out a second time, over what others have
// done since they saw its value, also if it shares the token of a writer that died.
func TestFaultSetIsCarriedOutOnce(t *testing.T) {
	for name, undo := range map[string]func(process) error{
		"":    func(p process) error { return p.Delete(t.Context(), "k") },
		"new": func(p process) error { return region.Set(t.Context(), p.Region, "k", "new") },
	} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("undone with %q, shared %v", name, shared), func(t *testing.T) {
				server := redistest.Shared(t)
				prefix := space()
				proxy := faultproxy.New(t, server.Addr)
				p, other := join(t, proxy.Addr, prefix, ""), join(t, server.Addr, prefix, "")
				if err := region.Set(t.Context(), p.Region, "another", "warm up"); err != nil {
					t.Fatal(err)
				}
				if shared {
					server.Do(t, "SET", prefix+":lock:{users:k}", "deaddeaddeaddeadw0123456789abcdef", "PX", 60_000)
				}
				proxy.DropReplyTo(has("evalsha", "{users:k}", "old"))
				stores := 0
				proxy.OnRequest(func(request []byte) {
					if !has("evalsha", "{users:k}", "old")(request) {
						return
					}
					if stores++; stores == 2 { // the first was carried out, and its answer lost
						other.finds(t, "k", "old")
						if err := undo(other); err != nil {
							t.Error(err)
						}
					}
				})
				// Where another Set came after it, nobody knows what it has done.
				if err := region.Set(t.Context(), p.Region, "k", "old"); err != nil && name == "" {
					t.Errorf("Set = %v, and it was stored", err)
				}
				got, ok, err := region.Get[string](t.Context(), other.Region, "k")
				if got != name || ok != (name != "") || err != nil {
					t.Errorf("k is %q, %v, %v; want %q: what was done last", got, ok, err, name)
				}
			})
		}
	}
}
