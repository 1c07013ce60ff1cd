package pythontest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/pythontest"
)

func TestKill(t *testing.T) {
	t.Parallel()
	region := memory(t)
	call := region.StartGetOrCreate("k", pythontest.Creator{Hold: true})
	call.AwaitCreating(t)
	region.Worker().Kill()
	if _, err := call.Value(); !errors.Is(err, pythontest.ErrEnded) {
		t.Errorf("a call of a worker that was killed: %v, want ErrEnded", err)
	}
	if err := region.Set("k", 1); !errors.Is(err, pythontest.ErrEnded) {
		t.Errorf("a call of a worker that is gone: %v, want ErrEnded", err)
	}
	if n := region.Worker().Created("k"); n != 1 {
		t.Errorf("%d creations are known of a worker that was killed, want 1", n)
	}
	call.Release()
	region.Worker().Kill()
}

func TestStopAndContinue(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("nothing is stopped on Windows")
	}
	region := memory(t)
	region.Worker().Stop()
	call := region.StartGetOrCreate("k", pythontest.Creator{Value: 1})
	if call.Created() {
		t.Error("a worker that was stopped has begun a creation")
	}
	region.Worker().Continue()
	if v, err := call.Value(); err != nil || v.JSON != "1" {
		t.Errorf("get_or_create of a worker that goes on = %v, %v; want 1", v, err)
	}
}

// A worker whose test is over is gone.
func TestWorkerEndsWithTheTest(t *testing.T) {
	t.Parallel()
	var region *pythontest.Region
	t.Run("Inner", func(t *testing.T) { region = memory(t) })
	if region == nil {
		t.SkipNow() // Inner has said why
	}
	if _, err := region.Get("k"); !errors.Is(err, pythontest.ErrEnded) {
		t.Errorf("a call after the test: %v, want ErrEnded", err)
	}
}

// A worker of a process that is killed with SIGKILL dies with it, a creator that is held
// included.
func TestWorkerDiesWithTheProcess(t *testing.T) {
	t.Parallel()
	pythontest.Needed(t)
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells in /proc whether a process is alive")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "PYTHONTEST_DIE=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	var pid int
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "pid %d", &pid)
	}
	if pid == 0 || !alive(pid) {
		t.Fatalf("its worker, process %d, is not running", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the process was killed, its worker %d runs on", pid)
		}
	}
}

// dieWithWorker starts a worker with a creator that is held, and waits to be killed.
func dieWithWorker() {
	testing.Init()
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Start", F: func(t *testing.T) {
		region := memory(t)
		region.StartGetOrCreate("k", pythontest.Creator{Hold: true}).AwaitCreating(t)
		fmt.Println("pid", region.Worker().PID)
		select {}
	}}}, nil, nil)
	os.Exit(1)
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
