package region

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/codec"
	"github.com/dogpile-go/dogpile/internal/envelope"
)

// ErrInterop is wrapped by the errors of what a region with Config.Interop cannot do,
// because the other library's format has no place for it: region and tag invalidation,
// tags, a value's own expiration, a remembered "not found".
var ErrInterop = errors.New("not possible in a region that is shared with another library")

// checkInterop tells bad what Config.Interop does not go together with. Each of it would
// be silently wrong.
func (c *Config) checkInterop(bad func(format string, args ...any)) {
	if c.Interop == nil {
		return
	}
	if isNil(c.Interop) {
		bad("Interop is a nil %T", c.Interop)
		return
	}
	if checked, ok := c.Interop.(interface{ Err() error }); ok {
		if err := checked.Err(); err != nil {
			bad("Interop: %w", err)
			return
		}
	}
	other := c.Interop.Name()
	if _, ok := c.Backend.(backend.Sharer); c.Backend != nil && !ok {
		bad("Interop: %s cannot reach what is stored in a %T; use a backend of Redis or memcached, or leave Interop out", other, c.Backend)
	}
	if c.NotFoundFor != 0 {
		bad("NotFoundFor with Interop: %s has no way to store that there is no value; leave it out, and let the creator return a value that says so", other)
	}
	if c.MaxWait == Forever && c.Interop.Layout().StealAfter == 0 {
		bad("MaxWait is Forever with Interop: a lock of %s that its process has left behind may never end, and so would no call; set MaxWait, or let the format steal such locks", other)
	}
	if c.Mutex != nil {
		bad("Mutex with Interop: creators of %s take their own lock and would not know of it; leave it out", other)
	}
}

// interop is a backend in another library's layout, for a region. It knows no stamps, so
// it says that they are always the same, and its entries are read as if they had them.
//
// What the region stores for itself and the other library never asks for goes to the
// backend as ever.
type interop struct {
	backend.Backend // the view
	own             backend.Backend
	region          string
	name            string // the library's
}

func newInterop(cfg *Config, region string) (*interop, error) {
	view, err := cfg.Backend.(backend.Sharer).Share(cfg.Interop.Layout())
	if err != nil {
		return nil, fmt.Errorf("%w: Interop: %w", ErrConfig, err)
	}
	return &interop{Backend: view, own: cfg.Backend, region: region, name: cfg.Interop.Name()}, nil
}

// always are the stamps of every guard, and of every entry.
var always = backend.Stamps{Hard: backend.Stamp{1}, Soft: backend.Stamp{1}}

var alwaysSome = []backend.Stamps{always, always}

// unchanging returns the stamps of guards. Nobody writes into them.
func unchanging(guards []backend.Guard) []backend.Stamps {
	if len(guards) <= len(alwaysSome) {
		return alwaysSome[:len(guards):len(guards)]
	}
	all := make([]backend.Stamps, len(guards))
	for i := range all {
		all[i] = always
	}
	return all
}

// where returns the backend that has keys, which are all of one kind.
func (i *interop) where(keys ...backend.Key) (backend.Backend, error) {
	for _, key := range keys {
		switch {
		case key.Region == i.region:
		case strings.HasSuffix(key.Region, turnMark):
			return i.own, nil
		default:
			return nil, fmt.Errorf("%w: a proxy in Wrap has moved it to %q, and keys of %s have nothing of a region's name; use Config.KeyMangler", ErrInterop, key.Region, i.name)
		}
	}
	return i.Backend, nil
}

func (i *interop) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	b, err := i.where(key)
	if err != nil {
		return backend.Found{}, err
	}
	found, err := b.Get(ctx, key, nil)
	found.Stamps = unchanging(guards)
	return found, err
}

func (i *interop) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	if len(keys) == 0 {
		return nil, unchanging(guards), nil
	}
	b, err := i.where(keys...)
	if err != nil {
		return nil, nil, err
	}
	entries, _, err := b.GetMulti(ctx, keys, nil)
	return entries, unchanging(guards), err
}

func (i *interop) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	b, err := i.where(keys...)
	if err != nil {
		return nil, nil, err
	}
	grants, _, err := b.Acquire(ctx, keys, nil)
	return grants, unchanging(guards), err
}

func (i *interop) Wait(ctx context.Context, keys []backend.Key) error {
	b, err := i.where(keys...)
	if err != nil {
		return err
	}
	return b.Wait(ctx, keys)
}

func (i *interop) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	keys := make([]backend.Key, len(items))
	for at := range items {
		keys[at] = items[at].Key
	}
	b, err := i.where(keys...)
	if err != nil {
		return nil, err
	}
	_, err = b.Set(ctx, items, nil)
	return unchanging(guards), err
}

