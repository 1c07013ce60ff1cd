// Package locktest is the conformance suite of [lock.Locker]: whatever passes it
// can stand behind a region. A new implementation needs one test:
//
//	func TestLocker(t *testing.T) {
//		locktest.Run(t, func(t *testing.T) lock.Locker { return mylock.New() })
//	}
//
// The suite is driven by events. It never sleeps to let something happen, and
// waits for what has to happen until it happens or a generous deadline passes.
package locktest

import (
	"testing"
	"testing/synctest"

	"github.com/dogpile-go/dogpile/lock"
)

// An Option tells the suite about the implementation under test.
type Option func(*suite)

// InBubble runs each subtest inside a [testing/synctest] bubble. It is for
// implementations that live in the process and do no I/O. The suite then knows
// when a waiter really sleeps, and checks that it is woken by the event rather
// than by a timer. Everything that open starts has to end with Close.
func InBubble() Option {
	return func(s *suite) { s.bubble = true }
}

// Run tests the Locker that open returns. Every call of open has to return a new
// one, which shares leases with no other; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) lock.Locker, opts ...Option) {
	RunPair(t, func(t *testing.T) (a, b lock.Locker) {
		l := open(t)
		return l, l
	}, opts...)
}

// RunPair tests two Lockers that grant the same leases, as those of two processes
// on one server do: what one is granted the other is refused, and what happens
// through one is noticed through the other. Closing one ends the leases that this
// one granted and no others. The subtests are those of [Run], with the holder on
// the one side and its rivals on the other; every call of open has to return a
// new pair.
func RunPair(t *testing.T, open func(t *testing.T) (a, b lock.Locker), opts ...Option) {
	t.Helper()
	s := suite{open: open}
	for _, opt := range opts {
		opt(&s)
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
	open   func(t *testing.T) (a, b lock.Locker)
	bubble bool
}

// promises are the sentences of lock.Locker and lock.Lease, each with its test.
var promises = []struct {
	name  string
	check func(*trial)
}{
	{"OneOfManyWins", oneOfManyWins},
	{"HoldersTakeTurns", holdersTakeTurns},
	{"ReleaseFrees", releaseFrees},
	{"ReleaseTwice", releaseTwice},
	{"KeysAreIndependent", keysAreIndependent},
	{"LeaseNamesItsKey", leaseNamesItsKey},
	{"TokensDiffer", tokensDiffer},
	{"WaitWakesOnRelease", waitWakesOnRelease},
	{"WaitWakesOnVoid", waitWakesOnVoid},
	{"WaitForFreeKey", waitForFreeKey},
	{"WaitForNothing", waitForNothing},
	{"WaitForAnyOfSeveral", waitForAnyOfSeveral},
	{"WaitObeysContext", waitObeysContext},
	{"VoidEndsLease", voidEndsLease},
	{"VoidOfSeveral", voidOfSeveral},
	{"VoidWithoutLease", voidWithoutLease},
	{"ReleaseAfterLoss", releaseAfterLoss},
	{"ReleasedIsNeverLost", releasedIsNeverLost},
	{"CloseEndsAll", closeEndsAll},
	{"CloseWakesWaiters", closeWakesWaiters},
	{"CloseOfOneSide", closeOfOneSide},
	{"Hammer", hammer},
}
