package backendtest

import (
	"github.com/dogpile-go/dogpile/backend"
)

var region = backend.Guard{Region: "users"}

// current returns the stamps of guards and checks that none is zero.
func (t *trial) current(side backend.Backend, guards ...backend.Guard) []backend.Stamps {
	t.Helper()
	stamps, err := side.Stamps(t.ctx, guards)
	if err != nil {
		t.Fatalf("Stamps: %v", err)
	}
	t.noneIsZero("Stamps", guards, stamps)
	return stamps
}

func (t *trial) noneIsZero(how string, guards []backend.Guard, stamps []backend.Stamps) {
	t.Helper()
	if len(stamps) != len(guards) {
		t.Fatalf("%s with %d guards returned %d stamps", how, len(guards), len(stamps))
	}
	for i, s := range stamps {
		if s.Hard.IsZero() || s.Soft.IsZero() {
			t.Fatalf("%s returned %x for %.40q, want no zero stamp", how, s, guards[i])
		}
	}
}

func (t *trial) sameStamps(how string, got, want []backend.Stamps) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s returned %d stamps, want %d", how, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s returned %x for guard %d, want %x", how, got[i], i, want[i])
		}
	}
}

func (t *trial) renew(side backend.Backend, soft bool, guards ...backend.Guard) {
	t.Helper()
	if err := side.Renew(t.ctx, guards, soft); err != nil {
		t.Fatalf("Renew: %v", err)
	}
}

func stampsAreCreated(t *trial) {
	guards := []backend.Guard{region, {Region: "users", Tag: "a"}, {Region: "users", Tag: "b"}, {Region: "posts"}, {Region: "posts", Tag: "a"}}
	found, err := t.a.Get(t.ctx, user("ann"), guards)
	t.must(err)
	if len(found.Stamps) != len(guards) {
		t.Fatalf("Get with %d guards returned %d stamps", len(guards), len(found.Stamps))
	}
	stamps := t.current(t.b, guards...)
	seen := map[backend.Stamp]bool{}
	for i, s := range stamps {
		for _, stamp := range []backend.Stamp{s.Hard, s.Soft} {
			if seen[stamp] {
				t.Errorf("two stamps that were created are %x", stamp)
			}
			seen[stamp] = true
		}
		if got := found.Stamps[i]; got != s && got != (backend.Stamps{}) {
			t.Errorf("Get returned %x for a guard without stamps, and Stamps then %x", got, s)
		}
	}
	t.sameStamps("Stamps, called again,", t.current(t.a, guards...), stamps)

	// Acquire creates what is absent, too.
	for _, absent := range [][]backend.Guard{
		{{Region: "fresh"}, region},
		{region, {Region: "users", Tag: "fresh"}, {Region: "users", Tag: "a"}},
		{{Region: "new"}, {Region: "new", Tag: "fresh"}, {Region: "newer", Tag: "fresh"}},
	} {
		for _, keys := range [][]backend.Key{users("bob"), users("cid", "dan", "eve")} {
			grants, stamps, err := t.a.Acquire(t.ctx, keys, absent)
			t.must(err)
			t.noneIsZero("Acquire", absent, stamps)
			t.sameStamps("Stamps after Acquire", t.current(t.b, absent...), stamps)
			for _, grant := range grants {
				t.release(grant.Lease)
			}
			for i := range absent {
				absent[i].Tag += " of several" // absent once more
			}
		}
	}
}

// everywhere checks that every operation that returns stamps returns want.
func (t *trial) everywhere(guards []backend.Guard, want []backend.Stamps) {
	t.Helper()
	for _, side := range []backend.Backend{t.a, t.b} {
		found, err := side.Get(t.ctx, user("ann"), guards)
		t.must(err)
		t.sameStamps("Get", found.Stamps, want)
		_, stamps, err := side.GetMulti(t.ctx, users("ann", "bob"), guards)
		t.must(err)
		t.sameStamps("GetMulti", stamps, want)
		_, stamps, err = side.Acquire(t.ctx, users("ann", "bob"), guards)
		t.must(err)
		t.sameStamps("Acquire", stamps, want)
		stamps, err = side.Set(t.ctx, []backend.Item{{Key: user("ann"), Entry: t.entry("Ann")}}, guards)
		t.must(err)
		t.sameStamps("Set", stamps, want)
		t.sameStamps("Stamps", t.current(side, guards...), want)
	}
}

