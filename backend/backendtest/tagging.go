package backendtest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// tag returns a guard of the region that most tests use.
func tag(name string) backend.Guard { return backend.Guard{Region: "users", Tag: name} }

func getMultiWithoutKeys(t *trial) {
	guards := []backend.Guard{tag("a"), region, tag("b"), {Region: "posts", Tag: "a"}}
	read := func(side backend.Backend, guards ...backend.Guard) []backend.Stamps {
		t.Helper()
		entries, stamps, err := side.GetMulti(t.ctx, nil, guards)
		t.must(err)
		if len(entries) != 0 || len(stamps) != len(guards) {
			t.Fatalf("GetMulti without keys and with %d guards returned %d entries and %d stamps", len(guards), len(entries), len(stamps))
		}
		return stamps
	}
	for i, s := range read(t.a, guards...) {
		if now := t.current(t.b, guards[i])[0]; s != now && s != (backend.Stamps{}) {
			t.Errorf("GetMulti without keys returned %x for a guard without stamps, and Stamps then %x", s, now)
		}
	}
	for i := range guards {
		current := t.current(t.a, guards...)
		t.sameStamps("GetMulti without keys", read(t.b, guards...), current)
		t.sameStamps("GetMulti without keys", read(t.a, guards[i]), current[i:i+1])
		t.renew(t.a, i%2 == 0, guards[i])
	}
	t.sameStamps("GetMulti without keys", read(t.b, guards...), t.current(t.a, guards...))
}

// setWithGuardsOfTags stores for all kinds of times, with leases and without. How long
// stamps are kept that nobody needs any more is the backend's affair.
func setWithGuardsOfTags(t *trial) {
	guards := []backend.Guard{region, tag("a"), tag("b")}
	absent := []backend.Guard{tag("absent"), region, {Region: "posts", Tag: "absent"}}
	before := t.current(t.a, guards...)
	for i, ttl := range []time.Duration{time.Second, 0, time.Hour, 1500 * time.Millisecond, 45 * 24 * time.Hour, math.MaxInt64} {
		for _, leased := range []bool{false, true} {
			ann, bob := user(fmt.Sprint("ann", i, leased)), user(fmt.Sprint("bob", i, leased))
			items := []backend.Item{{Key: ann, Entry: t.entry("Ann"), TTL: ttl}, {Key: bob, Entry: t.entry("Bob"), TTL: time.Minute}}
			if leased {
				for i, grant := range t.grants(t.b, ann, bob) {
					items[i].Lease = grant.Lease
				}
			}
			stamps, err := t.b.Set(t.ctx, items, guards)
			t.must(err)
			for _, item := range items {
				if item.Err != nil {
					t.Fatalf("Set with a TTL of %v and guards of tags: Err = %v", item.TTL, item.Err)
				}
			}
			t.sameStamps("Set", stamps, before)
			t.sameStamps("Stamps after Set", t.current(t.a, guards...), before)
			t.holds(bob, "Bob")
		}
	}

	// What was invalidated while the creator ran is told to it.
	lease := t.acquire(t.a, user("ann"))
	t.renew(t.b, true, tag("b"))
	items := []backend.Item{{Key: user("ann"), Entry: t.entry("Ann"), TTL: time.Minute, Lease: lease}}
	after, err := t.a.Set(t.ctx, items, guards)
	t.must(err)
	if len(after) != 3 || after[0] != before[0] || after[1] != before[1] || after[2].Hard != before[2].Hard || after[2].Soft == before[2].Soft {
		t.Errorf("Set after a soft renewal of the last guard returned %x, want its new stamp beside those of before, %x", after, before)
	}
	t.sameStamps("Stamps after Set", t.current(t.b, guards...), after)

	// Stamps that are absent are absent or new, but not said to be others than they are.
	stamps, err := t.a.Set(t.ctx, []backend.Item{{Key: user("cid"), Entry: t.entry("Cid"), TTL: time.Minute}}, absent)
	t.must(err)
	if len(stamps) != len(absent) {
		t.Fatalf("Set with %d guards returned %d stamps", len(absent), len(stamps))
	}
	for i, now := range t.current(t.b, absent...) {
		if stamps[i] != now && stamps[i] != (backend.Stamps{}) {
			t.Errorf("Set returned %x for %q, and Stamps then %x", stamps[i], absent[i], now)
		}
	}
	t.holds(user("cid"), "Cid")
}

