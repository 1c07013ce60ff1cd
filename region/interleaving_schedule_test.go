package region_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/backend"
)

// This is the proof of law I1 for one key, by trying everything: readers, a writer and
// its invalidation take their steps in each order there is. The steps are those of the
// weakest backend that the contract allows: what it reads or renews in one call it reads
// and renews one after the other.

// schedule stops everybody before each step and lets one go on at a time. Which one is
// told by choices as far as they go, and then the first.
type schedule struct {
	choices []int

	mu      sync.Mutex
	waiting []*gated
	widths  []int // how many could have gone on, at each step
	trace   []string
	fine    bool // the steps within a call of the backend count
	clock   int  // steps so far
}

type gated struct {
	step string
	pass chan struct{}
}

type who struct{}

// as names whoever calls with the context.
func as(ctx context.Context, name string) context.Context { return context.WithValue(ctx, who{}, name) }

// at stops the caller until it is its turn.
func (s *schedule) at(ctx context.Context, step string) {
	name, _ := ctx.Value(who{}).(string)
	if name == "" {
		return // whoever looks when all is over
	}
	g := &gated{name + " " + step, make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, g)
	s.mu.Unlock()
	<-g.pass
}

// within is at for a step inside a call.
func (s *schedule) within(ctx context.Context, step string) {
	if s.fine {
		s.at(ctx, step)
	}
}

// now counts the steps that were taken. Nobody takes one meanwhile.
func (s *schedule) now() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

// run lets everybody go on until nobody wants to.
func (s *schedule) run() {
	for {
		synctest.Wait()
		s.mu.Lock()
		if len(s.waiting) == 0 {
			s.mu.Unlock()
			return
		}
		slices.SortStableFunc(s.waiting, func(a, b *gated) int { return strings.Compare(a.step, b.step) })
		choice := 0
		if s.clock < len(s.choices) {
			choice = s.choices[s.clock]
		}
		g := s.waiting[choice]
		s.widths = append(s.widths, len(s.waiting))
		s.trace = append(s.trace, g.step)
		s.waiting = slices.Delete(s.waiting, choice, choice+1)
		s.clock++
		s.mu.Unlock()
		close(g.pass)
	}
}

// next returns the choices of the schedule after this one, or false if it was the last.
func (s *schedule) next() ([]int, bool) {
	choices := append(slices.Clone(s.choices), make([]int, max(0, len(s.widths)-len(s.choices)))...)[:len(s.widths)]
	for i := len(choices) - 1; i >= 0; i-- {
		if choices[i]+1 < s.widths[i] {
			choices[i]++
			return choices[:i+1], true
		}
	}
	return nil, false
}

// stepping is a backend whose calls consist of steps.
type stepping struct {
	backend.Backend
	s *schedule

	// The laws that it breaks, to see that they are needed.
	capturesLate bool // what is stored carries the stamps that are current by then
	renewsBack   bool // the first guard is renewed last
}

func (b *stepping) stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	var all []backend.Stamps
	for _, guard := range guards {
		b.s.within(ctx, "stamp "+guard.Tag)
		stamps, err := b.Backend.Stamps(ctx, []backend.Guard{guard})
		if err != nil {
			return nil, err
		}
		all = append(all, stamps...)
	}
	return all, nil
}

func (b *stepping) Get(ctx context.Context, key backend.Key, guards []backend.Guard) (backend.Found, error) {
	b.s.at(ctx, "get")
	found, err := b.Backend.Get(ctx, key, nil)
	if err == nil {
		found.Stamps, err = b.stamps(ctx, guards)
	}
	return found, err
}

func (b *stepping) GetMulti(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]*backend.Entry, []backend.Stamps, error) {
	b.s.at(ctx, "get")
	entries, _, err := b.Backend.GetMulti(ctx, keys, nil)
	if err != nil {
		return nil, nil, err
	}
	stamps, err := b.stamps(ctx, guards)
	return entries, stamps, err
}

