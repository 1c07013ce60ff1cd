package proof

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

// For made-up histories of key 0.

const never = math.MaxInt64

func at(k kind, call, ret int64) step {
	return step{record: record{kind: k, call: call, ret: ret}}
}

// kill is an invalidation of what carries gs.
func kill(gs guards, call, ret int64) step {
	s := at(del, call, ret)
	s.kills = gs
	return s
}

// saw is a read of the value whose creator began at v.
func saw(v, call, ret int64) step { return sawTagged(v, itself, call, ret) }

func sawTagged(v int64, carries guards, call, ret int64) step {
	s := at(getOrCreate, call, ret)
	s.flags, s.value = found, value{Began: v, Carries: carries}
	return s
}

// store is a Set, and sawSet a read of its value.
func store(call, ret int64) step {
	s := at(set, call, ret)
	s.value = value{Began: call, Set: true, Carries: itself}
	return s
}

func sawSet(v, call, ret int64) step {
	s := saw(v, call, ret)
	s.value.Set = true
	return s
}

func TestMadeUpHistories(t *testing.T) {
	for _, test := range []struct {
		name  string
		legal bool
		steps []step
	}{
		{"nothing", true, nil},
		{"a hit", true, []step{saw(1, 10, 11), saw(1, 12, 13)}},
		{"a value of after the invalidation", true, []step{kill(itself, 10, 20), saw(25, 30, 31)}},
		{"a creator that began while the invalidation ran", true, []step{kill(itself, 10, 20), saw(15, 30, 31)}},
		{"a read that began before the invalidation returned", true, []step{kill(itself, 10, 20), saw(5, 19, 40)}},
		{"who came before the creator gets its value, whatever happens", true, []step{saw(5, 1, 50), kill(itself, 10, 20), store(30, 40)}},
		{"a tag that the value does not carry", true, []step{kill(left, 10, 20), sawTagged(5, itself|right, 30, 31)}},
		{"an invalidation that never returned and was not seen", true, []step{kill(itself, 10, never), saw(5, 30, 31), saw(5, 40, 41)}},
		{"an invalidation that never returned and was seen", true, []step{kill(itself, 10, never), saw(5, 30, 31), saw(35, 40, 41)}},
		{"created values that follow one another", true, []step{saw(5, 6, 7), saw(10, 11, 12), saw(10, 13, 14), saw(20, 21, 22)}},
		{"one who came before its creator says nothing of others", true, []step{saw(25, 20, 31), saw(5, 40, 41)}},
		{"Set and read", true, []step{store(10, 20), sawSet(10, 30, 31), sawSet(10, 32, 33)}},
		{"Set and created anew", true, []step{store(10, 20), sawSet(10, 30, 31), saw(35, 40, 41)}},
		{"Set during Delete, and after it", true, []step{store(5, 30), kill(itself, 10, 20), sawSet(5, 40, 41)}},
		{"Set during Delete, and before it", true, []step{store(5, 30), kill(itself, 10, 20), saw(35, 40, 41)}},
		{"two Sets at once: first the one, then the other", true, []step{store(5, 30), store(10, 30), sawSet(10, 15, 16), sawSet(5, 40, 41)}},
		{"a Set that never returned and was not seen", true, []step{store(10, never), saw(5, 30, 31)}},
		{"a Set that never returned and came late", true, []step{store(10, never), saw(5, 30, 31), sawSet(10, 40, 41)}},
		{"a Set at work is not what others see", true, []step{store(10, 50), saw(5, 20, 21), saw(5, 22, 23)}},

		{"the invalidation is lost", false, []step{kill(itself, 10, 20), saw(5, 30, 31)}},
		{"the invalidation is lost on a value that was created while it ran", false, []step{kill(itself, 10, 20), saw(9, 21, 22)}},
		{"the first invalidation is seen, the second is lost", false, []step{kill(itself, 10, 20), saw(25, 26, 27), kill(itself, 30, 40), saw(25, 50, 51)}},
		{"the invalidation of a tag is lost", false, []step{kill(left, 10, 20), sawTagged(5, itself|group|left, 30, 31)}},
		{"the invalidation of another tag is lost", false, []step{kill(group, 10, 20), kill(left, 10, 20), sawTagged(5, itself|group|right, 30, 31)}},
		{"back behind an invalidation that still runs", false, []step{kill(itself, 10, 100), saw(25, 30, 31), saw(5, 40, 41)}},
		{"back behind an invalidation that never returned", false, []step{kill(itself, 10, never), saw(25, 30, 31), saw(5, 40, 41)}},
		{"the Set is lost", false, []step{saw(5, 6, 7), store(10, 20), saw(5, 30, 31)}},
		{"the Set is overwritten by an older creation", false, []step{store(10, 20), sawSet(10, 22, 23), saw(9, 30, 31)}},
		{"a Set value that was deleted", false, []step{store(1, 5), kill(itself, 10, 20), sawSet(1, 30, 31)}},
		{"a Set value that was invalidated by its tag", false, func() []step {
			s, r := store(1, 5), sawSet(1, 30, 31)
			s.value.Carries |= right
			r.value.Carries |= right
			return []step{s, kill(right, 10, 20), r}
		}()},
		{"a Set value that was replaced", false, []step{store(1, 5), store(10, 20), sawSet(1, 30, 31)}},
		{"two Sets at once: back and forth", false, []step{store(5, 30), store(10, 30), sawSet(5, 12, 13), sawSet(10, 15, 16), sawSet(5, 40, 41)}},
		{"a Set that came late does not revive what Delete has killed", false, []step{store(5, 30), kill(itself, 10, 20), saw(7, 40, 41)}},
		{"a Set that never returned was seen, and is gone again", false, []step{store(10, never), sawSet(10, 20, 21), saw(5, 30, 31)}},
		{"a Set value that a creation has replaced", false, []step{store(1, 5), saw(8, 10, 11), sawSet(1, 20, 21)}},
		{"a value that nobody has set", false, []step{sawSet(1, 20, 21)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := check(test.steps)
			if legal := got == porcupine.Ok; legal != test.legal || got == porcupine.Unknown {
				t.Errorf("the history is %v, want legal: %v", got, test.legal)
			}
		})
	}
}

