package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/dogpile-go/dogpile/region"
)

// client is one goroutine of a member that makes one call after the other.
type client struct {
	*member
	id  int
	ctx context.Context
}

// mix is how often in a thousand each operation is made.
var mix = []struct {
	kind  kind
	share int
}{
	{getOrCreate, 540}, {get, 120}, {getOrCreateMulti, 80}, {call, 90}, {funcGet, 30},
	{set, 30}, {funcSet, 10},
	{del, 25}, {expire, 10}, {funcInvalidate, 10}, {hardTag, 36}, {softTag, 12},
	{funcInvalidateAll, 3}, {hardRegion, 2}, {softRegion, 2},
}

// run makes n operations, or fewer if everyone is told to stop. An error is one that the
// workload does not want.
func (c *client) run(n int) error {
	for range n {
		if c.arena.head.stop.Load() {
			return nil
		}
		choice := rand.IntN(1000)
		for _, m := range mix {
			if choice -= m.share; choice < 0 {
				if err := c.do(m.kind); err != nil {
					return fmt.Errorf("%v by client %d of process %d: %w", m.kind, c.id, c.number, err)
				}
				break
			}
		}
		if rand.IntN(20) == 0 {
			pause()
		}
	}
	return nil
}

// anyOf chooses among n: every second time among the first few, so that clients meet.
func anyOf(n int) int {
	if rand.IntN(2) == 0 {
		return rand.IntN(min(n, 4))
	}
	return rand.IntN(n)
}

func (c *client) do(k kind) error {
	switch k {
	case getOrCreate:
		return c.getOrCreate(anyOf(c.plain))
	case getOrCreateMulti:
		return c.getOrCreateMulti(anyOf(c.groups))
	case get:
		return c.get(anyOf(c.plain))
	case call, funcGet, funcSet, funcInvalidate:
		return c.callFunc(k, c.plain+anyOf(c.wrapped))
	case set:
		return c.set(anyOf(c.plain))
	case del, expire:
		return c.remove(k, anyOf(c.plain))
	case hardTag, softTag:
		return c.invalidateTags(k)
	case hardRegion:
		return c.whole(k, func() error { return c.region.Invalidate(c.ctx, region.Hard) })
	case softRegion:
		return c.whole(k, func() error { return c.region.Invalidate(c.ctx, region.Soft) })
	case funcInvalidateAll:
		return c.whole(k, func() error { return c.fn.InvalidateAll(c.ctx) })
	}
	return fmt.Errorf("proof: nobody knows how to do %v", k)
}

// underWay is an operation that has begun: its records and their slots.
type underWay struct {
	c       *client
	records []record
	slots   []*slot
}

// begin opens records for one operation on targets. The first tick is taken when all
// else is done.
func (c *client) begin(k kind, v value, targets ...int) *underWay {
	o := &underWay{c: c}
	for _, target := range targets {
		o.records = append(o.records, record{kind: k, process: uint8(c.number), client: uint8(c.id), target: int32(target), value: v})
	}
	now := c.arena.tick()
	for i := range o.records {
		o.records[i].call = now
		if v.Set {
			o.records[i].value.Began = now
		}
		o.slots = append(o.slots, c.arena.open(o.records[i]))
	}
	return o
}

// end closes the records of an operation that has returned.
func (o *underWay) end(err error, has func(i int) (value, bool)) error {
	now := o.c.arena.tick()
	for i := range o.records {
		r := &o.records[i]
		r.ret = now
		if err != nil {
			r.flags |= failed
		}
		if has != nil {
			if v, ok := has(i); ok && err == nil {
				r.value, r.flags = v, r.flags|found
			}
		}
		o.slots[i].close(*r)
	}
	if errors.Is(err, errWanted) {
		return nil
	}
	return err
}

// tagsAtCall says who gives the tag of the group: the call, the creator, or both.
func (c *client) tagsAtCall(k int) (atCall []region.CallOption, byCreator []string) {
	name := tagName(c.groupOf(k))
	if at := rand.IntN(3); at > 0 {
		atCall = append(atCall, region.WithTags(name))
		if at == 1 {
			return atCall, nil
		}
	}
	return atCall, []string{name}
}

