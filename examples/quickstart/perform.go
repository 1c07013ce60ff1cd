package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// outcome is what came of a step.
type outcome struct {
	queries int      // that reached the database
	answers []answer // of all callers, the quickest first
}

// answer is what one caller got.
type answer struct {
	value string
	took  time.Duration
}

// String returns for example "200 callers, 1 query".
func (o outcome) String() string {
	return plural(len(o.answers), "caller", "callers") + ", " + plural(o.queries, "query", "queries")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// perform lets all callers of a step make their call at the same time.
func (s step) perform() (outcome, error) {
	if s.before != nil {
		if err := s.before(); err != nil {
			return outcome{}, err
		}
	}
	queries := db.queries.Load()
	answers := make([]answer, s.callers)
	errs := make([]error, s.callers)
	var callers sync.WaitGroup
	start := make(chan struct{})
	for i := range s.callers {
		callers.Go(func() {
			<-start
			began := time.Now()
			value, err := s.call()
			took := time.Since(began)
			answers[i], errs[i] = answer{fmt.Sprint(value), took}, err
		})
	}
	close(start)
	callers.Wait()
	slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.took, b.took) })
	return outcome{int(db.queries.Load() - queries), answers}, cmp.Or(errs...)
}
