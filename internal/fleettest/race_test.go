//go:build race

package fleettest_test

import (
	"strings"
	"testing"
)

// A race in a worker fails the test, though the worker is killed in the end.
func TestRaceInWorker(t *testing.T) {
	if text := inner(t, "Race"); !strings.Contains(text, "worker 0 has a data race") || !strings.Contains(text, "--- FAIL: TestInner/Race") {
		t.Fatalf("want a test that fails for the race of its worker, got\n%s", text)
	}
}
