package backendtest

import (
	"math"
	"time"

	"github.com/dogpile-go/dogpile/backend"
)

// grace is how long after its TTL an entry may still be returned.
const grace = 2 * time.Second

// clockwork returns a TTL to test with and how often to look. Some servers count
// in whole seconds.
func (t *trial) clockwork() (ttl, tick time.Duration) {
	if t.bubble {
		// Backends that look at the clock once a second are now as far behind as
		// they can be.
		time.Sleep(990 * time.Millisecond)
		return 10 * time.Second, 100 * time.Millisecond
	}
	return time.Second, 20 * time.Millisecond
}

// expires looks at key once every tick, for which Set was called at called and
// returned at returned, until it is gone, and checks that this is neither too early
// nor too late. What is too late is counted in ticks, with no more than five for the
// time between two looks: a machine that stalls stops the backend as well.
func (t *trial) expires(key backend.Key, ttl, tick time.Duration, called, returned time.Time) {
	t.Helper()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var late, last time.Duration
	for {
		age := time.Since(returned)
		if age > ttl {
			late += min(age-max(last, ttl), 5*tick)
		}
		last = age
		found, err := t.a.Get(t.ctx, key, nil)
		t.must(err)
		if age := time.Since(called); found.Entry == nil {
			if age < ttl {
				t.Fatalf("an entry with a TTL of %v was gone after %v", ttl, age)
			}
			return
		}
		if late > grace {
			t.Fatalf("an entry with a TTL of %v was still returned after %v", ttl, age)
		}
		<-ticker.C
	}
}

func ttlKeepsThenDrops(t *trial) {
	if t.storesNothing {
		t.Skip("for backends that store something")
	}
	ttl, tick := t.clockwork()
	lease := t.acquire(t.a, user("published"))
	called := time.Now()
	t.must(t.put(t.a, backend.Item{Key: user("set"), Entry: t.entry("x"), TTL: ttl}))
	t.must(t.put(t.a, backend.Item{Key: user("published"), Entry: t.entry("x"), TTL: ttl, Lease: lease}))
	returned := time.Now()

	t.expires(user("set"), ttl, tick, called, returned)
	t.expires(user("published"), ttl, tick, called, returned)
	entries, _, err := t.b.GetMulti(t.ctx, users("set", "published"), nil)
	t.must(err)
	for i, grant := range t.grants(t.b, users("set", "published")...) {
		if entries[i] != nil || grant.Entry != nil {
			t.Errorf("Get misses an expired entry, but GetMulti returns %s and Acquire %s", says(entries[i]), says(grant.Entry))
		}
	}
}

func ttlOfTheLastSetCounts(t *trial) {
	ttl, tick := t.clockwork()
	put := func(name string, ttl time.Duration) {
		t.Helper()
		t.must(t.put(t.a, backend.Item{Key: user(name), Entry: t.entry(name), TTL: ttl}))
	}
	put("kept", 0)
	put("prolonged", ttl)
	put("prolonged", 0)
	put("prolonged much", ttl)
	put("prolonged much", math.MaxInt64)
	put("shortened", 0)
	called := time.Now()
	put("shortened", ttl)
	put("witness", ttl)
	returned := time.Now()
	if t.storesNothing {
		return
	}
	t.expires(user("shortened"), ttl, tick, called, returned)
	t.expires(user("witness"), ttl, tick, called, returned)
	t.holds(user("kept"), "kept")
	t.holds(user("prolonged"), "prolonged")
	t.holds(user("prolonged much"), "prolonged much")
}

func ttlWithoutEnd(t *trial) {
	for _, ttl := range []time.Duration{0, time.Hour, 45 * 24 * time.Hour, 100 * 365 * 24 * time.Hour, math.MaxInt64 - 1, math.MaxInt64} {
		t.must(t.put(t.a, backend.Item{Key: user(ttl.String()), Entry: t.entry("x"), TTL: ttl}))
		t.holds(user(ttl.String()), "x")
	}
}

func negativeTTLIsRefused(t *trial) {
	ann := user("ann")
	t.set(t.a, ann, "old")
	for _, ttl := range []time.Duration{-1, -time.Second, math.MinInt64} {
		if err := t.put(t.a, backend.Item{Key: ann, Entry: t.entry("new"), TTL: ttl}); err == nil {
			t.Errorf("an item with a TTL of %v has no Err", ttl)
		}
		t.holds(ann, "old")
	}
}
