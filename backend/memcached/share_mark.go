package memcached

import (
	"context"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

// errMarkKept is the error of a write that found the key marked again and again.
var errMarkKept = errors.New("memcached: other processes write this key all the time, so it could not be written; try again")

// errMarkLost is the error of a write that took longer than its mark lasts.
var errMarkLost = errors.New("memcached: the value was not stored because the server answers too slowly, or has no memory left; try again")

// mark is what a process leaves beside a value while it writes it. Nobody else of this
// library writes the value then, except by a cas under a lease.
type mark struct {
	view *shared
	key  backend.Key
	held *memcachedio.Held
	end  int32 // the server's time when it expires; only if that was asked for

	// astray says that an add of the value may still be under way. The mark is left to
	// expire then, which is not before that add is of no use.
	astray bool

	// insist says that the lock is not only taken from creators but kept, as they come
	// faster than the write goes on. Other libraries see that.
	insist bool
	lock   *memcachedio.Held
}

// marked marks a key, when nobody else does. With timed, which takes one more request,
// mark.end is known.
func (s *shared) marked(ctx context.Context, key backend.Key, timed bool) (*mark, error) {
	name := s.mark(key)
	life := s.markLife()
	// Whoever does not take its mark away leaves it for so long; some may do so in turn.
	late := time.Now().Add(time.Duration(4*life) * time.Second)
	for pause := courtesy; ; pause = min(2*pause, 16*courtesy) {
		m := &mark{view: s, key: key}
		expiration := int32(life)
		if timed {
			now, err := name.Server.Time(ctx)
			if err != nil {
				return nil, err
			}
			m.end = int32(now + life)
			expiration = m.end
		}
		if m.held = s.b.leases.Ask(key.String(), name, memcachedio.Writer); m.held == nil {
			return nil, backend.ErrClosed
		}
		item := m.held.Item()
		item.Expiration = expiration
		outcome, err := name.Server.Add(ctx, item)
		switch {
		case outcome == memcachedio.Done:
			return m, nil
		case err == nil || memcachedio.Unsent(err):
			s.b.leases.Forget(m.held)
		default:
			s.b.leases.GiveBack([]*memcachedio.Held{m.held}) // it may yet be there
		}
		if err != nil && !memcachedio.Broken(err) {
			return nil, err
		}
		if time.Now().After(late) {
			return nil, errMarkKept
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if err := s.b.usable(); err != nil {
			return nil, err
		}
	}
}

// is reports whether an item is the mark.
func (m *mark) is(item *memcache.Item) bool {
	return m != nil && memcachedio.TokenOf(item) == m.held.Token()
}

// remove takes the mark away. item is what was just read there, or nil.
func (m *mark) remove(ctx context.Context, item *memcache.Item) {
	if m == nil {
		return
	}
	if m.lock != nil {
		err := memcachedio.Free(ctx, m.lock.Name(), m.lock.Token(), nil)
		if err == nil || errors.Is(err, memcachedio.ErrGone) {
			m.lock.Ended(nil)
		} else {
			m.view.locks.GiveBack([]*memcachedio.Held{m.lock})
		}
	}
	leases := m.view.b.leases
	if m.astray {
		leases.Forget(m.held)
		return
	}
	err := memcachedio.Free(ctx, m.held.Name(), m.held.Token(), item)
	if err == nil || errors.Is(err, memcachedio.ErrGone) {
		leases.Forget(m.held)
	} else {
		leases.GiveBack([]*memcachedio.Held{m.held})
	}
}

// unlocked reports whether no creator of this library has the lock, whose item this is.
func (m *mark) unlocked(lock *memcache.Item) bool {
	token := memcachedio.TokenOf(lock)
	return token == "" || m.lock != nil && token == m.lock.Token()
}

// unlock takes the lock away from a creator of this library, if one has it. That of
// another library's program stays.
func (m *mark) unlock(ctx context.Context) error {
	locks, lock := m.view.locks, m.view.lock(m.key)
	for range mostTries {
		mine := locks.Of([]memcachedio.Name{lock})
		item, err := lock.Server.GetOne(ctx, lock.Text)
		token := memcachedio.TokenOf(item)
		switch {
		case err != nil:
			return err
		case item != nil && m.unlocked(item):
			locks.Lost(mine)
			return nil
		case m.insist:
			taken, err := m.take(ctx, item)
			if taken {
				locks.Lost(mine)
			}
			if taken || err != nil {
				return err
			}
			continue
		case item != nil:
			err = memcachedio.Free(ctx, lock, token, item)
		}
		if err == nil {
			locks.Voided(mine, []memcachedio.Name{lock})
			return nil
		}
		if !errors.Is(err, memcachedio.ErrGone) {
			return err
		}
	}
	return errRestless
}

// take makes one attempt to keep the lock, whose item was just read.
func (m *mark) take(ctx context.Context, item *memcache.Item) (bool, error) {
	name := m.view.lock(m.key)
	held := m.view.locks.Ask(m.key.String(), name, memcachedio.Writer)
	if held == nil {
		return false, backend.ErrClosed
	}
	taken := held.Item()
	taken.Expiration = int32(m.view.markLife())
	var outcome memcachedio.Outcome
	var err error
	if item == nil {
		outcome, err = name.Server.Add(ctx, taken)
	} else {
		taken.CasID = item.CasID
		outcome, err = name.Server.CAS(ctx, taken)
	}
	switch {
	case outcome == memcachedio.Done:
		if m.lock != nil { // it has expired
			m.view.locks.Forget(m.lock)
		}
		m.lock = held
		return true, nil
	case err == nil || memcachedio.Unsent(err):
		m.view.locks.Forget(held)
	default:
		m.view.locks.GiveBack([]*memcachedio.Held{held}) // it may yet be taken
	}
	if memcachedio.Broken(err) {
		err = nil
	}
	return false, err
}
