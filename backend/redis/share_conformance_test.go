package redis_test

import (
	"context"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/backendtest"
	"github.com/dogpile-go/dogpile/backend/redis"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// viewed is a view with what it lacks, from the backend that it is of: stamps, regions, and
// a Close. So the conformance suite can say what the view itself does.
type viewed struct {
	*redis.Backend
	view   backend.Backend
	prefix string
}

func (v viewed) keys(keys []backend.Key) []backend.Key {
	named := make([]backend.Key, len(keys))
	for i, key := range keys {
		named[i] = backend.Key{Region: key.Region, Name: v.prefix + key.String()}
	}
	return named
}

func (v viewed) stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	_, stamps, err := v.Backend.GetMulti(ctx, nil, guards)
	return stamps, err
}

func (v viewed) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	found, err := v.view.Get(ctx, v.keys([]backend.Key{key})[0], guards)
	if err == nil {
		found.Stamps, err = v.stamps(ctx, guards)
	}
	return found, err
}

func (v viewed) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	entries, _, err := v.view.GetMulti(ctx, v.keys(keys), guards)
	if err != nil {
		return nil, nil, err
	}
	stamps, err := v.stamps(ctx, guards)
	return entries, stamps, err
}

func (v viewed) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	grants, _, err := v.view.Acquire(ctx, v.keys(keys), guards)
	if err != nil {
		return nil, nil, err
	}
	stamps, err := v.Stamps(ctx, guards)
	return grants, stamps, err
}

func (v viewed) Wait(ctx context.Context, keys []backend.Key) error {
	return v.view.Wait(ctx, v.keys(keys))
}

func (v viewed) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	named := make([]backend.Item, len(items))
	for i, item := range items {
		named[i] = item
		named[i].Key = v.keys([]backend.Key{item.Key})[0]
	}
	if _, err := v.view.Set(ctx, named, guards); err != nil {
		return nil, err
	}
	for i := range items {
		items[i].Err = named[i].Err
	}
	return v.Backend.Set(ctx, nil, guards)
}

func (v viewed) Delete(ctx context.Context, keys []backend.Key) error {
	return v.view.Delete(ctx, v.keys(keys))
}

func TestShareConformance(t *testing.T) {
	server := redistest.Shared(t)
	backendtest.RunPair(t, func(t *testing.T) (a, b backend.Backend) {
		prefix, layout := space()+":", codec.Layout{LockPrefix: "_lock" + space()}
		x, y := pair(t, func() goredis.UniversalClient { return server.Client(t) })
		sides := []backend.Backend{x, y}
		for i, b := range []*redis.Backend{x, y} {
			view, err := b.Share(layout)
			if err != nil {
				t.Fatal(err)
			}
			sides[i] = viewed{b, view, prefix}
		}
		return sides[0], sides[1]
	})
}
