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
	held *memcachedio.Held
	end  int32 // the server's time when it expires; only if that was asked for

	// astray says that an add of the value may still be under way. The mark is left to
	// expire then, which is not before that add is of no use.
	astray bool
}

// marked marks a key, when nobody else does. With timed, which takes one more request,
// mark.end is known.
func (s *shared) marked(ctx context.Context, key backend.Key, timed bool) (*mark, error) {
	name := s.mark(key)
	life := s.markLife()
	// Whoever does not take its mark away leaves it for so long; some may do so in turn.
	late := time.Now().Add(time.Duration(4*life) * time.Second)
	for pause := courtesy; ; pause = min(2*pause, 16*courtesy) {
		m := &mark{view: s}
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
		case outcome == memcachedio.Done && ctx.Err() != nil:
			// Who asked for the write has been told that it is over, and others may have
			// written since.
			m.remove(ctx, nil)
			return nil, context.Cause(ctx)
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