// What is about many keys reaches the histories of those that it concerns, and of no
// others; what is legal whatever happens is left out.
func TestSplit(t *testing.T) {
	l := layout{plain: 4, wrapped: 2, groups: 2}
	all := []record{
		{kind: hardRegion, call: 1, ret: 2},
		{kind: softTag, target: 1, call: 3, ret: 4},
		{kind: hardTag, target: int32(l.rightTag()), call: 5, ret: 6},
		{kind: funcInvalidateAll, call: 7},
		{kind: del, target: 3, call: 9, ret: 10, flags: failed},
		{kind: get, target: 3, call: 11, ret: 12},
		{kind: getOrCreate, target: 3, call: 13, ret: 14, flags: failed},
		{kind: getOrCreate, target: 3, call: 15, flags: found},
		{kind: getOrCreate, target: 3, call: 17, ret: 18, flags: found},
		{kind: creation, target: 3, call: 19, ret: 20},
		{kind: set, target: 0, call: 21},
	}
	want := []string{
		"Invalidate(Hard) of key 2; InvalidateTags of right 6; Set never",
		"Invalidate(Hard) of key 2; SoftTags of group 4; InvalidateTags of right 6",
		"Invalidate(Hard) of key 2; InvalidateTags of right 6",
		"Invalidate(Hard) of key 2; SoftTags of group 4; InvalidateTags of right 6; Delete of key never; GetOrCreate 18",
		"Invalidate(Hard) of key 2; InvalidateTags of right 6; Func.InvalidateAll of key never",
		"Invalidate(Hard) of key 2; SoftTags of group 4; InvalidateTags of right 6; Func.InvalidateAll of key never",
	}
	for k, steps := range split(l, all) {
		var got []string
		for _, s := range steps {
			text := s.kind.String()
			if s.kind.invalidates() {
				text = s.String()
			}
			got = append(got, text+" "+tickText(s.ret))
		}
		if text := strings.Join(got, "; "); text != want[k] {
			t.Errorf("key %d has the history\n\t%s\nwant\n\t%s", k, text, want[k])
		}
	}
}

