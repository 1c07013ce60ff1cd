// Package regiontest is for tests of programs that use regions: regions of a test's own,
// other backends and a fresh start for regions that are there already, counts of what a
// test has made them do, and creators that wait until a test tells them what to return.
//
//	func TestUserIsLoadedOnce(t *testing.T) {
//		users := regiontest.New(t)
//		getUser := region.Cached(users, loadUser)
//		did := regiontest.Watch(t, users)
//		getUser(t.Context(), 42)
//		getUser(t.Context(), 42)
//		did.Creations(1)
//		did.Hits(1)
//	}
//
// All of it can be used inside testing/synctest, where values expire as fast as the
// bubble's time goes by.
package regiontest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/region"
)

var made atomic.Int64

// New returns a region that nobody else knows of, which keeps its values in memory until
// the test ends. They are fresh for an hour and stale for another one; change what has
// to be different in configure, which may be nil or left out.
//
// The test fails at once if the configuration is bad, and at its end if the region
// cannot be closed. A declared region, such as a package variable, is configured instead
// with its own Configure; see [Configure].
func New(t testing.TB, configure ...func(*region.Config)) *region.Region {
	t.Helper()
	cfg, drop := config(configure)
	r, err := region.New(name(t), cfg)
	if err != nil {
		drop()
		t.Fatalf("regiontest.New: %v", err)
	}
	closing(t, r)
	return r
}

// Configure configures a declared region as [New] configures its own, and closes it when
// the test ends, so that the next test can configure it again. The test fails if the
// region is configured already: two tests that run in parallel cannot have the same
// region to themselves.
func Configure(t testing.TB, r *region.Region, configure ...func(*region.Config)) {
	t.Helper()
	taken.take(t, "Configure", r)
	cfg, drop := config(configure)
	if err := r.Configure(cfg); err != nil {
		drop()
		t.Fatalf("regiontest.Configure: %v", err)
	}
	closing(t, r)
}

// config returns the configuration of a region, and what drops its backend if nobody
// takes it who would close it.
func config(configure []func(*region.Config)) (cfg region.Config, drop func()) {
	cfg = region.Config{
		Expiration: time.Hour,
		StaleFor:   time.Hour,
	}
	for _, f := range configure {
		if f != nil {
			f(&cfg)
		}
	}
	if cfg.Backend != nil {
		return cfg, func() {}
	}
	own := memory.New(memory.Config{})
	cfg.Backend = own
	return cfg, func() { own.Close() }
}

func closing(t testing.TB, r *region.Region) {
	t.Cleanup(func() {
		t.Helper()
		if err := r.Close(); err != nil {
			t.Errorf("regiontest: %v", err)
		}
	})
}

// name makes a region's name of the test's, and no two are equal.
func name(t testing.TB) string {
	const longest = 100
	clean := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '-', c == '.':
			return c
		}
		return '_'
	}, t.Name())
	return fmt.Sprintf("%s.%d", clean[:min(len(clean), longest)], made.Add(1))
}

// Fresh makes every value that is in the region so far invisible, whatever its backend:
// it invalidates the region, which takes one round trip, and deletes nothing. Other
// processes that use the region do not see the values either, and what they store from
// now on is seen here.
//
// The test fails at once if the backend does.
func Fresh(t testing.TB, r *region.Region) {
	t.Helper()
	// In a cleanup the test's context has ended.
	if err := r.Invalidate(context.WithoutCancel(t.Context()), region.Hard); err != nil {
		t.Fatalf("regiontest.Fresh: %v", err)
	}
}
