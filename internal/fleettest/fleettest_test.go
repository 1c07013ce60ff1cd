package fleettest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/fleettest"
)

func TestMain(m *testing.M) {
	fleettest.Roles(map[string]fleettest.Role{
		"greet": greet,
		"count": count,
		"fail":  func(*fleettest.Worker) error { return errors.New("no luck today") },
		"exit":  func(*fleettest.Worker) error { os.Exit(7); return nil },
		"race":  race,
		"sleep": func(w *fleettest.Worker) error { w.Ready(); w.Await("never"); return nil },
	})
	goleak.VerifyTestMain(m)
}

type greeting struct {
	Text  string
	Index int
	PID   int
}

func greet(w *fleettest.Worker) error {
	var params greeting
	if err := w.Params(&params); err != nil {
		return err
	}
	fmt.Println("what a worker prints does not get among its messages")
	w.Logf("worker %d of %d", w.Index, w.Count)
	w.Ready()
	w.Await("go")
	w.Report(greeting{params.Text, w.Index, os.Getpid()})
	w.Await("end")
	w.Report(testing.Short()) // panics without parsed flags
	return nil
}

// count tells events as fast as it can.
func count(w *fleettest.Worker) error {
	w.Ready()
	for i := 0; ; i++ {
		w.Event("count", i)
	}
}

func race(w *fleettest.Worker) error {
	n, done := 0, make(chan struct{})
	go func() { n++; close(done) }()
	n++
	<-done
	w.Ready()
	w.Await("never") // so that it is killed, and the exit code says nothing
	return nil
}

func TestTalk(t *testing.T) {
	f := fleettest.Start(t, "greet", 4, greeting{Text: "hello"})
	f.AwaitReady()
	f.Send("something that nobody awaits")
	f.Send("go")
	for i, p := range f.Workers {
		var got greeting
		if p.Report(&got); got != (greeting{"hello", i, p.PID}) || p.Index != i {
			t.Errorf("worker %d, process %d, reports %+v", p.Index, p.PID, got)
		}
		p.Send("end")
		p.Report(new(bool))
	}
	f.Wait()
}

func TestKilledWorkersEventsCount(t *testing.T) {
	begin := time.Now()
	f := fleettest.Start(t, "count", 2, nil)
	f.AwaitEvents("count", 1000)
	f.Workers[0].Kill()
	f.Workers[1].Kill()
	all := f.Events()
	for _, p := range f.Workers {
		if exec.Command("kill", "-0", fmt.Sprint(p.PID)).Run() == nil {
			t.Errorf("process %d is there after Kill", p.PID)
		}
	}
	f.Wait()
	if n := len(f.Events()); n != len(all) {
		t.Errorf("%d events when Kill had returned, %d a while later", len(all), n)
	}
	if n := len(f.Events("count")); n != len(all) || n < 1000 {
		t.Errorf("%d events in all, %d that count, want the same and 1000 or more", len(all), n)
	}
	if n := len(f.Events("other")); n != 0 {
		t.Errorf("%d events of a kind that nobody told", n)
	}
	var next [2]int
	last := begin.Round(0)
	for _, e := range all {
		var n int
		if e.Decode(t, &n); n != next[e.Worker] {
			t.Fatalf("worker %d told %d after %d", e.Worker, n, next[e.Worker]-1)
		}
		next[e.Worker]++
		if e.At.Before(last) || e.At.After(time.Now()) {
			t.Fatalf("an event at %v, the one before it at %v", e.At, last)
		}
		last = e.At
	}
}

func TestStoppedWorkerDoesNothing(t *testing.T) {
	f := fleettest.Start(t, "count", 1, nil)
	f.AwaitEvents("count", 1)
	f.Workers[0].Stop()
	begin := time.Now()
	time.Sleep(30 * time.Millisecond) // in which a running worker tells thousands
	end := time.Now()
	f.Workers[0].Continue()
	f.AwaitEvents("count", len(f.Events())+5000) // more than the pipe holds
	f.Workers[0].Kill()
	after := false
	for _, e := range f.Events() {
		if e.At.After(begin) && e.At.Before(end) {
			t.Fatalf("an event %v after the worker was stopped, for 30 ms", e.At.Sub(begin))
		}
		after = after || e.At.After(end)
	}
	if !after {
		t.Fatal("no event after the worker was continued")
	}
}

