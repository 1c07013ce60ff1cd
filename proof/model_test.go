package proof

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// step is one operation as the model of one key sees it.
type step struct {
	record
	kills guards // of an invalidation: which of the key's guards
}

// state is what the model knows of one key. See the package comment for what it means.
type state struct {
	floors [guardCount]int64 // by guard: what a creator's value that carries it must not be below
	set    int64             // the Set whose value is the key's at present; 0 if there is none
	setHas guards            // what that value carries
}

// model is the law for one key, for porcupine.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, input, _ any) (bool, any) {
		legal, next := s.(state).after(input.(step))
		return legal, next
	},
	DescribeOperation: func(input, _ any) string { return input.(step).String() },
	DescribeState:     func(s any) string { return s.(state).String() },
}

// after says whether o is legal in s, and what the state is after it.
func (s state) after(o step) (bool, state) {
	switch {
	case o.kind.invalidates():
		for g := range s.floors {
			if o.kills&(1<<g) != 0 {
				s.floors[g] = max(s.floors[g], o.call)
			}
		}
		if s.setHas&o.kills != 0 {
			s.set, s.setHas = 0, 0
		}
		return true, s

	case o.kind.writes():
		// It takes the lease from whoever creates, so it is an invalidation for
		// creators, and then the value itself.
		s.floors[0] = max(s.floors[0], o.call)
		s.set, s.setHas = o.value.Began, o.value.Carries
		return true, s

	case o.value.Set:
		return o.value.Began == s.set, s

	default:
		v := o.value
		for g := range s.floors {
			if v.Carries&(1<<g) != 0 && v.Began < s.floors[g] {
				return false, s
			}
		}
		// Whoever came after the creator began gets its value only if it was
		// published: then it was what the key had, and nothing older is any more.
		// Whoever came before gets it in any case, and says nothing of others.
		if v.Began < o.call {
			s.floors[0] = max(s.floors[0], v.Began)
			s.set, s.setHas = 0, 0
		}
		return true, s
	}
}

func (g guards) String() string {
	var names []string
	for i, name := range []string{"key", "group", "left", "right"} {
		if g&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

func (v value) String() string {
	what := "created"
	if v.Set {
		what = "set"
	}
	return fmt.Sprintf("%s at %d, %v", what, v.Began, v.Carries)
}

func (o step) String() string {
	switch {
	case o.kind.invalidates():
		return fmt.Sprintf("%v of %v", o.kind, o.kills)
	case o.kind.writes():
		return o.kind.String()
	}
	return fmt.Sprintf("%v = %v", o.kind, o.value)
}

func (s state) String() string {
	return fmt.Sprintf("floors %v, set %d %v", s.floors, s.set, s.setHas)
}
