package memcached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// sharing is one item of a Set on its way into a view.
type sharing struct {
	item backend.Item
	held *memcachedio.Held // the lease it is stored under
	err  error
}

// Set is Set of [backend.Backend].
func (s *shared) Set(ctx context.Context, items []backend.Item, _ []backend.Guard) ([]backend.Stamps, error) {
	if err := s.b.usable(); err != nil {
		return nil, err
	}
	writes := make([]*sharing, len(items))
	for i := range items {
		writes[i] = &sharing{item: items[i]}
	}
	errs, err := memcachedio.Call(ctx, s.b.client, func(ctx context.Context) ([]error, error) {
		errs := make([]error, len(writes))
		for _, w := range writes {
			w.err = s.prepare(w)
		}
		err := memcachedio.Each(ctx, len(writes), func(i int) error {
			errs[i] = s.write(ctx, writes[i])
			return s.b.usable() // an item that fails on its own is no failure of the others
		})
		return errs, err
	}, nil)
	if err != nil {
		return nil, err
	}
	for i, err := range errs {
		items[i].Err = err
	}
	return nil, nil
}

// prepare refuses what cannot be stored, before anything is sent.
func (s *shared) prepare(w *sharing) error {
	if err := s.check(w.item.Key); err != nil {
		return err
	}
	if w.item.TTL < 0 {
		return fmt.Errorf("memcached: the TTL is negative (%v); give zero to keep the entry for ever", w.item.TTL)
	}
	if w.item.Lease != nil {
		// A proxy may have wrapped the lease, so it is known by key and token.
		if w.held = s.locks.Find(s.lock(w.item.Key), w.item.Lease.Token()); w.held == nil {
			return backend.ErrLeaseLost
		}
	}
	if w.item.Entry == nil {
		return nil
	}
	if size := len(w.item.Entry.Data); size > s.b.cfg.MaxValueSize {
		return fmt.Errorf("%w: it has %d bytes, and MaxValueSize is %d; raise it together with -I of the server", ErrTooLarge, size, s.b.cfg.MaxValueSize)
	}
	return nil
}

func (s *shared) write(ctx context.Context, w *sharing) error {
	switch {
	case w.err != nil:
		return w.err
	case w.held == nil && w.item.Entry == nil:
		return s.void(ctx, w.item.Key)
	case w.held == nil:
		return s.store(ctx, w)
	case !w.held.End():
		return backend.ErrLeaseLost
	}
	var err error
	if w.item.Entry != nil {
		err = s.publish(ctx, w)
	} else {
		err = memcachedio.Free(ctx, w.held.Name(), w.held.Token(), nil)
	}
	w.held.Ended(err)
	if errors.Is(err, memcachedio.ErrGone) {
		return backend.ErrLeaseLost
	}
	return err
}

// publish stores a value under its lease, which it ends. Its error is ErrGone if the
// lease was lost.
func (s *shared) publish(ctx context.Context, w *sharing) error {
	var m *mark
	last, err := s.swap(ctx, w, &m)
	if err != nil {
		m.remove(ctx, nil)
		return err
	}
	var both sync.WaitGroup
	if m != nil {
		both.Go(func() { m.remove(ctx, last.mark) })
	}
	err = memcachedio.Free(ctx, w.held.Name(), w.held.Token(), last.lock)
	both.Wait()
	if err != nil && !errors.Is(err, memcachedio.ErrGone) {
		s.locks.GiveBack([]*memcachedio.Held{w.held})
	}
	return nil
}

// store stores a value that was not created under a lease, and ends that of a creator of
// this library. The lock of another library's program stays as it is.
func (s *shared) store(ctx context.Context, w *sharing) error {
	m, err := s.marked(ctx, w.item.Key, true)
	if err != nil {
		return err
	}
	// Whoever was granted the lease meanwhile has not read what was replaced: before it
	// reads, it changes the CAS id.
	last, err := s.swap(ctx, w, &m)
	m.remove(ctx, last.mark)
	return err
}

// void ends the lease of a creator of this library, and leaves what is stored. Whatever
// the creator has sent by then is refused.
func (s *shared) void(ctx context.Context, key backend.Key) error {
	m, err := s.marked(ctx, key, false)
	if err != nil {
		return err
	}
	defer func() { m.remove(ctx, nil) }()
	if err := m.unlock(ctx); err != nil {
		return err
	}
	value := s.value(key)
	_, err = value.Server.Bump(ctx, value.Text)
	return err
}

// beside is what was read beside a value: the items of its lock and of its mark.
type beside struct {
	lock, mark *memcache.Item
}

// swap puts a value in the place of what is there: under a lease as long as the lock has
// its token, and without one as long as the mark is there, taking the lock from creators.
// The value's item is read before those of lock and mark, in one request: see the
// package's comment for why that matters.
//
// Where no value is, it needs a mark, and takes one if *m is nil.
func (s *shared) swap(ctx context.Context, w *sharing, m **mark) (last beside, err error) {
	key, data := w.item.Key, w.item.Entry.Data
	value, lock, marks := s.value(key), s.lock(key), s.mark(key)
	var tried uint64 // the CAS id of a cas of which it is not known what became of it
	added := false   // there may be a copy of the value that does not last
	for try := range mostTries {
		items, err := value.Server.Get(ctx, value.Text, lock.Text, marks.Text)
		if err != nil {
			return last, err
		}
		now, token, marked := items[0], memcachedio.TokenOf(items[1]), (*m).is(items[2])
		last = beside{items[1], items[2]}
		lost := w.held != nil && token != w.held.Token() || w.held == nil && !marked
		mine := now != nil && now.Flags == s.layout.Flags && bytes.Equal(now.Value, data)
		switch {
		case ctx.Err() != nil:
			// Who asked for it has gone, and what was read may have been stored since.
			return last, context.Cause(ctx)
		case lost && mine && !added && tried != 0 && tried != now.CasID:
			return last, nil // by that cas
		case lost && w.held != nil:
			if mine && added {
				// If this fails it ends by itself.
				_, _ = value.Server.CAS(ctx, &memcache.Item{Key: value.Text, Expiration: -1, CasID: now.CasID})
			}
			return last, memcachedio.ErrGone
		case lost:
			return last, errMarkLost
		case w.held == nil && !(*m).unlocked(items[1]):
			(*m).insist = (*m).insist || try > 1
			if err := (*m).unlock(ctx); err != nil {
				return last, err
			}
			continue
		case now == nil && !marked:
			before := *m
			before.remove(ctx, nil)
			if *m, err = s.marked(ctx, key, true); err != nil {
				return last, err
			}
			(*m).astray = before != nil && before.astray
			continue
		case now == nil:
			// It ends no later than the mark, so whoever sees no mark need not think of it.
			outcome, err := value.Server.Add(ctx, &memcache.Item{
				Key: value.Text, Value: data, Flags: s.layout.Flags, Expiration: (*m).end,
			})
			(*m).astray = (*m).astray || err != nil && !memcachedio.Unsent(err)
			if err != nil && !memcachedio.Broken(err) {
				return last, err
			}
			added = added || err != nil || outcome == memcachedio.Done
			continue
		}
		outcome, err := value.Server.CAS(ctx, &memcache.Item{
			Key: value.Text, Value: data, Flags: s.layout.Flags,
			Expiration: memcachedio.Expiration(w.item.TTL, time.Now()), CasID: now.CasID,
		})
		switch {
		case err != nil && !memcachedio.Broken(err):
			return last, err
		case err != nil:
			tried = now.CasID
		case outcome == memcachedio.Done:
			return last, nil
		}
	}
	return last, errRestless
}