func (b *stepping) Acquire(ctx context.Context, keys []backend.Key, guards []backend.Guard) ([]backend.Grant, []backend.Stamps, error) {
	b.s.at(ctx, "acquire")
	grants, _, err := b.Backend.Acquire(ctx, keys, nil)
	if err != nil {
		return nil, nil, err
	}
	stamps, err := b.stamps(ctx, guards)
	return grants, stamps, err
}

func (b *stepping) Set(ctx context.Context, items []backend.Item, guards []backend.Guard) ([]backend.Stamps, error) {
	b.s.at(ctx, "set")
	if b.capturesLate {
		for i := range items {
			if err := b.late(ctx, &items[i]); err != nil {
				return nil, err
			}
		}
	}
	if _, err := b.Backend.Set(ctx, items, nil); err != nil {
		return nil, err
	}
	return b.stamps(ctx, guards)
}

// late gives an entry the stamps of now.
func (b *stepping) late(ctx context.Context, item *backend.Item) error {
	if item.Entry == nil || item.Lease == nil {
		return nil
	}
	e := *item.Entry
	e.Tags = slices.Clone(e.Tags)
	guards := []backend.Guard{{Region: item.Key.Region}}
	for _, t := range e.Tags {
		guards = append(guards, backend.Guard{Region: item.Key.Region, Tag: t.Tag})
	}
	now, err := b.Backend.Stamps(ctx, guards)
	if err != nil {
		return err
	}
	e.Stamps = now[0]
	for i := range e.Tags {
		e.Tags[i].Stamps = now[i+1]
	}
	item.Entry = &e
	return nil
}

func (b *stepping) Delete(ctx context.Context, keys []backend.Key) error {
	b.s.at(ctx, "delete")
	return b.Backend.Delete(ctx, keys)
}

func (b *stepping) Stamps(ctx context.Context, guards []backend.Guard) ([]backend.Stamps, error) {
	b.s.at(ctx, "stamps")
	return b.stamps(ctx, guards)
}

func (b *stepping) Renew(ctx context.Context, guards []backend.Guard, soft bool) error {
	guards = slices.Clone(guards)
	if b.renewsBack {
		slices.Reverse(guards)
	}
	b.s.at(ctx, "renew")
	for i, guard := range guards {
		if i > 0 {
			b.s.at(ctx, "renew "+guard.Tag)
		}
		if err := b.Backend.Renew(ctx, []backend.Guard{guard}, soft); err != nil {
			return err
		}
	}
	return nil
}

// setting is what is tried with all orders.
type setting struct {
	interleavingCase
	readers  int
	stored   bool // an old value is there already
	together bool // the writer and the readers share a process
	fine     bool
	bytes    bool
	deploy   bool // what is there is another release's; with bytes
	breaks   func(*stepping)
}

// The same with a protocol that is not kept goes wrong, or nothing would be shown above.
func TestInterleavingsFindABrokenProtocol(t *testing.T) {
	for _, c := range []struct {
		how    string
		cases  []string
		breaks func(*stepping)
	}{
		{"stamps captured after the creator",
			[]string{"Invalidate hard", "Invalidate soft", "a tag of the call", "a tag of the creator", "a function"},
			func(b *stepping) { b.capturesLate = true }},
		{"tags renewed before what tells of it",
			[]string{"a tag of the creator", "a tag of the creator, soft"},
			func(b *stepping) { b.renewsBack = true }},
	} {
		for _, name := range c.cases {
			set := setting{interleavingCase: interleavingCases[name], readers: 1, fine: true, breaks: c.breaks}
			orders, wrong, _ := set.all(t)
			if wrong == 0 {
				t.Errorf("%s, %s: none of %d orders went wrong", c.how, name, orders)
			}
			t.Logf("%s, %s: %d of %d orders go wrong", c.how, name, wrong, orders)
		}
	}
}
