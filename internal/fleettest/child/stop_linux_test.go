package child_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

// A process that was busy stands still the moment Stop returns.
func TestStopIsDone(t *testing.T) {
	p, err := child.Start(exec.Command("sh", "-c", "while :; do :; done"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for range 200 {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		if err != nil || !strings.Contains(string(stat), ") T ") {
			t.Fatalf("a stopped process is in the state %q, %v; want T", stat, err)
		}
		if err := p.Continue(); err != nil {
			t.Fatal(err)
		}
	}
}
