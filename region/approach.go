package region

import (
	"context"

	"github.com/dogpile-go/dogpile/internal/flight"
)

// approach is how a call comes to a key, and what it has found there: something to
// take, or a flight to wait for.
type approach struct {
	key  string
	came flight.Arrival

	sight  sight
	ticket flight.Ticket[outcome]
	leads  bool // the flight is its own
}

// approach looks at a key and joins, follows or leads a flight, if nothing is found
// that can be taken at once. It returns false if the call has to come again.
//
// A herd on a cold key is to cost the backend one look and not one for each caller.
// So callers look together where they come together, and whoever finds nothing starts
// the flight before the next look is taken: the others then follow the flight without
// a look, if there was nothing that they could have used either. Where the last look
// found something the next one most likely does, and nobody has to wait for others.
func (st *state) approach(ctx context.Context, a *asks, at *approach) bool {
	at.sight, at.leads = sight{}, false
	if st.warm == nil || st.warm.isWarm(at.key) {
		s, err := st.look(ctx, a, at.key)
		st.lookFailed(ctx, at, err)
		st.join(a, at, s, err)
		return true
	}
	if st.follow(a, at) {
		return true
	}
	l, first := st.looks.Enter(at.key)
	if first {
		return st.lookFirst(ctx, a, at, l)
	}
	seen, good := l.Wait(ctx)
	if good {
		st.joinSeen(ctx, a, at, &seen)
	}
	return good
}

// lookFirst looks for this call and for those who have come meanwhile.
func (st *state) lookFirst(ctx context.Context, a *asks, at *approach, l *flight.Look[glance]) bool {
	var seen glance
	good := false
	defer func() { l.Finish(seen, good) }()
	if !l.Turn(ctx) {
		return false
	}
	if st.follow(a, at) {
		return true // and so will the others
	}
	st.glance(ctx, &seen, at.key, a.wants(at.key))
	good = seen.err == nil || ctx.Err() == nil
	st.lookFailed(ctx, at, seen.err)
	st.joinSeen(ctx, a, at, &seen)
	return true
}

// lookFailed tells of a look that failed, which is a miss.
func (st *state) lookFailed(ctx context.Context, at *approach, err error) {
	if err != nil && ctx.Err() == nil {
		st.failed("get", at.key, err)
	}
}

// joinSeen is join after a look that may have been made with others. For a variant each
// of them looks alone.
func (st *state) joinSeen(ctx context.Context, a *asks, at *approach, seen *glance) {
	if seen.err != nil {
		st.join(a, at, sight{}, seen.err)
		return
	}
	s := st.judge(a, at.key, seen)
	var err error
	if s.main != nil {
		s, err = st.lookForVariant(ctx, a, at.key, s)
		st.lookFailed(ctx, at, err)
	}
	st.join(a, at, s, err)
}

// join takes what was seen, or joins the flight that will bring something better. err
// is what kept the call from seeing.
func (st *state) join(a *asks, at *approach, s sight, err error) {
	at.sight = s
	if st.warm != nil {
		st.warm.note(at.key, s.verdict == fresh)
	}
	switch s.verdict {
	case fresh:
	case stale:
		at.ticket, at.leads = st.flights.Lead(at.key, at.came)
	default:
		at.ticket, at.leads = st.flights.Join(at.key, at.came)
		if at.leads && err == nil && a.ordinary() {
			at.ticket.Flight().Open(a.valueType)
		}
	}
}

// follow joins the flight of the key without a look, if its leader has found nothing
// that this call could use either.
func (st *state) follow(a *asks, at *approach) (follows bool) {
	if !a.ordinary() {
		return false
	}
	at.ticket, follows = st.flights.Follow(at.key, at.came, a.valueType)
	return follows
}

// ordinary reports whether the region's own rules say what the call can use.
func (a *asks) ordinary() bool { return !a.hasOwn && !a.refresh && !a.freshOnly }