func renewOfSeveralRegions(t *trial) {
	guards := []backend.Guard{
		tag("any"), {Region: "posts", Tag: "any"}, tag("a"), {Region: "posts", Tag: "a"}, {Region: "posts"}, tag("never seen"), {Region: "news", Tag: "a"},
	}
	before := t.current(t.a, append(guards[:5:5], tag("b"), region)...)
	t.renew(t.b, true, guards...)
	after := t.current(t.a, append(guards[:5:5], tag("b"), region)...)
	for i := range before {
		if after[i].Hard != before[i].Hard {
			t.Errorf("guard %d: a soft renewal changed the hard stamp", i)
		}
		if changed := after[i].Soft != before[i].Soft; changed != (i < 5) {
			t.Errorf("guard %d: soft stamp changed = %v", i, changed)
		}
	}
	t.renew(t.a, false, guards...)
	for i, s := range t.current(t.b, append(guards[:5:5], tag("b"), region)...) {
		if changed := s.Hard != after[i].Hard; changed != (i < 5) {
			t.Errorf("guard %d: hard stamp changed = %v", i, changed)
		}
	}
}

// renewalsAreSeenInOrder renews guards, again and again and never two at once, and reads
// the last one and then the first: the first one must not be older than the last.
func renewalsAreSeenInOrder(t *trial) {
	const renewals, reads = 100, 400
	guards := []backend.Guard{tag("any"), tag("a"), region, tag("b"), tag("last")}
	ends := []backend.Guard{guards[0], guards[len(guards)-1]}

	type sight struct{ first, last backend.Stamps }
	var mu sync.Mutex
	var sights []sight
	look := func(read func(guard backend.Guard) (backend.Stamps, error)) (err error) {
		var s sight
		if s.last, err = read(ends[1]); err != nil {
			return err
		}
		if s.first, err = read(ends[0]); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		sights = append(sights, s)
		return nil
	}
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(sights) >= reads
	}
	before := t.current(t.a, ends...)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, read := range []func(guard backend.Guard) (backend.Stamps, error){
		func(guard backend.Guard) (backend.Stamps, error) {
			_, stamps, err := t.b.GetMulti(t.ctx, nil, []backend.Guard{guard})
			if err != nil {
				return backend.Stamps{}, err
			}
			return stamps[0], nil
		},
		func(guard backend.Guard) (backend.Stamps, error) {
			found, err := t.a.Get(t.ctx, user("ann"), []backend.Guard{guard})
			if err != nil {
				return backend.Stamps{}, err
			}
			return found.Stamps[0], nil
		},
	} {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := look(read); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	// A stamp is known by the number of the renewal that has made it.
	number := map[backend.Stamp]int{}
	for i := 0; (i < renewals || !enough()) && !t.Failed(); i++ {
		soft := i%2 == 0
		err := t.a.Renew(t.ctx, guards, soft)
		var found backend.Found
		if err == nil {
			found, err = t.a.Get(t.ctx, user("ann"), ends)
		}
		if err != nil {
			t.Error(err)
			break
		}
		for j, now := range found.Stamps {
			if soft && now.Soft == before[j].Soft || !soft && now.Hard == before[j].Hard {
				t.Errorf("Renew with soft = %v left %q as it was", soft, ends[j])
			}
			for _, stamp := range []backend.Stamp{now.Hard, now.Soft} {
				if stamp != before[j].Hard && stamp != before[j].Soft {
					number[stamp] = i + 1
				}
			}
		}
		before = found.Stamps
	}
	close(done)
	readers.Wait()
	for _, s := range sights {
		last, first := max(number[s.last.Hard], number[s.last.Soft]), max(number[s.first.Hard], number[s.first.Soft])
		if last > first {
			t.Fatalf("the last guard was seen as renewal %d has left it, and after that the first one as renewal %d has", last, first)
		}
	}
}

// lateTagsCanBeProved is what a creation does that learns of a tag when its creator has
// returned: it reads the stamps of the tag and then those of a guard that is renewed
// before every tag. If these are the same as before the creator began, the tag was not
// renewed meanwhile.
func lateTagsCanBeProved(t *trial) {
	first := tag("any")
	for i, known := range []bool{false, true} {
		for _, soft := range []bool{true, false} {
			for _, several := range []bool{false, true} {
				late := tag(fmt.Sprint("late", i, soft, several))
				if known {
					t.current(t.b, late)
				}
				keys := users("ann", "bob")
				if !several {
					keys = keys[:1]
				}
				grants, captured, err := t.a.Acquire(t.ctx, keys, []backend.Guard{region, first})
				t.must(err)
				t.noneIsZero("Acquire", []backend.Guard{region, first}, captured)

				t.current(t.a, late)
				_, now, err := t.a.GetMulti(t.ctx, nil, []backend.Guard{first})
				t.must(err)
				t.sameStamps("GetMulti, when no tag was renewed,", now, captured[1:])

				t.renew(t.b, soft, first, tag("another"), late)
				t.current(t.a, late)
				_, now, err = t.a.GetMulti(t.ctx, nil, []backend.Guard{first})
				t.must(err)
				if now[0] == captured[1] {
					t.Fatal("a renewal was not to be seen in the stamps of its first guard")
				}
				for _, grant := range grants {
					t.release(grant.Lease)
				}
			}
		}
	}
}

