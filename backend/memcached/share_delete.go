package memcached

import (
	"context"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// Delete is Delete of [backend.Backend]. A key that memcached cannot have is an error,
// and the others are deleted all the same.
func (s *shared) Delete(ctx context.Context, keys []backend.Key) error {
	if err := s.b.usable(); err != nil {
		return err
	}
	var bad error
	good := make([]backend.Key, 0, len(keys))
	for _, key := range keys {
		if err := s.check(key); err == nil {
			good = append(good, key)
		} else if bad == nil {
			bad = err
		}
	}
	if len(good) == 0 {
		return bad
	}
	_, err := memcachedio.Call(ctx, s.b.client, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, memcachedio.Each(ctx, len(good), func(i int) error { return s.delete(ctx, good[i]) })
	}, nil)
	if err != nil {
		return err // which may be worth another attempt
	}
	return bad
}

// delete removes a value and ends the lease of a creator of this library.
func (s *shared) delete(ctx context.Context, key backend.Key) error {
	for range mostTries {
		m, err := s.marked(ctx, key, false)
		if err != nil {
			// A server without memory can still delete. But somebody may be about to
			// store the value, so that is not all that was asked for.
			if ctx.Err() == nil {
				_ = s.remove(ctx, key, &mark{view: s, key: key})
			}
			return err
		}
		done, err := s.deleteMarked(ctx, key, m)
		if done || err != nil {
			return err
		}
	}
	return errRestless
}

// deleteMarked reports false if the mark was lost on the way.
func (s *shared) deleteMarked(ctx context.Context, key backend.Key, m *mark) (bool, error) {
	lock := s.lock(key)
	for range mostTries {
		if err := s.remove(ctx, key, m); err != nil {
			m.remove(ctx, nil)
			return false, err
		}
		items, err := lock.Server.Get(ctx, lock.Text, m.held.Name().Text)
		if err != nil || !m.is(items[1]) {
			m.remove(ctx, nil)
			return false, err
		}
		if m.unlocked(items[0]) {
			m.remove(ctx, items[1])
			return true, nil
		}
		// Who was granted the lease meanwhile may have read the value, and store it again.
		m.insist = true
	}
	m.remove(ctx, nil)
	return false, errRestless
}

// remove takes the lock from a creator of this library, and then the value away.
func (s *shared) remove(ctx context.Context, key backend.Key, m *mark) error {
	if err := m.unlock(ctx); err != nil {
		return err
	}
	value := s.value(key)
	return value.Server.Delete(ctx, value.Text)
}
