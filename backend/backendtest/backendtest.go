// Package backendtest is the conformance suite of [backend.Backend]: a region keeps
// its promises over whatever passes it. A new backend needs one test:
//
//	func TestBackend(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backend.Backend { return mine.New() })
//	}
//
// Backends that several processes share are tested with [RunPair] as well.
//
// The suite is driven by events. Only its tests of expiry let time pass, about
// three seconds each, and then look again and again instead of once.
package backendtest

import (
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/backend"
)

// An Option tells the suite about the backend under test.
type Option func(*suite)

// InBubble runs each subtest inside a [testing/synctest] bubble, where waiting for
// expiry costs nothing. It is for backends that live in the process and do no I/O.
// The suite then knows when a waiter really sleeps, and checks that it is woken by
// the event rather than by a timer. Everything that open starts has to end with
// Close.
func InBubble() Option {
	return func(s *suite) { s.bubble = true }
}

// StoresNothing is for backends that throw entries away. Their reads have to be
// misses; leases and stamps are tested as everywhere.
func StoresNothing() Option {
	return func(s *suite) { s.storesNothing = true }
}

// Run tests the Backend that open returns. Every call of open has to return a new
// empty one, which shares nothing with any other; the suite closes it. Entries of
// the suite have Data if the backend keeps bytes and a Value if not.
func Run(t *testing.T, open func(t *testing.T) backend.Backend, opts ...Option) {
	t.Helper()
	RunPair(t, func(t *testing.T) (a, b backend.Backend) {
		one := open(t)
		return one, one
	}, opts...)
}

// RunPair tests two backends that share entries, stamps and leases, as those of
// two processes on one server do. Closing one ends the leases that this one
// granted and nothing else. The subtests are those of [Run], with one caller on
// the one side and its rivals on the other; every call of open has to return a new
// pair.
func RunPair(t *testing.T, open func(t *testing.T) (a, b backend.Backend), opts ...Option) {
	t.Helper()
	s := &suite{open: open}
	for _, opt := range opts {
		opt(s)
	}
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			if s.bubble {
				synctest.Test(t, func(t *testing.T) { p.check(s.begin(t)) })
				return
			}
			p.check(s.begin(t))
		})
	}
}

type suite struct {
	open          func(t *testing.T) (a, b backend.Backend)
	bubble        bool
	storesNothing bool
}

// promises are the sentences of package backend, each with its test.
var promises = []struct {
	name  string
	check func(*trial)
}{
	{"BytesIsConstant", bytesIsConstant},
	{"SetGetDelete", setGetDelete},
	{"EntryIsReturnedAsGiven", entryIsReturnedAsGiven},
	{"GetMultiKeepsOrder", getMultiKeepsOrder},
	{"EmptyCalls", emptyCalls},
	{"GetMultiWithoutKeys", getMultiWithoutKeys},
	{"DeleteOfSeveral", deleteOfSeveral},
	{"ItemsHaveTheirOwnOutcome", itemsHaveTheirOwnOutcome},

	{"TTLKeepsThenDrops", ttlKeepsThenDrops},
	{"TTLOfTheLastSetCounts", ttlOfTheLastSetCounts},
	{"TTLWithoutEnd", ttlWithoutEnd},
	{"NegativeTTLIsRefused", negativeTTLIsRefused},

	{"KeysAreIndependent", keysAreIndependent},
	{"RegionsAreIndependent", regionsAreIndependent},
	{"GuardsAreNoKeys", guardsAreNoKeys},

	{"AcquireIsExclusive", acquireIsExclusive},
	{"AcquireOfHeldKeys", acquireOfHeldKeys},
	{"AcquireReadsAfterTheGrant", acquireReadsAfterTheGrant},
	{"AcquireThatFailsHoldsNothing", acquireThatFailsHoldsNothing},
	{"ReleaseFrees", releaseFrees},
	{"LeasesCanBeToldApart", leasesCanBeToldApart},
	{"PublishStoresAndEndsLease", publishStoresAndEndsLease},
	{"PublishTwice", publishTwice},
	{"PublishAfterRelease", publishAfterRelease},
	{"SetVoidsLease", setVoidsLease},
	{"DeleteVoidsLease", deleteVoidsLease},
	{"LeaseOfAnotherKey", leaseOfAnotherKey},
	{"LeaseOfAnotherBackend", leaseOfAnotherBackend},
	{"ItemWithoutEntry", itemWithoutEntry},

	{"WaitWakes", waitWakes},
	{"WaitForFreeKey", waitForFreeKey},
	{"WaitForAnyOfSeveral", waitForAnyOfSeveral},
	{"WaitObeysContext", waitObeysContext},

	{"StampsAreCreated", stampsAreCreated},
	{"StampsAreTheSameEverywhere", stampsAreTheSameEverywhere},
	{"RenewReplacesOneStamp", renewReplacesOneStamp},
	{"RenewOfAbsentGuard", renewOfAbsentGuard},
	{"RenewOfSeveral", renewOfSeveral},
	{"GuardsAreIndependent", guardsAreIndependent},
	{"EntriesLeaveStampsAlone", entriesLeaveStampsAlone},

	{"SetWithGuardsOfTags", setWithGuardsOfTags},
	{"RenewOfSeveralRegions", renewOfSeveralRegions},
	{"RenewalsAreSeenInOrder", renewalsAreSeenInOrder},
	{"LateTagsCanBeProved", lateTagsCanBeProved},
	{"LateTagsMeetRenewals", lateTagsMeetRenewals},
	{"HostileGuards", hostileGuards},
	{"ManyGuards", manyGuards},

	{"LocalAgrees", localAgrees},

	{"CloseRefusesEverything", closeRefusesEverything},
	{"CloseEndsLeases", closeEndsLeases},
	{"CloseWakesWaiters", closeWakesWaiters},
	{"CloseOfOneSide", closeOfOneSide},

	{"Hammer", hammer},
}
