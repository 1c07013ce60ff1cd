package proxy

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

func (l *logged) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	began := time.Now()
	found, err := l.Backend.Get(ctx, key, guards)
	l.log(ctx, "Get", began, []backend.Key{key}, guards, err, slog.Int("found", count(found.Entry != nil)))
	return found, err
}

func (l *logged) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	began := time.Now()
	entries, stamps, err := l.Backend.GetMulti(ctx, keys, guards)
	found := 0
	for _, e := range entries {
		found += count(e != nil)
	}
	l.log(ctx, "GetMulti", began, keys, guards, err, slog.Int("found", found))
	return entries, stamps, err
}

func (l *logged) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	began := time.Now()
	grants, stamps, err := l.Backend.Acquire(ctx, keys, guards)
	granted, found := 0, 0
	for _, g := range grants {
		granted += count(g.Lease != nil)
		found += count(g.Entry != nil)
	}
	l.log(ctx, "Acquire", began, keys, guards, err, slog.Int("granted", granted), slog.Int("found", found))
	return grants, stamps, err
}

func (l *logged) Wait(ctx context.Context, keys []backend.Key) error {
	began := time.Now()
	err := l.Backend.Wait(ctx, keys)
	l.log(ctx, "Wait", began, keys, nil, err)
	return err
}

// Set logs the first reason for which an item was refused like a failure, unless that is
// a lost lease, which is nobody's.
func (l *logged) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	began := time.Now()
	stamps, err := l.Backend.Set(ctx, items, guards)
	keys := make([]backend.Key, len(items))
	refused := 0
	var reason error
	for i := range items {
		keys[i] = items[i].Key
		if e := items[i].Err; e != nil && err == nil {
			refused++
			if reason == nil && !errors.Is(e, backend.ErrLeaseLost) {
				reason = e
			}
		}
	}
	if err != nil {
		reason = err
	}
	l.log(ctx, "Set", began, keys, guards, reason, slog.Int("refused", refused))
	return stamps, err
}

func (l *logged) Delete(ctx context.Context, keys []backend.Key) error {
	began := time.Now()
	err := l.Backend.Delete(ctx, keys)
	l.log(ctx, "Delete", began, keys, nil, err)
	return err
}

func (l *logged) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	began := time.Now()
	stamps, err := l.Backend.Stamps(ctx, guards)
	l.log(ctx, "Stamps", began, nil, guards, err)
	return stamps, err
}

func (l *logged) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	began := time.Now()
	err := l.Backend.Renew(ctx, guards, soft)
	l.log(ctx, "Renew", began, nil, guards, err, slog.Bool("soft", soft))
	return err
}

func (l *logged) Close() error {
	began := time.Now()
	err := l.Backend.Close()
	l.log(context.Background(), "Close", began, nil, nil, err)
	return err
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
