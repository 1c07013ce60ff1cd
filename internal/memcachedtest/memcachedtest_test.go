package memcachedtest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/memcachedtest"
)

func TestMain(m *testing.M) {
	if os.Getenv("MEMCACHEDTEST_DIE") != "" {
		memcachedtest.WithShared(startAndWait{}).Run()
	}
	goleak.VerifyTestMain(memcachedtest.WithShared(m))
}

// startAndWait starts a server and waits to be killed.
type startAndWait struct{}

func (startAndWait) Run() int {
	testing.Init()
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Start", F: func(t *testing.T) {
		fmt.Println("pid", memcachedtest.Start(t).PID())
		select {}
	}}}, nil, nil)
	return 1
}

func TestServerIsStartedAndEndsWithTheTest(t *testing.T) {
	var addr string
	t.Run("Inner", func(t *testing.T) {
		server := memcachedtest.Start(t, "-m", "3", "-I", "512k")
		addr = server.Addr
		if got := server.Stat(t, "limit_maxbytes"); got != 3<<20 {
			t.Errorf("limit_maxbytes is %d, want 3 MiB as the arguments say", got)
		}
		if got := server.Do(t, "set k 0 0 1", "v"); got != "STORED" {
			t.Errorf("set = %q", got)
		}
		if got := server.Do(t, "get k"); got != "VALUE k 0 1\r\nv\r\nEND" {
			t.Errorf("get = %q", got)
		}
		if n := server.Requests(t); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the server still answers after its test")
	}
}

func TestRestart(t *testing.T) {
	server := memcachedtest.Start(t)
	server.Do(t, "set k 0 0 1", "v")
	pid := server.PID()
	server.Restart(t)
	if got := server.Do(t, "get k"); got != "END" || server.PID() == pid {
		t.Errorf("after a restart get = %q in process %d, want an empty server in another one than %d", got, server.PID(), pid)
	}
	server.Kill(t)
	server.Restart(t)
	server.Stop(t)
	server.Continue(t)
	if got := server.Do(t, "get k"); got != "END" {
		t.Errorf("get = %q", got)
	}
}

func TestShared(t *testing.T) {
	two, three := memcachedtest.Shared(t, 2), memcachedtest.Shared(t, 3)
	if two[0] != three[0] || two[1] != three[1] || len(two) != 2 || len(three) != 3 {
		t.Errorf("Shared returns %v and then %v, want the same ones and one more", memcachedtest.Addrs(two), memcachedtest.Addrs(three))
	}
}

// What is started by a process that is killed with SIGKILL dies with it.
func TestServerDiesWithTheProcess(t *testing.T) {
	memcachedtest.Shared(t, 1) // skips the test where there is no memcached
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills the children of a process that is killed")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "MEMCACHEDTEST_DIE=1")
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
		t.Fatalf("its server, process %d, is not running", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the process was killed, its server %d runs on", pid)
		}
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
