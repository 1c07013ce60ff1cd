package proof

import (
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkPatience is how long the check of one key may take. It takes milliseconds.
const checkPatience = 2 * time.Minute

// split makes the history of each key from that of all. What is always legal is left
// out: misses, reads that failed or did not return. A write or an invalidation without a
// return may have happened at any time since, or never; so may one that failed.
func split(l layout, all []record) [][]step {
	histories := make([][]step, l.keys())
	for _, r := range all {
		switch {
		case r.kind == creation || r.kind == unproved:
			continue
		case r.kind.reads() && (r.ret == 0 || r.flags&found == 0):
			continue
		case r.ret == 0 || r.flags&failed != 0:
			r.ret = math.MaxInt64
		}
		if !r.kind.invalidates() {
			k := int(r.target)
			histories[k] = append(histories[k], step{record: r})
			continue
		}
		for k := range histories {
			if kills := l.kills(r, k); kills != 0 {
				histories[k] = append(histories[k], step{r, kills})
			}
		}
	}
	return histories
}

// operations are steps for porcupine.
func operations(steps []step) []porcupine.Operation {
	list := make([]porcupine.Operation, len(steps))
	for i, s := range steps {
		list[i] = porcupine.Operation{
			ClientId: int(s.process)*100 + int(s.client),
			Input:    s,
			Call:     s.call,
			Return:   s.ret,
		}
	}
	return list
}

// check asks porcupine about the history of one key.
func check(steps []step) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, operations(steps), checkPatience)
}

// violations checks every key, and returns the keys whose history breaks the law.
func violations(histories [][]step) (broken []int, err error) {
	results := make([]porcupine.CheckResult, len(histories))
	var checking sync.WaitGroup
	turn := make(chan struct{}, 2)
	for k, steps := range histories {
		checking.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			results[k] = check(steps)
		})
	}
	checking.Wait()
	for k, result := range results {
		switch result {
		case porcupine.Illegal:
			broken = append(broken, k)
		case porcupine.Unknown:
			err = fmt.Errorf("the history of key %d, %d operations, cannot be checked within %v", k, len(histories[k]), checkPatience)
		}
	}
	return broken, err
}

// judge fails the test for every key whose history breaks the law, and tells how.
func judge(t *testing.T, l layout, all []record) (took time.Duration) {
	t.Helper()
	began := time.Now()
	histories := split(l, all)
	broken, err := violations(histories)
	took = time.Since(began)
	if err != nil {
		t.Error(err)
	}
	for i, k := range broken {
		if i == 3 {
			t.Errorf("and %d more keys", len(broken)-i)
			break
		}
		steps := excerpt(histories[k])
		t.Errorf("the law is broken for key %d: no order of these %d of its %d operations is legal:\n%s", k, len(steps), len(histories[k]), tell(steps, all, k))
		draw(t, fmt.Sprintf("key-%d-excerpt.html", k), steps)
		draw(t, fmt.Sprintf("key-%d.html", k), histories[k])
	}
	return took
}

// draw writes what porcupine knows of a history into the test's artifacts.
func draw(t *testing.T, name string, steps []step) {
	t.Helper()
	end := int64(0)
	for _, s := range steps {
		end = max(end, s.call)
		if s.ret != math.MaxInt64 {
			end = max(end, s.ret)
		}
	}
	ops := operations(steps)
	for i := range ops {
		ops[i].Return = min(ops[i].Return, end+1)
	}
	_, info := porcupine.CheckOperationsVerbose(model, ops, checkPatience)
	path := filepath.Join(t.ArtifactDir(), name)
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		t.Errorf("cannot draw the history: %v", err)
		return
	}
	t.Logf("see %s (go test -artifacts keeps it)", path)
}