func (c *client) getOrCreate(k int) error {
	atCall, byCreator := c.tagsAtCall(k)
	side, sideTag := c.side()
	o := c.begin(getOrCreate, value{}, k)
	v, err := region.GetOrCreate(c.ctx, c.region, keyName(k), func(ctx context.Context) (value, error) {
		v, err := c.make(k, itself|group|side, failing())
		region.FromContext(ctx).AddTags(append(byCreator, sideTag)...) // now that it knows the value
		return v, err
	}, atCall...)
	return o.end(err, func(int) (value, bool) { return v, true })
}

// getOrCreateMulti asks for some keys of one group.
func (c *client) getOrCreateMulti(g int) error {
	var keys []string
	numbers := map[string]int{}
	var targets []int
	for k := g; k < c.plain; k += c.groups {
		if rand.IntN(3) > 0 {
			keys = append(keys, keyName(k))
			numbers[keyName(k)] = k
			targets = append(targets, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	atCall, byCreator := c.tagsAtCall(g)
	side, sideTag := c.side()
	o := c.begin(getOrCreateMulti, value{}, targets...)
	m, err := region.GetOrCreateMulti(c.ctx, c.region, keys, func(ctx context.Context, missing []string) (map[string]value, error) {
		region.FromContext(ctx).AddTags(append(byCreator, sideTag)...)
		values := make(map[string]value, len(missing))
		fails := failing()
		var err error
		for _, key := range missing {
			values[key], err = c.make(numbers[key], itself|group|side, fails)
		}
		return values, err
	}, atCall...)
	return o.end(err, func(i int) (value, bool) { v, ok := m[keyName(targets[i])]; return v, ok })
}

func (c *client) get(k int) error {
	var opts []region.GetOption
	if rand.IntN(2) == 0 {
		opts = append(opts, region.WithTags(tagName(c.groupOf(k))))
	}
	o := c.begin(get, value{}, k)
	v, ok, err := region.Get[value](c.ctx, c.region, keyName(k), opts...)
	return o.end(err, func(int) (value, bool) { return v, ok })
}

func (c *client) set(k int) error {
	side, sideTag := c.side()
	o := c.begin(set, value{Set: true, Carries: itself | group | side}, k)
	err := region.Set(c.ctx, c.region, keyName(k), o.records[0].value, region.WithTags(tagName(c.groupOf(k)), sideTag))
	return o.end(err, nil)
}

// remove deletes one key, or makes it expire, and every third time another one with it.
func (c *client) remove(k kind, key int) error {
	targets, names := []int{key}, []string{keyName(key)}
	if other := anyOf(c.plain); rand.IntN(3) == 0 && other != key {
		targets, names = append(targets, other), append(names, keyName(other))
	}
	o := c.begin(k, value{}, targets...)
	if k == expire {
		return o.end(c.region.Expire(c.ctx, names...), nil)
	}
	return o.end(c.region.Delete(c.ctx, names...), nil)
}

func (c *client) invalidateTags(k kind) error {
	tags := []int{rand.IntN(c.groups)}
	switch rand.IntN(16) {
	case 0:
		tags = []int{c.leftTag()}
	case 1:
		tags = []int{c.rightTag()}
	case 2:
		tags = append(tags, (tags[0]+1)%c.groups)
	}
	var names []string
	for _, n := range tags {
		names = append(names, tagName(n))
	}
	o := c.begin(k, value{}, tags...)
	if k == softTag {
		return o.end(region.SoftTags(c.ctx, c.region, names...), nil)
	}
	return o.end(c.region.InvalidateTags(c.ctx, names...), nil)
}

// whole invalidates the region or all of the function.
func (c *client) whole(k kind, do func() error) error {
	o := c.begin(k, value{}, 0)
	return o.end(do(), nil)
}

func (c *client) callFunc(k kind, key int) error {
	v := value{}
	if k == funcSet {
		v = value{Set: true, Carries: itself | left}
	}
	o := c.begin(k, v, key)
	switch k {
	case call:
		v, err := c.fn.Call(c.ctx, key)
		return o.end(err, func(int) (value, bool) { return v, true })
	case funcGet:
		v, ok, err := c.fn.Get(c.ctx, key)
		return o.end(err, func(int) (value, bool) { return v, ok })
	case funcSet:
		return o.end(c.fn.Set(c.ctx, key, o.records[0].value), nil)
	}
	return o.end(c.fn.Invalidate(c.ctx, key), nil)
}