func (i *interop) Delete(ctx context.Context, keys []backend.Key) error {
	b, err := i.where(keys...)
	if err != nil {
		return err
	}
	return b.Delete(ctx, keys)
}

func (i *interop) Stamps(_ context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	return unchanging(guards), nil
}

func (i *interop) Renew(context.Context, []backend.Guard, bool) error { return noStamps(i.name) }

func noStamps(library string) error {
	return fmt.Errorf("%w: values of %s carry nothing by which all of them could be invalidated; delete keys, or change a prefix of all keys, on both sides", ErrInterop, library)
}

// expressible returns an error for an invalidation that the other library's format has no
// place for. It would fail for ever, so it must not become a debt.
func (st *state) expressible(o order) error {
	switch {
	case st.Interop == nil:
	case o.keys == nil:
		return noStamps(st.Interop.Name())
	case o.soft && !st.canAge():
		return fmt.Errorf("%w: Expire: values of %s that never expire, or not in decades, cannot be made stale; delete them", ErrInterop, st.Interop.Name())
	}
	return nil
}

// canAge reports whether a value can have been created so long ago that it has expired.
// Other libraries know no times before 1970.
func (st *state) canAge() bool {
	const moment = int64(24 * time.Hour)
	return st.Interop == nil || st.fresh < st.now().UnixNano()-moment
}

// Close closes the backend, and the view with it.
func (i *interop) Close() error { return i.own.Close() }

// resolved is resolve for a call of this configuration.
func resolved[O Option](st *state, opts []O, typ reflect.Type) (settings, error) {
	s, err := resolve(opts, typ)
	if err == nil && st.Interop != nil {
		err = s.forInterop(st.Interop)
	}
	return s, err
}

// forInterop leaves out what only this library can express and nobody has asked for, and
// returns an error for what somebody has asked for.
func (s *settings) forInterop(f codec.Format) error {
	for _, tag := range s.tags {
		if !isFunction(tag) {
			return fmt.Errorf("%w: WithTags: values of %s have no tags", ErrInterop, f.Name())
		}
	}
	if s.eachTags != nil {
		return fmt.Errorf("%w: WithTagsFunc: values of %s have no tags", ErrInterop, f.Name())
	}
	s.tags = nil
	return nil
}

// unlike says what a creator wants that the other library cannot express; nil if nothing.
func (w *wishes) unlike(f codec.Format) error {
	switch {
	case w.discard:
	case len(w.tags) > 0:
		return fmt.Errorf("%w: AddTags: values of %s have no tags", ErrInterop, f.Name())
	case w.expiration != 0:
		return fmt.Errorf("%w: SetExpiration: values of %s have no expiration of their own", ErrInterop, f.Name())
	}
	return nil
}

// parse takes an entry of the other library apart. Its code is not ours.
func (st *state) parse(data []byte) (created time.Time, payload []byte, err error) {
	defer recovered(&err)
	return st.Interop.Parse(data)
}

// encodeShared is encode for the other library.
func (st *state) encodeShared(e *backend.Entry, vt *valueType, value any) (data []byte, err error) {
	if e.Expiration != 0 {
		return nil, fmt.Errorf("%w: values of %s have no expiration of their own", ErrInterop, st.Interop.Name())
	}
	buf := st.Interop.Append(nil, e.Created)
	if e.NotFound {
		return buf, nil // it is not stored
	}
	if buf, err = appendValue(st.Codec, buf, value); err != nil {
		return nil, fmt.Errorf("%w: %v as %s: %w", ErrEncode, vt.typ, st.Codec.Name(), err)
	}
	return buf, nil
}

// payloadOf returns the payload of bytes that encode has made.
func (st *state) payloadOf(data []byte, key backend.Key) (payload []byte) {
	if st.Interop != nil {
		_, payload, _ = st.parse(data)
	} else {
		_, payload, _ = envelope.Parse(data, key)
	}
	return payload
}

// expiredShared returns a value as it would be had it been created so long ago that it has
// just expired, for whoever expects the expiration that this region has. It is nil for one
// that has expired anyway.
func (st *state) expiredShared(s *stored, limit, old int64) *backend.Entry {
	if old > limit {
		return nil
	}
	const past = int64(time.Millisecond) // more than what is lost when times are written
	created := st.now().Add(-time.Duration(limit + past))
	return &backend.Entry{Data: append(st.Interop.Append(nil, created), s.Data...)}
}

// looksFresh reports whether an entry is not stale yet, as far as Expire has to care.
func (st *state) looksFresh(s *stored, region backend.Stamps) bool {
	if st.Interop != nil {
		return st.aged(&glance{stored: *s}, st.fresh) == fresh
	}
	return compare(s.Stamps, region) == fresh
}