// lateTagsMeetRenewals is the same where renewals come at any time meanwhile, also several
// of them at once: what was proved and renewed is not current when the renewal has
// returned.
func lateTagsMeetRenewals(t *trial) {
	any := backend.Guard{Region: "users", Tag: "any, renewed all the time"}
	pause := func() { time.Sleep(time.Duration(rand.IntN(3)*rand.IntN(200)) * time.Microsecond) }
	for i := range 150 {
		late := backend.Guard{Region: "users", Tag: fmt.Sprint("met ", i)}
		if rand.IntN(2) == 0 {
			t.current(t.b, late)
		}
		guards := []backend.Guard{any, tag("between"), late}
		var busy sync.WaitGroup
		failures := make([]error, 2)
		if rand.IntN(2) == 0 { // one that began before the creation
			soft := rand.IntN(2) == 0
			busy.Go(func() { failures[0] = t.b.Renew(t.ctx, guards, soft) })
			pause()
		}
		grants, captured, err := t.a.Acquire(t.ctx, users("ann"), []backend.Guard{region, any})
		t.must(err)
		renewed := make(chan struct{})
		soft := rand.IntN(3) > 0
		go func() {
			defer close(renewed)
			failures[1] = t.b.Renew(t.ctx, guards, soft)
		}()
		pause()
		stamps := t.current(t.a, late)
		now := t.current(t.a, any)
		<-renewed
		busy.Wait()
		t.must(errors.Join(failures...))
		t.release(grants[0].Lease)
		if now[0] != captured[1] {
			continue
		}
		if after := t.current(t.b, late); after[0] == stamps[0] {
			t.Fatalf("round %d, soft %v: the stamps that a creation has proved are current, though the tag was renewed", i, soft)
		}
	}
}

// hostile returns guards that a backend has to tell apart.
func hostile() (guards []backend.Guard) {
	for _, name := range names() {
		guards = append(guards, tag(name))
	}
	for _, region := range []string{"user", "users1", "a b", "a/b", "é", "%", "%25", "{", "}", "{}", "{users}", "users}", "}users", "a}b", "*", "stamp", "lock"} {
		guards = append(guards, backend.Guard{Region: region}, backend.Guard{Region: region, Tag: "s"}, backend.Guard{Region: region, Tag: "{users}"}, backend.Guard{Region: region, Tag: "}"})
	}
	return guards
}

func hostileGuards(t *trial) {
	guards := hostile()
	before := t.current(t.a, guards...)
	seen := map[backend.Stamp]backend.Guard{}
	for i, s := range before {
		for _, stamp := range []backend.Stamp{s.Hard, s.Soft} {
			if other, ok := seen[stamp]; ok {
				t.Fatalf("%.40q and %.40q have a stamp in common", guards[i], other)
			}
			seen[stamp] = guards[i]
		}
	}
	t.everywhere(guards, before)
	var renewed []backend.Guard
	for i := 0; i < len(guards); i += 2 {
		renewed = append(renewed, guards[i])
	}
	t.renew(t.b, true, renewed...)
	after := t.current(t.a, guards...)
	for i := range guards {
		if after[i].Hard != before[i].Hard {
			t.Errorf("%.40q: a soft renewal changed the hard stamp", guards[i])
		}
		if changed, want := after[i].Soft != before[i].Soft, i%2 == 0; changed != want {
			t.Errorf("%.40q: soft stamp changed = %v, want %v", guards[i], changed, want)
		}
	}
	t.everywhere(guards, after)
}

// manyGuards are those of a value with very many tags.
func manyGuards(t *trial) {
	guards := make([]backend.Guard, 1200)
	for i := range guards {
		if guards[i] = region; i > 0 {
			guards[i] = tag(fmt.Sprint("tag ", i))
		}
	}
	_, created, err := t.a.Acquire(t.ctx, users("cid"), guards)
	t.must(err)
	t.noneIsZero("Acquire", guards, created)
	t.everywhere(guards, created)
	t.renew(t.b, true, guards[1:]...)
	after := t.current(t.a, guards...)
	for i := range guards {
		if after[i].Hard != created[i].Hard {
			t.Fatalf("guard %d: a soft renewal changed the hard stamp", i)
		}
		if changed := after[i].Soft != created[i].Soft; changed != (i > 0) {
			t.Fatalf("guard %d: soft stamp changed = %v", i, changed)
		}
	}
	t.everywhere(guards, after)
}
