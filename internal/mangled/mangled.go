// Package mangled is a proxy that gives a backend other keys than it is asked for, as
// key manglers say.
package mangled

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

var (
	// ErrMangler is wrapped by the error of an operation for which a mangler has
	// panicked or returned no key.
	ErrMangler = errors.New("the key mangler failed; it has to return a key for every key")

	errSameKey = errors.New("the key mangler makes one key of this and another key of the same call")
)

// New returns b with keys that have gone through manglers, the first one first. Entries,
// leases and waiting have those keys; stamps are left as they are.
//
// Two keys of which the manglers make one share a place and a lease, and never a value:
// entries of bytes say themselves whose they are, and entries of values are stored with a
// digest of their key. other is told of an entry that was not stored for the key, and is
// a miss.
//
// The capabilities of b are hidden.
func New(b backend.Backend, other func(key string), manglers ...func(string) string) backend.Backend {
	return &proxy{b, b.Bytes(), other, manglers}
}

type proxy struct {
	backend.Backend
	bytes    bool
	other    func(key string)
	manglers []func(string) string
}

// key returns what the backend is to keep instead of key.
func (p *proxy) key(key backend.Key) (_ backend.Key, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: panic: %v", ErrMangler, v)
		}
	}()
	for _, mangle := range p.manglers {
		given := key.Name
		// All keys of which nothing is left would be one. The empty key may stay so.
		if key.Name = mangle(given); key.Name == "" && given != "" {
			return key, fmt.Errorf(`%w: it has returned "" for %.60q`, ErrMangler, given)
		}
	}
	return key, nil
}

// keys returns what the backend is to keep instead of keys, each once, and where each
// of keys stands there: the complement, which is negative, for one that another one before
// it has become, too.
func (p *proxy) keys(keys []backend.Key) (once []backend.Key, at []int, err error) {
	once, at = make([]backend.Key, 0, len(keys)), make([]int, len(keys))
	taken := make(map[backend.Key]int, len(keys))
	for i, key := range keys {
		if key, err = p.key(key); err != nil {
			return nil, nil, err
		}
		if first, again := taken[key]; again {
			at[i] = ^first
			continue
		}
		at[i] = len(once)
		taken[key] = at[i]
		once = append(once, key)
	}
	return once, at, nil
}

func (p *proxy) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	place, err := p.key(key)
	if err != nil {
		return backend.Found{}, err
	}
	found, err := p.Backend.Get(ctx, place, guards)
	found.Entry = p.opened(key, found.Entry)
	return found, err
}

func (p *proxy) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	places := make([]backend.Key, len(keys))
	for i, key := range keys {
		var err error
		if places[i], err = p.key(key); err != nil {
			return nil, nil, err
		}
	}
	found, stamps, err := p.Backend.GetMulti(ctx, places, guards)
	entries := make([]*backend.Entry, len(keys))
	for i := range min(len(keys), len(found)) {
		entries[i] = p.opened(keys[i], found[i])
	}
	return entries, stamps, err
}

// Acquire asks for a lease once that is the lease of several keys. The first of them gets
// it; for the others somebody else holds it.
func (p *proxy) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	once, at, err := p.keys(keys)
	if err != nil {
		return nil, nil, err
	}
	granted, stamps, err := p.Backend.Acquire(ctx, once, guards)
	if err != nil {
		return nil, nil, err
	}
	if len(granted) != len(once) {
		giveBack(ctx, granted)
		return nil, nil, fmt.Errorf("the backend answered for %d keys and was asked for %d", len(granted), len(once))
	}
	grants := make([]backend.Grant, len(keys))
	for i := range keys {
		if at[i] >= 0 {
			grants[i] = granted[at[i]]
			grants[i].Entry = p.opened(keys[i], grants[i].Entry)
		}
	}
	return grants, stamps, nil
}

func (p *proxy) Wait(ctx context.Context, keys []backend.Key) error {
	once, _, err := p.keys(keys)
	if err != nil {
		return err
	}
	return p.Backend.Wait(ctx, once)
}

// Set stores the first of several items that belong into one place, and refuses the
// others, unless both do nothing but end leases: that is done for all of them.
func (p *proxy) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	keys := make([]backend.Key, len(items))
	for i := range items {
		keys[i] = items[i].Key
	}
	once, at, err := p.keys(keys)
	if err != nil {
		return nil, err
	}
	placed := make([]backend.Item, len(once))
	for i, item := range items {
		if at[i] >= 0 {
			item.Entry = p.sealed(item.Key, item.Entry)
			item.Key = once[at[i]]
			placed[at[i]] = item
		}
	}
	stamps, err := p.Backend.Set(ctx, placed, guards)
	for i := range items {
		switch j := at[i]; {
		case j >= 0:
			items[i].Err = placed[j].Err
		case isVoid(&items[i]) && isVoid(&placed[^j]):
			items[i].Err = placed[^j].Err
		default:
			items[i].Err = errSameKey
		}
	}
	return stamps, err
}

// isVoid reports whether an item only ends the lease of its key.
func isVoid(item *backend.Item) bool { return item.Entry == nil && item.Lease == nil }

// Delete deletes all keys that can be deleted, also if some cannot.
func (p *proxy) Delete(ctx context.Context, keys []backend.Key) error {
	places := make([]backend.Key, 0, len(keys))
	var failed error
	for _, key := range keys {
		place, err := p.key(key)
		if err != nil {
			failed = err
			continue
		}
		places = append(places, place)
	}
	return errors.Join(p.Backend.Delete(ctx, places), failed)
}

// sealed returns the entry as it is stored for key.
func (p *proxy) sealed(key backend.Key, e *backend.Entry) *backend.Entry {
	if e == nil || p.bytes {
		return e
	}
	stored := *e
	stored.Tags = append(e.Tags[:len(e.Tags):len(e.Tags)], seal(key.Name))
	return &stored
}

// opened returns the entry that was stored for key, or nil.
func (p *proxy) opened(key backend.Key, e *backend.Entry) *backend.Entry {
	if e == nil || p.bytes {
		return e
	}
	last := len(e.Tags) - 1
	if last < 0 || e.Tags[last] != seal(key.Name) {
		p.other(key.Name)
		return nil
	}
	given := *e
	given.Tags = e.Tags[:last:last]
	return &given
}

// seal returns a digest of a key in the form in which entries carry it in a backend of
// values: as the stamps of a tag that nobody has. They are current for no one, so a
// region without a mangler finds such an entry dead.
//
// The value itself is not touched, because a backend may look at it to weigh it.
func seal(name string) backend.Tagged {
	sum := sha256.Sum256([]byte(name))
	t := backend.Tagged{Tag: "mangled"}
	n := copy(t.Stamps.Hard[:], sum[:])
	copy(t.Stamps.Soft[:], sum[n:])
	return t
}

// settleTime bounds the giving back of leases that nobody will get.
const settleTime = 5 * time.Second

func giveBack(ctx context.Context, grants []backend.Grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	for _, g := range grants {
		if g.Lease != nil {
			_ = g.Lease.Release(ctx) // one that cannot be given back expires
		}
	}
}
