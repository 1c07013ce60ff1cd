package proof

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/backend"
	"github.com/dogpile-go/dogpile/backend/memory"
	"github.com/dogpile-go/dogpile/internal/fleettest"
	"github.com/dogpile-go/dogpile/internal/memcachedtest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

// The shared backends: each returns a URL of something empty.
var shared = []struct {
	name string
	url  func(t *testing.T) string

	// shortestLease is the shortest lease_ttl, for histories in which leases end.
	shortestLease string

	// patient are options that keep a process which was stopped from taking what it
	// has not heard meanwhile for a failure of the backend.
	patient string
}{
	{"redis", func(t *testing.T) string { return redistest.Start(t).URL() + "/0" }, "1s", "&dial_timeout=1m&read_timeout=1m&write_timeout=1m"},
	{"memcached", func(t *testing.T) string {
		return "memcached://" + strings.Join(memcachedtest.Addrs(memcachedtest.StartSeveral(t, 3)), ",")
	}, "2s", "&timeout=1m"},
	{"file", func(t *testing.T) string { return "file://" + t.TempDir() }, "1s", ""},
}

// length is how many operations a history has, about: many where there is time.
func length(short, long int) int {
	if fleettest.Long() {
		return long
	}
	return short
}

// clients is how many goroutines of each process make operations.
const clients = 4

func each(operations int) int { return operations / (processes * clients) }

// Clocks that are wrong by less than the expiration.
func TestSharedBackends(t *testing.T) {
	for _, b := range shared {
		t.Run(b.name, func(t *testing.T) {
			p := plan{URL: b.url(t), Expiration: time.Hour, Skewed: true, Clients: clients, Each: each(length(3_600, 200_000))}
			all := inProcesses(t, p, nil)
			proven(t, all, 40)
			judgeCreations(t, usual, all)
		})
	}
}

// Clocks that are wrong by more than the expiration: what one process has created is
// dead for another one, and creates more, but no clock can bring an old value back.
func TestSharedBackendsWhereClocksDisagree(t *testing.T) {
	for _, b := range shared {
		t.Run(b.name, func(t *testing.T) {
			p := plan{URL: b.url(t), Expiration: 10 * time.Minute, Skewed: true, Clients: clients, Each: each(length(1_200, 20_000))}
			proven(t, inProcesses(t, p, nil), 10)
		})
	}
}

// What is stale is served, so that a soft invalidation can be seen to revive what a hard one
// has killed. Those that are soft are left out of what is checked: they kill nothing here.
func TestSharedBackendsThatServeStaleValues(t *testing.T) {
	for _, b := range shared {
		t.Run(b.name, func(t *testing.T) {
			p := plan{URL: b.url(t), Expiration: time.Hour, Stale: true, Skewed: true, Clients: clients, Each: each(length(1_800, 40_000))}
			all := slices.DeleteFunc(inProcesses(t, p, nil), func(r record) bool {
				return r.kind == softTag || r.kind == softRegion || r.kind == expire
			})
			proven(t, all, 30)
		})
	}
}

// Processes are stopped and go on, now and then after their leases have ended.
func TestSharedBackendsWithStops(t *testing.T) {
	for _, b := range shared {
		t.Run(b.name, func(t *testing.T) {
			p := plan{URL: b.url(t) + "?lease_ttl=" + b.shortestLease + b.patient, Expiration: time.Hour, Skewed: true, Clients: clients, Each: each(length(1_200, 20_000))}
			lease, err := time.ParseDuration(b.shortestLease)
			if err != nil {
				t.Fatal(err)
			}
			stops, long := 0, 0
			all := inProcesses(t, p, func(fleet *fleettest.Fleet, _ *arena) {
				for len(fleet.Events("done")) == 0 {
					w := fleet.Workers[rand.IntN(processes)]
					w.Stop()
					if stops++; stops%10 == 1 {
						long++
						time.Sleep(lease + 300*time.Millisecond)
					} else {
						time.Sleep(time.Duration(10+rand.IntN(140)) * time.Millisecond)
					}
					w.Continue()
					time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
				}
			})
			t.Logf("%d stops, %d of them longer than a lease", stops, long)
			if long == 0 {
				t.Error("no process was stopped for longer than its lease")
			}
			proven(t, all, 30)
		})
	}
}

// A process dies in the middle: what it was doing has happened or not.
func TestSharedBackendsWithADeath(t *testing.T) {
	for _, b := range shared {
		t.Run(b.name, func(t *testing.T) {
			p := plan{URL: b.url(t) + "?lease_ttl=" + b.shortestLease, Expiration: time.Hour, Skewed: true, Clients: clients, Each: each(length(1_200, 20_000))}
			all := inProcesses(t, p, func(fleet *fleettest.Fleet, a *arena) {
				// A moment of history, and not of time.
				for a.head.used.Load() < int64(p.operations()/2) && len(fleet.Events("done")) == 0 {
					time.Sleep(time.Millisecond)
				}
				fleet.Workers[1].Kill()
			})
			open := 0
			for _, r := range all {
				if r.ret == 0 && r.kind != unproved {
					open++
				}
			}
			t.Logf("%d operations and creations died", open)
			proven(t, all, 30)
			judgeCreations(t, usual, all)
		})
	}
}

// Three regions of one name on one backend stand for three processes.
func TestMemory(t *testing.T) {
	same := func(b backend.Backend) [processes]backend.Backend { return [processes]backend.Backend{b, b, b} }
	skew := func(b backend.Backend) (list [processes]backend.Backend) {
		for i := range list {
			list[i] = &skewed{b, skews[i]}
		}
		return list
	}
	for _, test := range []struct {
		name        string
		config      memory.Config
		share       func(backend.Backend) [processes]backend.Backend
		expiration  time.Duration
		short, long int
		leastHits   int
	}{
		{"values", memory.Config{}, same, time.Hour, 6_000, 200_000, 40},
		{"bytes", memory.Config{Copy: true}, same, time.Hour, 6_000, 200_000, 40},
		{"proxy with clocks that disagree", memory.Config{}, skew, 10 * time.Minute, 3_000, 20_000, 10},
		{"small", memory.Config{MaxEntries: 10}, same, time.Hour, 3_000, 20_000, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := memory.New(test.config)
			defer func() { _ = b.Close() }()
			p := plan{Expiration: test.expiration, Clients: clients, Each: each(length(test.short, test.long))}
			all := inOneProcess(t, p, test.share(b), 0, nil)
			proven(t, all, test.leastHits)
			if test.expiration == time.Hour && test.config.MaxEntries == 0 {
				judgeCreations(t, usual, all)
			}
		})
	}
}
