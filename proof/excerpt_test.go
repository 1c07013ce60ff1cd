package proof

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// excerpt returns as few steps of an illegal history as are needed to be illegal. To
// take out a read or an invalidation makes a history no less legal, and neither does it
// to take out a write together with what has read it. So what is left is a
// contradiction in the whole history too.
func excerpt(steps []step) []step {
	steps = slices.Clone(steps)
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.call, b.call) })
	// Up to the first read that cannot be, which is found by halving.
	n := sort.Search(len(steps), func(n int) bool { return check(without(steps, n, len(steps))) == porcupine.Illegal })
	steps = without(steps, n, len(steps))
	for size := len(steps) / 2; size >= 1; size /= 2 {
		for at := 0; at < len(steps); {
			rest := without(steps, at, min(at+size, len(steps)))
			if len(rest) < len(steps) && check(rest) == porcupine.Illegal {
				steps = rest
			} else {
				at += size
			}
		}
	}
	return steps
}

// without leaves out steps from..to, and what has read a write among them.
func without(steps []step, from, to int) []step {
	gone := map[int64]bool{}
	for _, s := range steps[from:to] {
		if s.kind.writes() {
			gone[s.value.Began] = true
		}
	}
	var rest []step
	for i, s := range steps {
		if i >= from && i < to || s.kind.reads() && s.value.Set && gone[s.value.Began] {
			continue
		}
		rest = append(rest, s)
	}
	return rest
}

// tell tells of the steps of key k in words, in the order of their calls.
func tell(steps []step, all []record, k int) string {
	creators := map[int64]record{}
	for _, r := range all {
		if r.kind == creation && int(r.target) == k {
			creators[r.call] = r
		}
	}
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "\t%v by client %d of process %d ", s.kind, s.client, s.process)
		returned := "returned at " + tickText(s.ret)
		switch {
		case s.kind.invalidates():
			fmt.Fprintf(&b, "was called at %d and %s: values that carry %v are over\n", s.call, returned, s.kills)
		case s.kind.writes():
			fmt.Fprintf(&b, "was called at %d and %s\n", s.call, returned)
		default:
			fmt.Fprintf(&b, "began at %d, %s", s.call, returned)
			if s.value.Set {
				fmt.Fprintf(&b, ", and saw the value whose Set was called at %d (it carries %v)\n", s.value.Began, s.value.Carries)
				continue
			}
			fmt.Fprintf(&b, ", and saw the value whose creator began at %d (it carries %v", s.value.Began, s.value.Carries)
			if c, ok := creators[s.value.Began]; ok {
				fmt.Fprintf(&b, "; process %d made it, until %d", c.process, c.ret)
			}
			b.WriteString(")\n")
		}
	}
	for _, line := range reasons(steps) {
		fmt.Fprintf(&b, "\t%s\n", line)
	}
	return strings.TrimRight(b.String(), "\n")
}

// reasons says in a sentence what is wrong, where a sentence is enough.
func reasons(steps []step) []string {
	returned := map[int64]int64{} // of each Set
	for _, s := range steps {
		if s.kind.writes() {
			returned[s.value.Began] = s.ret
		}
	}
	var lines []string
	for _, read := range steps {
		v := read.value
		if !read.kind.reads() {
			continue
		}
		for _, s := range steps {
			// A Set is as good as a creator that begins when it is called, but may
			// come after whatever it overlaps.
			if s.ret >= read.call || v.Began >= s.call || v.Set && returned[v.Began] >= s.call {
				continue
			}
			switch {
			case s.kind.invalidates() && s.kills&v.Carries != 0, s.kind.writes():
				lines = append(lines, fmt.Sprintf("so: the %v that returned at %d is lost on the %v that began at %d: its value is of %d, before the call at %d",
					s.kind, s.ret, read.kind, read.call, v.Began, s.call))
			case s.kind.reads() && !s.value.Set && v.Began < s.value.Began && s.value.Began < s.call:
				lines = append(lines, fmt.Sprintf("so: the %v that began at %d goes back to the value of %d, after another read had seen that of %d and returned at %d",
					read.kind, read.call, v.Began, s.value.Began, s.ret))
			}
		}
	}
	return lines
}

// tickText is a tick in words.
func tickText(n int64) string {
	if n == math.MaxInt64 {
		return "never"
	}
	return strconv.FormatInt(n, 10)
}
