package child_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sleeper(t *testing.T) *child.Process {
	t.Helper()
	p, err := child.Start(exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// A child dies with the process, but not with any thread of it.
func TestChildrenOutliveThreads(t *testing.T) {
	var children []*child.Process
	for range 20 {
		children = append(children, sleeper(t))
		// Goroutines that return locked to their threads take those with them.
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(runtime.LockOSThread)
		}
		wg.Wait()
	}
	for i, p := range children {
		// Stop waits until the kernel has dealt with all signals.
		if err := p.Stop(); err != nil {
			t.Errorf("child %d: %v, want that it is alive", i, err)
		}
	}
}

func TestKillWaitsForTheEnd(t *testing.T) {
	p := sleeper(t)
	if !p.Running() {
		t.Fatal("a child that sleeps is not running")
	}
	p.Kill()
	if p.Running() {
		t.Fatal("a killed child is running")
	}
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("Wait of a killed child: %v, want that a signal ended it", err)
	}
	p.Kill()
	if err := p.Stop(); !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("Stop of a killed child: %v, want os.ErrProcessDone", err)
	}
}

func TestNoSuchProgram(t *testing.T) {
	if _, err := child.Start(exec.Command("/no/such/program")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Start of a program that is not there: %v, want os.ErrNotExist", err)
	}
}