func stampsAreTheSameEverywhere(t *trial) {
	guards := []backend.Guard{{Region: "users", Tag: "a"}, region, {Region: "posts"}}
	t.everywhere(guards, t.current(t.a, guards...))
	t.renew(t.b, false, region)
	t.renew(t.a, true, guards[0])
	t.everywhere(guards, t.current(t.b, guards...))
}

func renewReplacesOneStamp(t *trial) {
	guards := []backend.Guard{region, {Region: "users", Tag: "a"}}
	before := t.current(t.a, guards...)
	for range 3 {
		for _, soft := range []bool{false, true} {
			t.renew(t.a, soft, region)
			found, err := t.b.Get(t.ctx, user("ann"), guards)
			t.must(err)
			after := found.Stamps
			if len(after) != 2 || after[0].Hard.IsZero() || after[0].Soft.IsZero() {
				t.Fatalf("Get after Renew returned the stamps %x", after)
			}
			if changed := after[0].Hard != before[0].Hard; changed == soft {
				t.Fatalf("Renew with soft = %v: hard stamp changed = %v", soft, changed)
			}
			if soft && after[0].Soft == before[0].Soft {
				t.Fatal("a soft renewal left the soft stamp as it was")
			}
			if after[1] != before[1] {
				t.Fatal("Renew of one guard changed the stamps of another")
			}
			before = after
		}
	}
}

func renewOfAbsentGuard(t *trial) {
	for _, soft := range []bool{false, true} {
		guard := backend.Guard{Region: "users", Tag: map[bool]string{false: "hard", true: "soft"}[soft]}
		found, err := t.a.Get(t.ctx, user("ann"), []backend.Guard{guard})
		t.must(err)
		t.renew(t.a, soft, guard)
		if after := t.current(t.b, guard)[0]; soft && after.Soft == found.Stamps[0].Soft || !soft && after.Hard == found.Stamps[0].Hard {
			t.Fatalf("Renew with soft = %v of a guard that nobody has used left it as it was", soft)
		}
	}
}

func renewOfSeveral(t *trial) {
	guards := []backend.Guard{region, {Region: "users", Tag: "a"}, {Region: "users", Tag: "b"}, {Region: "posts"}}
	before := t.current(t.a, guards...)
	t.renew(t.b, false, guards[0], guards[2])
	for i, after := range t.current(t.a, guards...) {
		renewed := i == 0 || i == 2
		if changed := after.Hard != before[i].Hard; changed != renewed {
			t.Errorf("guard %d: hard stamp changed = %v, want %v", i, changed, renewed)
		}
		if !renewed && after.Soft != before[i].Soft {
			t.Errorf("guard %d: its soft stamp changed, but it was not renewed", i)
		}
	}
}

func guardsAreIndependent(t *trial) {
	var guards []backend.Guard
	for _, tag := range names() {
		guards = append(guards, backend.Guard{Region: "users", Tag: tag})
	}
	guards = append(guards, backend.Guard{Region: "user", Tag: "s"}, backend.Guard{Region: "posts", Tag: "a"}, backend.Guard{Region: "posts"})
	before := t.current(t.a, guards...)
	seen := map[backend.Stamps]bool{}
	for i, s := range before {
		if seen[s] {
			t.Fatalf("guard %d, %.40q, has the stamps of another", i, guards[i].Tag)
		}
		seen[s] = true
	}
	for i := 0; i < len(guards); i += 2 {
		t.renew(t.a, false, guards[i])
	}
	for i, after := range t.current(t.b, guards...) {
		if changed, want := after != before[i], i%2 == 0; changed != want {
			t.Errorf("guard %d, %.40q: changed = %v, want %v", i, guards[i].Tag, changed, want)
		}
	}
}

func entriesLeaveStampsAlone(t *trial) {
	guards := []backend.Guard{region, {Region: "users", Tag: "ann"}}
	before := t.current(t.a, guards...)
	lease := t.acquire(t.a, user("ann"))
	t.published(t.a, user("ann"), lease, "Ann")
	t.set(t.a, user("ann"), "Ann Lee")
	t.delete(t.a, user("ann"))
	t.sameStamps("Stamps after writes", t.current(t.b, guards...), before)

	// Nor do stamps touch entries or leases: a region judges, not its backend.
	t.set(t.a, user("bob"), "Bob")
	lease = t.acquire(t.a, user("bob"))
	t.renew(t.b, false, guards...)
	t.holds(user("bob"), "Bob")
	t.notLost(lease)
	t.published(t.a, user("bob"), lease, "Bob Lee")
}
