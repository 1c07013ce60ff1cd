package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/internal/redisio"
)

const (
	// stampsSize is the length of a guard's two stamps, hard and soft, which are one
	// value.
	stampsSize = 24

	// partSize is how many stamps one script is about at most: those of one value with
	// a thousand tags. The server does nothing else meanwhile, for some milliseconds.
	partSize = 1024

	// stampsFor is how long the stamps of a tag are kept after all values that carry them
	// have gone, and before the first is stored, at most. They are prolonged when less
	// than half of it is left, so that a tag that is in use all the time is seldom
	// written. So a creator may take half of it.
	stampsFor = time.Hour
)

// stampKeep is how long the stamps of tags are kept at least, in milliseconds. Those that have
// less than enough get ttl; if that is 0 they are kept for ever.
type stampKeep struct{ enough, ttl int64 }

// keepFor returns what is kept as long as values with a TTL of so many milliseconds are, 0
// for those that are kept for ever.
func keepFor(ttl int64) stampKeep {
	if ttl == 0 {
		return stampKeep{}
	}
	return stampKeep{ttl + stampsFor.Milliseconds()/2, ttl + stampsFor.Milliseconds()}
}

// keepToCreate is for stamps under which nothing has been stored yet.
var keepToCreate = stampKeep{stampsFor.Milliseconds() / 2, stampsFor.Milliseconds()}

// stampPart is guards of one region, as many as one script names at most.
type stampPart struct {
	names []string
	at    []int  // where they stand among the guards of the call
	kinds string // "r" for the region's own stamps and "t" for those of a tag
}

// ask adds the command, or the commands, that read the stamps. Where there are tags it
// also creates those that are absent, if create is true, and keeps them. In the first
// attempt one script is about all of them; afterwards there is one for each, because the
// slot may be on its way to another server, with some of them there already.
func (p *stampPart) ask(batch *redisio.Batch, attempt int, create bool, keep stampKeep) []*redisio.Call {
	if strings.Contains(p.kinds, "t") {
		return p.eval(batch, attempt, create, keep)
	}
	return p.get(batch)
}

func (p *stampPart) get(batch *redisio.Batch) []*redisio.Call {
	calls := make([]*redisio.Call, len(p.names))
	for i, name := range p.names {
		calls[i] = batch.Do("get", name)
	}
	return calls
}

func (p *stampPart) eval(batch *redisio.Batch, attempt int, create bool, keep stampKeep) (calls []*redisio.Call) {
	n := len(p.names)
	if attempt > 1 {
		n = 1
	}
	for i := 0; i < len(p.names); i += n {
		calls = append(calls, batch.Eval(stampsScript, p.names[i:i+n], stampArgs(create, p.kinds[i:i+n], keep)...))
	}
	return calls
}

// stampArgs are the arguments of stampsScript.
func stampArgs(create bool, kinds string, keep stampKeep) []any {
	random := ""
	if create {
		random = randomness()
	}
	return []any{random, kinds, keep.enough, keep.ttl}
}

// stampParts divides guards by their regions, all of whose stamps are in one slot, and keeps
// their order there.
func (b *Backend) stampParts(guards []backend.Guard) []*stampPart {
	names := b.names.appendStamps(make([]string, 0, len(guards)), guards)
	var parts []*stampPart
	last := make(map[string]*stampPart) // of each region
	for i, guard := range guards {
		p := last[guard.Region]
		if p == nil || len(p.names) == partSize {
			p = new(stampPart)
			last[guard.Region] = p
			parts = append(parts, p)
		}
		p.names, p.at = append(p.names, names[i]), append(p.at, i)
	}
	kinds := kindsOf(guards)
	for _, p := range parts {
		own := make([]byte, len(p.at))
		for i, at := range p.at {
			own[i] = kinds[at]
		}
		p.kinds = string(own)
	}
	return parts
}

// kindsOf tells the guards of tags from those of regions.
func kindsOf(guards []backend.Guard) string {
	kinds := make([]byte, len(guards))
	for i, guard := range guards {
		if kinds[i] = 't'; guard.Tag == "" {
			kinds[i] = 'r'
		}
	}
	return string(kinds)
}

// sizeOf returns how much of a batch's room guards take.
func sizeOf(guards []backend.Guard) int {
	size := len(guards) * commandSize
	for _, guard := range guards {
		size += len(guard.Tag)
	}
	return size
}

// Stamps is Stamps of [backend.Backend].
func (b *Backend) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if len(guards) == 0 {
		return nil, nil
	}
	stamps, err := b.askStamps(ctx, guards, false)
	if err != nil {
		return nil, err
	}
	return b.completed(ctx, guards, stamps)
}

