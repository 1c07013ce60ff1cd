package region

import (
	"context"
	"errors"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// publication is what holds for all values of one creation.
type publication struct {
	wishes
	cost     time.Duration
	captured *capture // before the creator began; nil: nothing can be stored
	unproved error    // why nothing can be stored though there are leases
}

// publish stores what a creator has returned and ends the flights of keys.
//
// A created value goes to everyone who joined before its creator began, whatever
// becomes of the storing. Whoever joined later may have seen an invalidation
// return in between, and gets the value only if there was none: the lease was
// still held, and the stamps are those captured before. Where that could not be
// asked, because the backend failed, the outcome is unproved: whoever came later
// asks again, and takes the value only if the backend still does not answer.
func (p *production) publish(keys []*pending, out made, w publication) {
	st := p.st
	p.noteUnexpected(keys, out.values)
	p.addLate(keys, &w)
	outcomes := make([]outcome, len(keys))
	items := make([]backend.Item, 0, len(keys))
	at := make([]int, len(keys)) // where the key stands in items, or -1
	now := st.now()
	for i, q := range keys {
		var entry *backend.Entry
		var ttl time.Duration
		outcomes[i], entry, ttl = p.entry(q, out, w, now)
		at[i] = -1
		if q.lease != nil {
			at[i] = len(items)
			items = append(items, backend.Item{
				Key:   p.place(q),
				Entry: entry,
				TTL:   ttl,
				Lease: q.lease,
			})
		} else if entry != nil && w.captured != nil {
			st.notStored(q.key, backend.ErrLeaseLost)
		}
	}

	current, err := p.store(items, outcomes)
	var replaced map[string]bool // the entries that variants are of
	var unsure error
	if err == nil {
		replaced, unsure = p.replacedSince(keys)
	}
	for i, q := range keys {
		everyone := true
		switch {
		case w.captured == nil:
			outcomes[i].unproved = true
		case at[i] < 0, w.unproved != nil:
			everyone = false
		case err != nil:
			outcomes[i].unproved = true
			if items[at[i]].Entry != nil {
				st.notStored(q.key, err)
			}
		default:
			everyone = current.are(w.captured.region, outcomes[i].tags) && items[at[i]].Err == nil
			switch {
			case q.variantOf == nil:
			case unsure != nil:
				outcomes[i].unproved = everyone
			default:
				everyone = everyone && !replaced[q.key]
			}
		}
		if err == nil && at[i] >= 0 {
			if item := items[at[i]]; item.Err == nil {
				q.lease = nil // storing has ended it
			} else if item.Entry != nil {
				st.notStored(q.key, item.Err)
			}
		}
		p.release(q)
		p.finish(q, outcomes[i], everyone, nil)
	}
}

// store puts items into the backend, and returns the stamps as they are after it.
func (p *production) store(items []backend.Item, outcomes []outcome) (now current, err error) {
	if len(items) == 0 {
		return now, nil
	}
	var tags []string
	for i := range outcomes {
		for j := range outcomes[i].tags {
			tags = append(tags, outcomes[i].tags[j].Tag)
		}
	}
	now.guards = p.st.guarded(unique(tags))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), settleTime)
	defer cancel()
	defer func() {
		if err != nil {
			p.st.failed("set", items[0].Key.Name, err)
		}
	}()
	defer recovered(&err)
	now.stamps, err = p.st.backend.Set(ctx, items, now.guards)
	return now, err
}

// addLate captures the stamps of tags that the creator has added.
func (p *production) addLate(keys []*pending, w *publication) {
	if w.captured == nil || len(w.tags) == 0 {
		return
	}
	_, late := w.captured.of(w.tags)
	if len(late) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), settleTime)
		defer cancel()
		w.unproved = p.capturedLate(ctx, w.captured, late)
	}
	switch {
	case errors.Is(w.unproved, ErrTagsUnproved):
		for _, q := range keys {
			p.st.tagsOf.learn(q.key, w.tags)
		}
	case w.unproved != nil:
		p.st.failed("stamps", keys[0].key, w.unproved)
	}
}

func (p *production) capturedLate(ctx context.Context, c *capture, tags []string) (err error) {
	defer recovered(&err)
	return p.st.addLate(ctx, c, tags)
}

// entry makes of a creator's answer for q what its callers get, and what is stored
// for how long: nil if nothing is.
func (p *production) entry(q *pending, out made, w publication, now time.Time) (outcome, *backend.Entry, time.Duration) {
	st := p.st
	value, ok := out.values[q.key]
	o := outcome{value: value, created: true}
	discard := w.discard || w.captured == nil
	e := &backend.Entry{Created: now, Cost: w.cost, Expiration: w.expiration}
	tags := unique(append(q.tags[:len(q.tags):len(q.tags)], w.tags...))
	if w.captured != nil {
		e.Stamps = w.captured.region
		e.Tags, _ = w.captured.of(tags)
	} else {
		// It is not stored, but those who wait for it want to know that it has its tags.
		for _, tag := range tags {
			e.Tags = append(e.Tags, backend.Tagged{Tag: tag})
		}
	}
	ttl := st.ttl(p.call.keptFor(st))
	if w.expiration != 0 {
		ttl = st.ttl(w.expiration)
	}
	switch {
	case out.err != nil: // wraps ErrNotFound, see create
		o = outcome{err: out.err, created: true}
		e.NotFound = true
	case !ok:
		o = outcome{missing: true, created: true}
		e.NotFound = true
		discard = discard || !p.call.allowMissing
	case out.keep != nil && !out.keep[q.key]:
		discard = true
	}
	if e.NotFound {
		e.Expiration, ttl = st.NotFoundFor, lasting(int64(st.NotFoundFor), 0)
		discard = discard || st.NotFoundFor == 0
	}

	if q.variantOf != nil && (ttl == 0 || ttl > variantsLast) {
		ttl = variantsLast
	}
	o.tags = e.Tags
	if w.unproved != nil && !discard {
		st.notStored(q.key, w.unproved)
		discard = true
	}
	if !st.bytes {
		if discard {
			return o, nil, 0
		}
		if !e.NotFound {
			e.Value = value
		}
		return o, e, ttl
	}
	// Also what is not stored is encoded, because the callers of a backend of
	// bytes never share a value.
	data, err := st.encode(p.place(q), q.variantOf, e, p.call.valueType, value)
	if err != nil {
		if !discard {
			st.notStored(q.key, err)
		}
		return o, nil, 0
	}
	if !e.NotFound {
		o.decoded = new(decoding)
		o.payload = st.payloadOf(data, p.place(q))
		if q.variantOf != nil {
			_, o.payload, _ = cutIdentity(o.payload)
		}
	}
	if discard {
		return o, nil, 0
	}
	return o, &backend.Entry{Data: data}, ttl
}

// keptFor returns the expiration by which the call's values are kept.
func (a *asks) keptFor(st *state) time.Duration {
	if a.hasOwn {
		return a.expiration
	}
	return st.Expiration
}

// noteUnexpected remembers the keys that a creator has returned unasked.
func (p *production) noteUnexpected(keys []*pending, values map[string]any) {
	known := 0
	for _, q := range keys {
		if _, ok := values[q.key]; ok {
			known++
		}
	}
	if known == len(values) {
		return
	}
	asked := make(map[string]struct{}, len(keys))
	for _, q := range keys {
		asked[q.key] = struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range values {
		if _, ok := asked[key]; !ok {
			p.unexpected = append(p.unexpected, key)
		}
	}
}
