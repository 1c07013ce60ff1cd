package proxy

import (
	"context"
	"fmt"

	"github.com/dogpile-go/dogpile/backend"
)

const (
	// mark stands between a prefix and the name of a region. Neither can contain it, so
	// no two spaces ever meet, however prefixes are nested.
	mark = "~"

	longestPrefix = 64
)

// Prefix returns a wrapper that moves regions into another space of the backend: their
// entries, leases and stamps are those of regions called prefix~name. So services, or a
// service and its staging, share one server and nothing on it. Prefixes can be nested;
// those of a fleet have to be the same, in the same order.
//
// A prefix has 1 to 64 bytes: letters, digits, and any of "_-./", as a region's name.
// Another one is a mistake.
//
// A lock that a region is given as Config.Mutex is asked for keys without the prefix; if
// it is shared with other spaces, give it a prefix of its own.
func Prefix(prefix string) func(backend.Backend) backend.Backend {
	return around(checkPrefix(prefix), func(in inner) backend.Backend {
		return &prefixed{in, prefix + mark}
	})
}

func checkPrefix(prefix string) error {
	if prefix == "" || len(prefix) > longestPrefix {
		return fmt.Errorf("proxy: a prefix has 1 to %d bytes, not %d", longestPrefix, len(prefix))
	}
	for _, c := range []byte(prefix) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '-', c == '.', c == '/':
		default:
			return fmt.Errorf("proxy: a prefix has only letters, digits, and _ - . / in it, not %q", c)
		}
	}
	return nil
}

// prefixed moves regions. Leases are passed on as the backend has granted them: it
// compares their keys with those that it knows.
type prefixed struct {
	inner
	prefix string
}

func (p *prefixed) key(key backend.Key) backend.Key {
	key.Region = p.prefix + key.Region
	return key
}

func (p *prefixed) keys(keys []backend.Key) []backend.Key {
	moved := make([]backend.Key, len(keys))
	for i, key := range keys {
		moved[i] = p.key(key)
	}
	return moved
}

func (p *prefixed) guards(guards []backend.Guard) []backend.Guard {
	moved := make([]backend.Guard, len(guards))
	for i, guard := range guards {
		moved[i] = backend.Guard{Region: p.prefix + guard.Region, Tag: guard.Tag}
	}
	return moved
}

func (p *prefixed) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	return p.Backend.Get(ctx, p.key(key), p.guards(guards))
}

func (p *prefixed) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	return p.Backend.GetMulti(ctx, p.keys(keys), p.guards(guards))
}

func (p *prefixed) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	return p.Backend.Acquire(ctx, p.keys(keys), p.guards(guards))
}

func (p *prefixed) Wait(ctx context.Context, keys []backend.Key) error {
	return p.Backend.Wait(ctx, p.keys(keys))
}

func (p *prefixed) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	moved := make([]backend.Item, len(items))
	for i, item := range items {
		item.Key = p.key(item.Key)
		moved[i] = item
	}
	stamps, err := p.Backend.Set(ctx, moved, p.guards(guards))
	for i := range items {
		items[i].Err = moved[i].Err
	}
	return stamps, err
}

func (p *prefixed) Delete(ctx context.Context, keys []backend.Key) error {
	return p.Backend.Delete(ctx, p.keys(keys))
}

func (p *prefixed) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	return p.Backend.Stamps(ctx, p.guards(guards))
}

func (p *prefixed) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	return p.Backend.Renew(ctx, p.guards(guards), soft)
}
