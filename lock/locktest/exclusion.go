package locktest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dogpile-go/dogpile/lock"
)

func oneOfManyWins(t *trial) {
	const rivals = 50
	var wins, refusals atomic.Int32
	var gate, all sync.WaitGroup
	gate.Add(1)
	for i := range rivals {
		l := t.a
		if i%2 == 1 {
			l = t.b
		}
		all.Go(func() {
			gate.Wait()
			switch lease, err := l.TryAcquire(t.ctx, "key"); {
			case err == nil && lease != nil:
				wins.Add(1)
			case errors.Is(err, lock.ErrHeld) && lease == nil:
				refusals.Add(1)
			default:
				t.Errorf("TryAcquire = %v, %v; want a lease or lock.ErrHeld", lease, err)
			}
		})
	}
	gate.Done()
	all.Wait()
	if wins.Load() != 1 || refusals.Load() != rivals-1 {
		t.Fatalf("%d rivals: %d won, %d were refused; want 1 and %d", rivals, wins.Load(), refusals.Load(), rivals-1)
	}
}

func holdersTakeTurns(t *trial) {
	const workers, turns = 8, 10
	var inside, done atomic.Int32
	var all sync.WaitGroup
	for i := range workers {
		l := t.a
		if i%2 == 1 {
			l = t.b
		}
		all.Go(func() {
			for range turns {
				lease, err := t.obtain(l, "key")
				if err != nil {
					t.Errorf("waiting for a turn: %v", err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lease at once", n)
				}
				done.Add(1)
				inside.Add(-1)
				if err := lease.Release(t.ctx); err != nil {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	all.Wait()
	if n := done.Load(); n != workers*turns {
		t.Fatalf("%d turns were taken, want %d", n, workers*turns)
	}
}

func releaseFrees(t *trial) {
	lease := t.acquire(t.a, "key")
	t.refused(t.a, "key")
	t.refused(t.b, "key")
	t.release(lease)
	next := t.acquire(t.b, "key")
	t.refused(t.a, "key")
	t.notLost(next)
}

func releaseTwice(t *trial) {
	lease := t.acquire(t.a, "key")
	t.release(lease)
	t.release(lease)
	next := t.acquire(t.b, "key")
	t.release(lease)
	t.refused(t.a, "key")
	t.notLost(next)
}

// keys are what a Locker has to tell apart, whatever it is made of: nothing, the
// control and separator characters of the protocols, bytes that are no text, keys
// longer than any server's own, and pairs that differ in one byte.
func keys() []string {
	long := strings.Repeat("k", 64<<10)
	return []string{
		"", " ", "  ", "a", "a ", " a", "A", "a\x00", "a\x00b", "a:b", "a::b", "a/b", "a/../b", "..", ".", "%41", "a%00",
		"a\r\nb", "a\nb", "a\tb", "{a}", "{a}b", "a*", "a?", "a\x7f", "\xff", "\xff\xfe", "a\xc3", "é", "e\u0301", "日本語", "😀",
		long, long[1:], long[1:] + "l", "l" + long[1:], strings.Repeat("k", 250), strings.Repeat("k", 251), strings.Repeat("\xff", 64<<10),
	}
}

func keysAreIndependent(t *trial) {
	for _, key := range keys() {
		t.acquire(t.a, key)
	}
	for _, key := range keys() {
		t.refused(t.b, key)
	}
}

func leaseNamesItsKey(t *trial) {
	for _, key := range keys() {
		lease := t.acquire(t.a, key)
		if got := lease.Key(); got != key {
			t.Errorf("the lease of %s says that its key is %s", brief(key), brief(got))
		}
		t.release(lease)
		t.release(t.acquire(t.b, key))
	}
}

func tokensDiffer(t *trial) {
	seen := map[string]bool{}
	check := func(lease lock.Lease) {
		token := lease.Token()
		if token == "" || seen[token] {
			t.Errorf("token %q is empty or that of another lease", token)
		}
		if again := lease.Token(); again != token {
			t.Errorf("the token of one lease is %q, then %q", token, again)
		}
		seen[token] = true
	}
	for i := range 20 {
		check(t.acquire(t.a, fmt.Sprint("a", i)))
		check(t.acquire(t.b, fmt.Sprint("b", i)))
	}
	for range 20 {
		lease := t.acquire(t.a, "same")
		check(lease)
		t.release(lease)
	}
	// Two Lockers that share nothing still grant leases that can be told apart,
	// so that a lease of the wrong Locker is never taken for one's own.
	other := t.suite.begin(t.T)
	check(other.acquire(other.a, "a0"))
	check(other.acquire(other.b, "b0"))
}
