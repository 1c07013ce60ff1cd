// Package attic is a backend as somebody else would write it, in a map. Its URL is "attic:?max_entries=1000".
package attic

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/mangle"
	"github.com/dogpile-go/dogpile/backend/null"
)

func init() { _ = backend.Register("attic", open) }

func open(u *url.URL) (backend.Backend, error) {
	options := u.Query()
	most, err := strconv.Atoi(cmp.Or(options.Get("max_entries"), "10000"))
	if options.Del("max_entries"); len(options) > 0 || err != nil || most < 1 {
		return nil, errors.New("there is one option, max_entries, a positive number")
	}
	return &attic{Backend: null.New(), most: most, entries: map[backend.Key]entry{}}, nil
}

// attic brings a place for entries. Leases, stamps and Close are those of a backend that keeps none.
type attic struct {
	backend.Backend
	most    int
	mu      sync.Mutex // makes one step of the end of a lease and what becomes of the entry
	entries map[backend.Key]entry
}

type entry struct {
	backend.Item
	since time.Time
}

func (a *attic) Bytes() bool                     { return true }
func (a *attic) KeyMangler() func(string) string { return mangle.SHA256Over(250) } // as if it could keep no longer ones

func (a *attic) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	found, stamps, err := a.GetMulti(ctx, []backend.Key{key}, guards)
	return backend.Found{Entry: found[0], Stamps: stamps}, err
}

func (a *attic) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, stamps, err := a.Backend.GetMulti(ctx, nil, guards)
	found := make([]*backend.Entry, len(keys))
	for i, key := range keys {
		if e := a.entries[key]; e.TTL == 0 || time.Since(e.since) < e.TTL {
			found[i] = e.Entry
		}
	}
	return found, stamps, err
}

func (a *attic) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	grants, stamps, err := a.Backend.Acquire(ctx, keys, guards)
	found, _, _ := a.GetMulti(ctx, keys, nil) // after the leases were granted
	for i := range grants {
		if grants[i].Lease != nil {
			grants[i].Entry = found[i]
		}
	}
	return grants, stamps, err
}

func (a *attic) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stamps, err := a.Backend.Set(ctx, items, guards) // says which items are to be stored
	for _, item := range items {
		if err == nil && item.Err == nil && item.Entry != nil {
			for key := range a.entries { // some key, if there is no room
				if _, there := a.entries[item.Key]; there || len(a.entries) < a.most {
					break
				}
				delete(a.entries, key)
			}
			a.entries[item.Key] = entry{item, time.Now()}
		}
	}
	return stamps, err
}

func (a *attic) Delete(ctx context.Context, keys []backend.Key) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range keys {
		delete(a.entries, key)
	}
	return a.Backend.Delete(ctx, keys)
}