func TestWorkerEndsWhenItsInputDoes(t *testing.T) {
	text := inner(t, "InputEnds")
	if !strings.Contains(text, "ended badly: exit status 1") || strings.Contains(text, "does not end") {
		t.Fatalf("want a worker that ends by itself, got\n%s", text)
	}
}

// What goes wrong in a worker fails the test that started it, which says what it was.
func TestFailures(t *testing.T) {
	for name, want := range map[string]string{
		"Fail":     "worker 0, role fail: no luck today",
		"FailWait": "worker 1, role fail: no luck today",
		"Exit":     "worker 0, role exit, ended badly: exit status 7",
		"NotReady": "worker 0, role exit, is not ready, it has ended",
		"NoReport": "worker 0, role exit, makes no report, it has ended",
		"NoEvents": `0 events "creating" of role exit, want 1`,
		"NoRole":   `no role "nobody" in the Roles of this package`,
	} {
		t.Run(name, func(t *testing.T) {
			text := inner(t, name)
			if !strings.Contains(text, want) || !strings.Contains(text, "--- FAIL: TestInner/"+name) {
				t.Errorf("want a test that fails with %q, got\n%s", want, text)
			}
			if strings.Count(text, want) != 1 {
				t.Errorf("want %q once, got\n%s", want, text)
			}
		})
	}
}

// TestInner holds the tests that fail, each run in a process of its own.
func TestInner(t *testing.T) {
	if os.Getenv("FLEETTEST_INNER") == "" {
		t.Skip("its parts are run by other tests")
	}
	t.Run("Fail", func(t *testing.T) {
		f := fleettest.Start(t, "fail", 1, nil)
		f.Wait()
		f.Wait()
	})
	t.Run("FailWait", func(t *testing.T) {
		f := fleettest.Start(t, "fail", 2, nil)
		for _, p := range f.Workers {
			p.Wait()
		}
	})
	t.Run("Exit", func(t *testing.T) { fleettest.Start(t, "exit", 1, nil).Wait() })
	t.Run("NotReady", func(t *testing.T) { fleettest.Start(t, "exit", 1, nil).AwaitReady() })
	t.Run("NoReport", func(t *testing.T) { fleettest.Start(t, "exit", 1, nil).Workers[0].Report(new(int)) })
	t.Run("NoEvents", func(t *testing.T) { fleettest.Start(t, "exit", 2, nil).AwaitEvents("creating", 1) })
	t.Run("NoRole", func(t *testing.T) { fleettest.Start(t, "nobody", 1, nil).Wait() })
	t.Run("Race", func(t *testing.T) { fleettest.Start(t, "race", 1, nil).AwaitReady() })
	t.Run("InputEnds", func(t *testing.T) {
		f := fleettest.Start(t, "sleep", 1, nil)
		f.AwaitReady()
		f.Workers[0].CloseInput()
		f.Wait()
	})
	t.Run("Parent", func(t *testing.T) {
		f := fleettest.Start(t, "sleep", 1, nil)
		f.AwaitReady()
		f.Workers[0].Stop() // so that it cannot see the end of its input
		fmt.Println("worker is", f.Workers[0].PID)
		select {}
	})
}

func innerCommand(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.v", "-test.run=^TestInner$/^"+name+"$")
	cmd.Env = append(os.Environ(), "FLEETTEST_INNER=1")
	return cmd
}

func inner(t *testing.T, name string) string {
	t.Helper()
	text, err := innerCommand(t, name).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text)
}

func TestLong(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "1": true} {
		if t.Setenv("DOGPILE_LONG", value); fleettest.Long() != want {
			t.Errorf("Long() is %v with DOGPILE_LONG=%q", !want, value)
		}
	}
}
