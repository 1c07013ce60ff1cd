package memcached

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/memcachedio"
)

var (
	_ backend.Sharer  = (*Backend)(nil)
	_ backend.Backend = (*shared)(nil)
)

// The flags of values that clients in Python know.
const (
	flagsBytes  = 0
	flagsZlib   = 8
	flagsBinary = 16 // of some clients; to others it means text
)

// longestName is how many bytes a key of memcached has at most.
const longestName = 250

// shared is a view of the server in the layout of another library.
type shared struct {
	b      *Backend
	layout codec.Layout
	locks  *memcachedio.Leases
}

// Share is Share of [backend.Sharer]; the package's comment tells how it works. Its
// errors wrap [ErrConfig], or are [backend.ErrClosed].
func (b *Backend) Share(layout codec.Layout) (backend.Backend, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if err := b.shareable(layout); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	b.sharing.Lock()
	defer b.sharing.Unlock()
	if b.closed.Load() {
		return nil, backend.ErrClosed
	}
	s := b.views[layout]
	if s == nil {
		s = &shared{
			b: b, layout: layout,
			locks: memcachedio.NewSharedLeases(b.client, b.cfg.LeaseTTL, layout.StealAfter),
		}
		if b.views == nil {
			b.views = map[codec.Layout]*shared{}
		}
		b.views[layout] = s
	}
	return s, nil
}

// shareable says why the server cannot be used in a layout.
func (b *Backend) shareable(layout codec.Layout) error {
	switch n := len(b.client.Servers()); {
	case n > 1:
		return fmt.Errorf("there are %d servers; clients with another library choose among them by hashes of their own and would not find what is stored here, so share one server", n)
	case b.cfg.Chunked:
		return errors.New("another library cannot read a value in parts; leave Chunked out for a backend that is shared")
	case b.cfg.Compress:
		return errors.New("another library cannot read what is compressed here; leave Compress out for a backend that is shared")
	case layout.LockPrefix == "":
		return errors.New("the LockPrefix of the layout is empty; locks and values would have the same names")
	case badByte(layout.LockPrefix):
		return fmt.Errorf("the LockPrefix %q of the layout has a space or a control character in it, which memcached does not take", layout.LockPrefix)
	case len(layout.LockPrefix) >= longestName:
		return fmt.Errorf("the LockPrefix of the layout has %d bytes, which leaves no room for keys: those of memcached have %d at most", len(layout.LockPrefix), longestName)
	case layout.StealAfter < 0:
		return fmt.Errorf("the StealAfter of the layout is negative (%v); give zero to leave the locks of others alone", layout.StealAfter)
	case layout.Flags != flagsBytes && layout.Flags != flagsBinary:
		return fmt.Errorf("the Flags of the layout are %d; values that are stored as they are have %d or %d", layout.Flags, flagsBytes, flagsBinary)
	}
	return nil
}

func badByte(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] == 0x7f {
			return true
		}
	}
	return false
}

// check says why memcached cannot have a key, or its lock.
func (s *shared) check(key backend.Key) error {
	const advice = "; set Config.KeyMangler of the region to mangle.SHA1, and the same on the other side"
	switch most := longestName - len(s.layout.LockPrefix); {
	case key.Name == "":
		return fmt.Errorf("memcached: %w: it is empty%s", backend.ErrKey, advice)
	case len(key.Name) > most:
		return fmt.Errorf("memcached: %w: %.40q… has %d bytes; %d are the most, as that of its lock has %q in front and memcached takes %d%s",
			backend.ErrKey, key.Name, len(key.Name), most, s.layout.LockPrefix, longestName, advice)
	case badByte(key.Name):
		return fmt.Errorf("memcached: %w: %.250q has a space or a control character in it%s", backend.ErrKey, key.Name, advice)
	}
	return nil
}

func (s *shared) checkAll(keys []backend.Key) error {
	for _, key := range keys {
		if err := s.check(key); err != nil {
			return err
		}
	}
	return nil
}

// value, lock and mark return the names of the items of a key: its value, its lock, and
// what those leave there who write, where no other library looks.
func (s *shared) value(key backend.Key) memcachedio.Name {
	return memcachedio.Name{Server: s.b.client.Servers()[0], Text: key.Name}
}

func (s *shared) lock(key backend.Key) memcachedio.Name {
	return memcachedio.Name{Server: s.b.client.Servers()[0], Text: s.layout.LockPrefix + key.Name}
}

func (s *shared) mark(key backend.Key) memcachedio.Name { return s.b.client.Mark(key.Name) }

// Bytes reports true: entries are kept as bytes.
func (s *shared) Bytes() bool { return true }

// Wait is Wait of [backend.Backend].
func (s *shared) Wait(ctx context.Context, keys []backend.Key) error {
	if err := s.b.usable(); err != nil {
		return err
	}
	if err := s.checkAll(keys); err != nil {
		return err
	}
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = s.lock(key).Text
	}
	return s.locks.WaitFor(ctx, texts)
}

// Stamps returns nil: there are none.
func (s *shared) Stamps(context.Context, []backend.Guard) ([]backend.Stamps, error) {
	return nil, s.b.usable()
}

// Renew returns [backend.ErrNoStamps].
func (s *shared) Renew(context.Context, []backend.Guard, bool) error {
	if err := s.b.usable(); err != nil {
		return err
	}
	return backend.ErrNoStamps
}

// Close does nothing: the backend's own Close ends its views.
func (s *shared) Close() error { return nil }

// closeViews ends the leases of all views.
func (b *Backend) closeViews() {
	b.sharing.Lock()
	defer b.sharing.Unlock()
	for _, s := range b.views {
		s.locks.Close()
	}
}

// markLife is how long a mark lasts, in whole seconds: several times as long as the
// requests of a write take.
func (s *shared) markLife() int64 {
	timeout := s.b.cfg.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	const least, most = 3, 10
	return min(max(int64(2*timeout/time.Second)+2, least), most)
}
