package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// errBroken says that what was promised did not hold.
var errBroken = errors.New("what was promised did not hold")

// result is what came of a round.
type result struct {
	processes int
	callers   int // of all processes
	creations int // that were begun
	killed    int // processes that died while they created
	lost      int // callers that died with their processes
	values    map[string]int
	errors    map[string]int
	takeover  []time.Duration // from the death of a creator to the next one's beginning
	lease     string
	wake      *wake // nil if there was more than one value
	commands  map[string]int
}

// wake is how long callers took to return once the creator had: it has the time
// in which the value is published in it.
type wake struct{ median, lastOfProcess, last time.Duration }

func (r *round) result(lease string, before, after map[string]int) result {
	s := result{
		processes: len(r.fleet),
		callers:   len(r.fleet) * r.callers,
		creations: len(r.creations),
		lease:     lease,
		values:    map[string]int{},
		errors:    map[string]int{},
		commands:  map[string]int{},
	}
	var returned, lasts []time.Duration
	for _, p := range r.fleet {
		if p.answers == nil {
			s.lost += r.callers
			continue
		}
		returned = append(returned, p.answers.At...)
		lasts = append(lasts, slices.Max(p.answers.At))
		add(s.values, p.answers.Values)
		add(s.errors, p.answers.Errors)
	}
	for i, c := range r.creations {
		if c.by.answers != nil || c.by.ended == 0 {
			continue
		}
		s.killed++
		if i+1 < len(r.creations) {
			s.takeover = append(s.takeover, r.creations[i+1].began-c.by.ended)
		}
	}
	if len(s.values) == 1 && len(r.creations) == 1+s.killed { // else it is not known whose value it was
		published := r.creations[s.killed].returned
		s.wake = &wake{median(returned) - published, median(lasts) - published, slices.Max(lasts) - published}
	}
	for name, n := range after {
		if n > before[name] {
			s.commands[name] = n - before[name]
		}
	}
	return s
}

// broken returns what was promised and did not happen.
func (s result) broken() (broken []string) {
	if s.lost == s.callers {
		return []string{"no process is left that could say what came of it"}
	}
	if allowed := 1 + s.killed; s.creations > allowed {
		broken = append(broken, fmt.Sprintf("there were %d creations where %d would have done", s.creations, allowed))
	}
	if n := len(s.values); n > 1 {
		broken = append(broken, fmt.Sprintf("the callers got %d different values", n))
	}
	for text, n := range s.errors {
		broken = append(broken, fmt.Sprintf("%s: %s", count(n, "caller got an error", "callers got an error"), text))
	}
	return broken
}

// String returns for example "1 creation for 4,000 callers".
func (s result) String() string {
	return fmt.Sprintf("%s for %s", count(s.creations, "creation", "creations"), count(s.callers, "caller", "callers"))
}

// print prints the numbers and the verdict.
func (s result) print(out *screen) {
	out.line("")
	row := func(name, format string, args ...any) { out.line("%-10s "+format, append([]any{name}, args...)...) }
	row("creations", "%d", s.creations)

	answered := fmt.Sprintf("%s with %s", count(s.callers-s.lost, "caller", "callers"), count(len(s.values), "value", "different values"))
	if s.lost > 0 {
		answered += fmt.Sprintf("; %s died with their process", number(s.lost))
	}
	row("answered", "%s", answered)
	for _, d := range s.takeover {
		row("takeover", "%v from the death of the creator to the next creation; the lease was for %s", rounded(d), s.lease)
	}
	if w := s.wake; w != nil {
		row("wake-up", "%v the median caller, %v the last of a process (median), %v the last of all,",
			rounded(w.median), rounded(w.lastOfProcess), rounded(w.last))
		row("", "from when the creator returned, so that publication is included")
	}
	sum := 0
	for _, n := range s.commands {
		sum += n
	}
	row("Redis", "%s, %.1f for each process: %s", count(sum, "command", "commands"), float64(sum)/float64(s.processes), list(s.commands))
	row("", "as the server counts them: a script, and each command in it; also those of strangers")

	promised := "1 creation"
	if s.killed > 0 {
		promised += fmt.Sprintf(", and 1 more for each process that died while it created, here %d", s.killed)
	}
	broken := s.broken()
	out.line("\nPromised: %s.", promised)
	if len(broken) == 0 {
		out.line("It held: %v.", s)
		return
	}
	out.line("It did NOT hold: %v.", s)
	for _, b := range broken {
		out.line("  %s", b)
	}
}

// printSum prints what came of several rounds. The error is errBroken if what was
// promised did not hold in all of them.
func printSum(out *screen, all []result) error {
	held, sum := 0, result{}
	for _, s := range all {
		sum.creations += s.creations
		sum.callers += s.callers
		if len(s.broken()) == 0 {
			held++
		}
	}
	if len(all) > 1 {
		out.line("\nIt held in %d of %d rounds: %v in all.", held, len(all), sum)
	}
	if held < len(all) {
		return errBroken
	}
	return nil
}

func add(to, from map[string]int) {
	for text, n := range from {
		to[text] += n
	}
}

func median(of []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(of))[len(of)/2]
}

// list returns for example "evalsha 16, get 8", the most frequent first.
func list(commands map[string]int) string {
	names := slices.SortedFunc(maps.Keys(commands), func(a, b string) int {
		return cmp.Or(commands[b]-commands[a], strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %s", strings.ReplaceAll(name, "|", " "), number(commands[name]))
	}
	return strings.Join(names, ", ")
}
