package region

import (
	"context"
	"fmt"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/envelope"
)

// verdict is what a stored value is good for.
type verdict uint8

const (
	missing verdict = iota // there is none, or none that can be used
	dead                   // too old, or killed by an invalidation
	stale                  // may be served while another one is created
	fresh
)

// sight is what one read of one key has shown.
type sight struct {
	verdict  verdict
	notFound bool   // the stored answer is "not found"
	value    any    // a *T; set if the verdict is stale or fresh, unless notFound
	payload  []byte // what value was decoded from, if it was
}

// asks is what a call wants to know of the keys it reads.
type asks struct {
	*valueType
	settings
}

// look reads one key. An error is the backend's.
func (st *state) look(ctx context.Context, a *asks, key string) (sight, error) {
	k := backend.Key{Region: st.region.name, Name: key}
	if st.local != nil {
		// The stamps are loaded after the entry, so that both are read after
		// the call began.
		found, err := st.backend.Get(ctx, k, nil)
		if err != nil {
			return sight{}, err
		}
		return st.judge(a, key, found.Entry, st.live.Load()), nil
	}
	found, err := st.backend.Get(ctx, k, st.guards)
	if err != nil {
		return sight{}, err
	}
	return st.judge(a, key, found.Entry, first(found.Stamps)), nil
}

// first returns the stamps of the region, which are the first and only ones asked
// for; zero stamps, which are never current, if a backend returns none.
func first(stamps []backend.Stamps) backend.Stamps {
	if len(stamps) == 0 {
		return backend.Stamps{}
	}
	return stamps[0]
}

// judge says what an entry is good for, now that the region has the stamps
// current. What cannot be read is a miss and an event.
func (st *state) judge(a *asks, key string, e *backend.Entry, current backend.Stamps) sight {
	if e == nil {
		return sight{}
	}
	if !st.bytes {
		s := sight{verdict: st.age(a, e.Stamps, current, time.Since(e.Created), e.Expiration, e.NotFound)}
		switch {
		case e.NotFound:
			s.notFound = true
		case !a.is(e.Value):
			st.badEntry(key, fmt.Errorf("%w: %T, not *%v", errOtherType, e.Value, a.typ))
			return sight{}
		case s.verdict >= stale:
			s.value = e.Value
		}
		return s
	}

	h, payload, err := envelope.Parse(e.Data, backend.Key{Region: st.region.name, Name: key})
	switch {
	case err != nil:
	case h.Schema != a.schema:
		err = errOtherType
	case h.Codec != st.codecID:
		err = errOtherCodec
	}
	if err != nil {
		st.badEntry(key, err)
		return sight{}
	}
	s := sight{
		verdict:  st.age(a, h.Stamps, current, st.now().Sub(h.Created), h.Expiration, h.NotFound),
		notFound: h.NotFound,
	}
	if s.verdict >= stale && !s.notFound {
		if s.value, err = st.decode(a.valueType, payload); err != nil {
			st.badEntry(key, err)
			return sight{}
		}
		s.payload = payload
	}
	return s
}

// age judges by stamps and age. own is the value's own expiration, or zero.
func (st *state) age(a *asks, has, current backend.Stamps, age, own time.Duration, notFound bool) verdict {
	if a.refresh || current.Hard.IsZero() || has.Hard != current.Hard {
		return dead
	}
	limit := st.fresh
	if own != 0 {
		limit = ageLimit(own)
	}
	if a.hasOwn {
		if call := ageLimit(a.expiration); own == 0 || call < limit {
			limit = call
		}
	}
	old := int64(age) // negative if a clock was set back, and then fresh
	soft := current.Soft.IsZero() || has.Soft != current.Soft
	switch {
	case old <= limit && !soft:
		return fresh
	case notFound:
		return dead // it is remembered for a short time and never served stale
	case st.stale > 0 && (old <= limit || old-limit <= st.stale):
		return stale
	}
	return dead
}

// peek is the hit path: the value of key, if it is stored in this process and
// fresh by the region's own rules, or nil. Everything else takes the long way,
// which says what is wrong.
func (r *Region) peek(key string) any {
	if r == nil {
		return nil
	}
	st := r.state.Load()
	if st == nil || st.local == nil {
		return nil
	}
	return st.good(st.local.Peek(key))
}

// peekBytes is peek for a key that stands in a buffer.
func (st *state) peekBytes(key []byte) any {
	if st.local == nil {
		return nil
	}
	return st.good(st.local.PeekBytes(key))
}

// good returns the value of a hit that is at most so old, or nil. A stored "not
// found" has no value.
func (st *state) good(e *backend.Entry, atMost time.Duration) any {
	if e == nil || !st.live.Are(e.Stamps) {
		return nil
	}
	limit := st.fresh
	if e.Expiration != 0 {
		limit = ageLimit(e.Expiration)
	}
	// Reading the time is a quarter of a hit, so it is left out until the end of
	// the expiration is near.
	if int64(atMost) > limit && int64(time.Since(e.Created)) > limit {
		return nil
	}
	return e.Value
}
