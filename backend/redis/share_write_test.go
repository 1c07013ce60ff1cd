package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/faultproxy"
)

// between has f called between the two steps of a Set of value, and returns the Set's error.
func (v view) between(key, value string, f func(other view)) error {
	v.t.Helper()
	proxy := faultproxy.New(v.t, v.server.Addr)
	p := v.another(proxy.Addr, "&lease_ttl=500ms")
	var once sync.Once
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", key, value)(request) {
			once.Do(func() { f(v) })
		}
	})
	return p.put(key, value)
}

// What a Delete finds that began between the two steps of a Set is not stored after it, with
// a value that was there before and without one. A lease that is voided there is a
// creator's: the Set goes on.
func TestShareDeleteWhileSetting(t *testing.T) {
	v := newView(t, codec.Layout{}, "")
	for _, before := range []string{"", "old"} {
		for _, shared := range []bool{false, true} {
			key := "<" + space() + ">"
			if before != "" {
				v.set(key, before)
			}
			if shared && before != "" { // as one that a writer took who was killed
				v.server.Do(t, "SET", v.lock(key), "deaddeaddeaddeadw0123456789abcdef", "PX", 60_000)
			}
			if err := v.between(key, "made before", func(other view) { other.delete(key) }); err != nil {
				t.Errorf("Set = %v", err)
			}
			v.finds(key, "")
			v.holds(key, nil)
		}
		key := "<" + space() + ">"
		err := v.between(key, "new", func(other view) {
			if err := other.store(backend.Item{Key: keyOf(key)}); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Errorf("Set = %v", err)
		}
		v.finds(key, "new")
	}
	// A creation ends when the Set takes the lock, and not when it has stored.
	created := "<" + space() + ">"
	g := v.acquire(created)
	if err := v.between(created, "new", func(view) {
		if err := v.publication(g, created, "made before"); !errors.Is(err, backend.ErrLeaseLost) {
			t.Errorf("publication while a Set has the lock = %v, want backend.ErrLeaseLost", err)
		}
	}); err != nil {
		t.Errorf("Set = %v", err)
	}
	v.finds(created, "new")
	// One that is replaced has been there, as far as anybody knows.
	key := "<" + space() + ">"
	if err := v.between(key, "first", func(other view) { other.set(key, "second") }); err != nil {
		t.Errorf("Set = %v", err)
	}
	v.finds(key, "second")
	// One that took longer than its lock lasts says that it failed.
	if err := v.between("<"+space()+">", "value", func(view) { time.Sleep(600 * time.Millisecond) }); err == nil {
		t.Error("Set has no error though its lock had expired before it stored")
	}
}

// What another program publishes and frees between the two steps of a write was created
// before that began, so the write is the last.
func TestShareWriteIsAfterForeignCreation(t *testing.T) {
	other := newView(t, codec.Layout{}, "")
	proxy := faultproxy.New(t, other.server.Addr)
	v, key := other.another(proxy.Addr, ""), "<"+space()+">"
	v.foreign(key, 0)
	var once sync.Once
	proxy.OnRequest(func(request []byte) {
		if has("evalsha", key, "new")(request) {
			once.Do(func() {
				other.server.Do(t, "SET", key, "theirs")
				other.server.Do(t, "DEL", other.lock(key))
			})
		}
	})
	v.set(key, "new")
	other.finds(key, "new")
}

// Everybody sets and deletes one key at once: none of it fails, and nothing stays behind. A
// machine that is busy with other tests may lose an answer.
func TestShareSetsAndDeletesOfOneKey(t *testing.T) {
	first := newView(t, codec.Layout{}, "")
	var all sync.WaitGroup
	keys := []string{space(), space()}
	for i := range 4 {
		v := first.another(first.server.Addr, "")
		for j := range 4 {
			all.Go(func() {
				for n := range 100 {
					if err := v.put(keys[0], fmt.Sprint(i, j, n)); err != nil && !strings.Contains(err.Error(), "got lost") {
						t.Errorf("Set = %v", err)
					}
					if err := v.put(keys[1], "always the same"); err != nil {
						t.Errorf("Set of the same bytes = %v", err)
					}
				}
			})
		}
		if i%2 == 0 {
			all.Go(func() {
				for range 200 {
					if err := v.Delete(t.Context(), []backend.Key{keyOf(keys[0])}); err != nil {
						t.Errorf("Delete = %v", err)
					}
				}
			})
		}
	}
	all.Wait()
	first.finds(keys[1], "always the same")
	first.set(keys[0], "the last")
	first.finds(keys[0], "the last")
	for _, key := range keys {
		first.holds(key, nil)
	}
}