// randomSteps makes a history that nobody has made: most are illegal, many are not.
func randomSteps(n int) []step {
	var steps []step
	var sets []int64
	tick := int64(0)
	next := func() int64 { tick += 1 + rand.Int64N(3); return tick }
	for range n {
		call := next()
		ret := call + 1 + rand.Int64N(30)
		switch rand.IntN(6) {
		case 0:
			steps = append(steps, kill([]guards{itself, group, left, right}[rand.IntN(4)], call, ret))
		case 1:
			steps = append(steps, store(call, ret))
			sets = append(sets, call)
		default:
			if len(sets) > 0 && rand.IntN(3) == 0 {
				steps = append(steps, sawSet(sets[len(sets)-1], call, ret))
				continue
			}
			// Odd, so that no creator begins when a Set is called.
			v := max(call-20, 0) + rand.Int64N(30)
			if slices.Contains(sets, v) || v > ret {
				continue
			}
			steps = append(steps, sawTagged(v, itself|[]guards{group, group | left, right}[rand.IntN(3)], call, ret))
		}
	}
	return steps
}

// breaksTheLaw says whether a history breaks law I1 as it is written: an invalidation
// returned before a read began, and the read has yielded a value whose creator began
// before the invalidation was called.
func breaksTheLaw(steps []step) bool {
	for _, read := range steps {
		if !read.kind.reads() || read.value.Set {
			continue
		}
		for _, s := range steps {
			if s.kind.invalidates() && s.kills&read.value.Carries != 0 && s.ret < read.call && read.value.Began < s.call {
				return true
			}
		}
	}
	return false
}

// The model is at least as strong as the law: whatever breaks the law is illegal.
func TestWhatBreaksTheLawIsIllegal(t *testing.T) {
	breaks, legal := 0, 0
	for range 2_000 {
		steps := randomSteps(4 + rand.IntN(12))
		result := check(steps)
		if result == porcupine.Ok {
			legal++
		}
		if breaksTheLaw(steps) {
			if breaks++; result != porcupine.Illegal {
				t.Fatalf("a history that breaks the law is %v:\n%s", result, tell(steps, nil, 0))
			}
		}
	}
	if breaks < 20 || legal < 20 {
		t.Errorf("%d histories break the law and %d are legal, want some of each", breaks, legal)
	}
}

// An excerpt is illegal, as short as can be, and can be told.
func TestExcerpt(t *testing.T) {
	var steps []step
	for v := int64(1); v < 4_000; v += 40 {
		steps = append(steps, saw(v, v+2, v+4), saw(v, v+3, v+6), kill(itself, v+10, v+12), store(v+20, v+24), sawSet(v+20, v+26, v+28))
	}
	lost := kill(group, 2_017, 2_018)
	late := sawTagged(2_002, itself|group, 2_019, 2_020)
	steps = append(steps, lost, late)
	if check(steps) != porcupine.Illegal {
		t.Fatal("the history is legal, want it illegal")
	}
	got := excerpt(steps)
	slices.SortFunc(got, func(a, b step) int { return cmp.Compare(a.call, b.call) })
	if len(got) != 2 || got[1] != late || !got[0].kind.invalidates() {
		t.Fatalf("the excerpt is\n%s\nwant the invalidation and the read", tell(got, nil, 0))
	}
	all := []record{{kind: creation, process: 2, call: 2_002, ret: 2_016}}
	text := tell(got, all, 0)
	for _, part := range []string{"Delete by client 0 of process 0", "saw the value whose creator began at 2002", "process 2 made it, until 2016", "so: the Delete that returned at "} {
		if !strings.Contains(text, part) {
			t.Errorf("the excerpt is told as\n%s\nwant %q in it", text, part)
		}
	}
}
