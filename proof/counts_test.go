package proof

import (
	"fmt"
	"testing"
	"time"
)

// counts is what was done in a history.
type counts struct {
	operations    int // an operation on several keys is one
	reads         int // keys asked for by operations that returned without an error
	hits          int // of them, those answered with a value that had begun before
	creations     int // keys created, failed ones included
	writes        int
	invalidations int
	unproved      int // values not stored because of the tags that their creators added
}

func count(all []record) counts {
	var n counts
	calls := map[int64]bool{}
	for _, r := range all {
		switch r.kind {
		case creation:
			n.creations++
			continue
		case unproved:
			n.unproved++
			continue
		}
		first := !calls[r.call]
		calls[r.call] = true
		switch {
		case r.kind.reads() && r.ret != 0 && r.flags&failed == 0:
			n.reads++
			if r.flags&found != 0 && r.value.Began < r.call {
				n.hits++
			}
		case r.kind.writes():
			n.writes++
		case r.kind.invalidates() && first:
			n.invalidations++
		}
	}
	n.operations = len(calls)
	return n
}

func (n counts) summary(checked time.Duration) string {
	return fmt.Sprintf("%d operations, %d hits (%d %% of reads), %d creations (%d unproved), %d writes, %d invalidations, checked in %v",
		n.operations, n.hits, 100*n.hits/max(n.reads, 1), n.creations, n.unproved, n.writes, n.invalidations, checked.Round(time.Millisecond))
}

// mostCreations is law I2, as far as a history can tell: how often key k may have been
// created at most. It is 1, and 1 more for each
//
//   - invalidation that concerns the key, or may concern it: the tags of the values that
//     it met are not known;
//   - creation that failed, or that died with its process;
//   - created value that was not stored because its creator added tags, and some tag was
//     invalidated meanwhile;
//   - Set that overlaps such an invalidation: it may store, late, a value that is dead
//     already, in the place of one that is not.
func mostCreations(l layout, all []record, k int) int {
	var kills, sets []record
	most := 1
	for _, r := range all {
		switch {
		case r.kind.invalidates() && l.kills(r, k) != 0:
			kills = append(kills, r)
			most++
		case int(r.target) != k:
		case r.kind == unproved, r.kind == creation && (r.ret == 0 || r.flags&failed != 0):
			most++
		case r.kind.writes():
			sets = append(sets, r)
		}
	}
	for _, s := range sets {
		for _, i := range kills {
			if i.call < s.ret && s.call < i.ret {
				most++
				break
			}
		}
	}
	return most
}

// judgeCreations fails the test for keys that were created too often.
func judgeCreations(t *testing.T, l layout, all []record) {
	t.Helper()
	by := make([]int, l.keys())
	for _, r := range all {
		if r.kind == creation {
			by[r.target]++
		}
	}
	for k, n := range by {
		if most := mostCreations(l, all, k); n > most {
			t.Errorf("key %d was created %d times, want %d at most", k, n, most)
		}
	}
}