// askStamps asks for the stamps of guards, and for nothing else. Those of regions that are
// asked for without a tag are most often there, and so are created only if create is true.
func (b *Backend) askStamps(ctx context.Context, guards []backend.Guard, create bool) ([]backend.Stamps, error) {
	parts := b.stampParts(guards)
	var calls [][]*redisio.Call
	attempt := 0
	err := b.send(ctx, parts[0].names[0], sizeOf(guards), func(batch *redisio.Batch) {
		attempt++
		calls = make([][]*redisio.Call, len(parts))
		for i, p := range parts {
			if create {
				calls[i] = p.eval(batch, attempt, true, keepToCreate)
			} else {
				calls[i] = p.ask(batch, attempt, true, keepToCreate)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	values, err := stampValues(len(guards), parts, calls)
	if err != nil {
		return nil, b.explained(ctx, err)
	}
	return stampsOf(values), nil
}

// stampValues returns what the calls of parts have read, which are of n guards. A key of
// another type holds no stamps.
func stampValues(n int, parts []*stampPart, calls [][]*redisio.Call) ([]any, error) {
	values := make([]any, n)
	for i, p := range parts {
		all := make([]any, 0, len(p.at))
		for _, call := range calls[i] {
			value, err := call.Value()
			if err != nil && !isWrongType(err) {
				return nil, err
			}
			if several, ok := value.([]any); ok {
				all = append(all, several...)
			} else {
				all = append(all, value)
			}
		}
		if len(all) != len(p.at) {
			return nil, fmt.Errorf("redis: the answer about %d stamps has %d", len(p.at), len(all))
		}
		for j, at := range p.at {
			values[at] = all[j]
		}
	}
	return values, nil
}

// completed creates those of stamps that are absent, which takes another round trip.
func (b *Backend) completed(ctx context.Context, guards []backend.Guard, stamps []backend.Stamps) ([]backend.Stamps, error) {
	var places []int
	var absent []backend.Guard
	for i, s := range stamps {
		if s.Hard.IsZero() || s.Soft.IsZero() {
			places, absent = append(places, i), append(absent, guards[i])
		}
	}
	if absent == nil {
		return stamps, nil
	}
	created, err := b.askStamps(ctx, absent, true)
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		stamps[place] = created[i]
	}
	return stamps, nil
}

// Renew is Renew of [backend.Backend]. The guards of one region are renewed by one script, up
// to partSize of them: nobody sees some of them renewed and others not. More of them take more
// scripts, each of which renews the first guard before its own, so it does not matter in
// which order the server gets them.
//
// What is tried again is renewed one by one, because the slot may be on its way to another
// server, with some of the stamps there already: the first ones, and then all others.
func (b *Backend) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if len(guards) == 0 {
		return nil
	}
	which := "hard"
	if soft {
		which = "soft"
	}
	parts := b.stampParts(guards)
	var firsts []*stampPart // of each region
	first := make(map[string]*stampPart)
	for _, p := range parts {
		region := guards[p.at[0]].Region
		if f := first[region]; f != nil {
			p.names, p.kinds = slices.Insert(p.names, 0, f.names[0]), f.kinds[:1]+p.kinds
		} else {
			first[region] = p
			firsts = append(firsts, &stampPart{names: p.names[:1], kinds: p.kinds[:1]})
		}
	}
	attempt := 0
	err := b.sendRenewals(ctx, parts[0].names[0], sizeOf(guards), which, func() ([]*stampPart, int) {
		if attempt++; attempt > 1 {
			return firsts, 1
		}
		return parts, 1 + partSize
	})
	if err == nil && attempt > 1 {
		err = b.sendRenewals(ctx, parts[0].names[0], sizeOf(guards), which, func() ([]*stampPart, int) { return parts, 1 })
	}
	return err
}

// sendRenewals sends, in each attempt, what next returns, with so many guards a script.
func (b *Backend) sendRenewals(ctx context.Context, first string, size int, which string, next func() ([]*stampPart, int)) error {
	var calls []*redisio.Call
	err := b.send(ctx, first, size, func(batch *redisio.Batch) {
		calls = nil
		parts, most := next()
		for _, p := range parts {
			for i := 0; i < len(p.names); i += most {
				end := min(i+most, len(p.names))
				calls = append(calls, batch.Eval(renewScript, p.names[i:end], randomness(), which, p.kinds[i:end]))
			}
		}
	})
	if err != nil {
		return err
	}
	return b.firstError(ctx, calls)
}

// randomness returns what the server makes stamps of.
func randomness() string { return rand.Text() }
