package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

// The test binary is the program if it is told so, and then so are the workers
// that it starts.
func TestMain(m *testing.M) {
	if os.Getenv("HERD_IS_THE_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestOneCreation(t *testing.T) {
	redistest.Start(t) // skips the test where there is no redis-server
	p := launch(t, "-processes", "3", "-callers", "20", "-takes", "300ms", "-rounds", "2")
	out, _ := p.end(0)

	rounds := strings.Count(out, "\nPromised: 1 creation.\nIt held: 1 creation for 60 callers.\n")
	if rounds != 2 || !strings.HasSuffix(out, "\nIt held in 2 of 2 rounds: 2 creations for 120 callers in all.\n") {
		t.Error("wanted: 2 rounds of 1 creation for 60 callers, and their sum")
	}
	for _, want := range []string{"creations  1\n", "answered   60 callers with 1 value\n", "wake-up ", "Redis "} {
		if strings.Count(out, want) != 2 {
			t.Errorf("wanted: %q in both rounds", want)
		}
	}
	if strings.ContainsAny(out, "\r\x1b") {
		t.Error("wanted: no escape codes where the output is no terminal")
	}
	awaitRefusal(t, serverOf(t, out))
}

func TestKill(t *testing.T) {
	redistest.Start(t)
	p := launch(t, "-processes", "3", "-callers", "20", "-takes", "600ms", "-kill")
	out, _ := p.end(0)
	for _, want := range []string{
		" gets a SIGKILL\n",
		"creations  2\n",
		"answered   40 callers with 1 value; 20 died with their process\n",
		"takeover ",
		"and 1 more for each process that died while it created, here 1.\nIt held: 2 creations for 60 callers.\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("wanted: %q", want)
		}
	}
}

// A reader who kills the creating process by hand sees the same.
func TestKillByHand(t *testing.T) {
	redistest.Start(t)
	p := launch(t, "-processes", "2", "-callers", "20", "-takes", "600ms")
	var pid int
	if _, err := fmt.Sscan(p.await(`\(pid (\d+)\) begins to create`), &pid); err != nil {
		t.Fatal(err)
	}
	if creator, err := os.FindProcess(pid); err != nil || creator.Kill() != nil {
		t.Fatalf("process %d cannot be killed", pid)
	}
	out, _ := p.end(0)
	if want := "It held: 2 creations for 40 callers.\n"; !strings.HasSuffix(out, want) {
		t.Errorf("wanted: %q at the end", want)
	}
}

// A program that counts nothing would say that all is well here too.
func TestBroken(t *testing.T) {
	server := redistest.Start(t)
	p := launch(t, "-processes", "2", "-callers", "20", "-takes", "1s", "-redis", "redis://"+server.Addr+"?lease_ttl=3s")
	p.await(`(begins to create)`)
	server.Do(t, "FLUSHALL") // and with it the lease
	out, _ := p.end(1)
	for _, want := range []string{
		"It did NOT hold: ",
		" creations where 1 would have done\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("wanted: %q", want)
		}
	}
}

func TestGivenServer(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "verysecret")
	server.Do(t, "SET", "app:users", "a key of the application")
	url := "redis://:verysecret@" + server.Addr + "/0?prefix=app"

	out, _ := launch(t, "-processes", "2", "-callers", "10", "-takes", "100ms", "-redis", url).end(0)
	if strings.Contains(out, "verysecret") || !strings.Contains(out, "ask "+server.Addr+"/0 for") {
		t.Error("wanted: the server's address, and not its password")
	}
	if n := server.Do(t, "DBSIZE"); n != int64(1) {
		t.Errorf("%v keys are left, wanted: the one that was there before: %v", n, server.Do(t, "KEYS", "*"))
	}

	p := launch(t, "-processes", "2", "-callers", "10", "-takes", "10m", "-redis", url)
	p.await(`(begins to create)`)
	if n := server.Do(t, "DBSIZE"); n == int64(1) {
		t.Error("wanted: keys while somebody creates")
	}
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, complaint := p.end(2); complaint != "herd: interrupted\n" {
		t.Errorf("it says %q, wanted: that it was interrupted", complaint)
	}
	if n := server.Do(t, "DBSIZE"); n != int64(1) {
		t.Errorf("%v keys are left after an interrupt, wanted: the one that was there before: %v", n, server.Do(t, "KEYS", "*"))
	}
}

func TestServerThatRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	out, complaint := launch(t, "-redis", "redis://joe:verysecret@"+address).end(2)
	if out != "" || strings.Contains(complaint, "joe") || strings.Contains(complaint, "verysecret") ||
		strings.Count(complaint, "\n") != 1 || !strings.Contains(complaint, address+" cannot be used: ") {
		t.Error("wanted: one line that says which server, without name and password")
	}
}

func TestNoServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, complaint := launch(t).end(2); complaint != "herd: "+errNoServer.Error()+"\n" {
		t.Error("wanted: one line that says what to install or to pass")
	}
}

// A program that is killed cannot stop what it has started.
func TestNothingOutlivesTheProgram(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with the one that started it")
	}
	redistest.Start(t)
	p := launch(t, "-processes", "2", "-callers", "10", "-takes", "10m")
	worker := p.await(`\(pid (\d+)\) begins to create`)
	if err := p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	out, _ := p.end(-1)
	awaitRefusal(t, serverOf(t, out))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		// It is empty when the process has ended and nobody has asked how.
		if line, _ := os.ReadFile("/proc/" + worker + "/cmdline"); len(line) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("worker %s still runs, wanted: that it ends with the program", worker)
		}
	}
}

// program is a run of the program.
type program struct {
	t         *testing.T
	command   *exec.Cmd
	stdout    *bufio.Reader
	read      strings.Builder // what was read of stdout
	complaint strings.Builder // its stderr
}

func launch(t *testing.T, args ...string) *program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, command: exec.CommandContext(t.Context(), exe, args...)}
	// With the race detector a process waits for a second before it ends, by default.
	p.command.Env = append(os.Environ(), "HERD_IS_THE_PROGRAM=1", "GORACE=atexit_sleep_ms=0")
	p.command.Stderr = &p.complaint
	out, err := p.command.StdoutPipe()
	if err == nil {
		err = p.command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(out)
	return p
}

// await reads until there is a line that matches and returns its first group.
func (p *program) await(pattern string) string {
	p.t.Helper()
	for wanted := regexp.MustCompile(pattern); ; {
		line, err := p.stdout.ReadString('\n')
		p.read.WriteString(line)
		if match := wanted.FindStringSubmatch(line); match != nil {
			return match[1]
		}
		if err != nil {
			p.t.Fatalf("%v; wanted: a line with %q in\n%s%s", err, pattern, &p.read, &p.complaint)
		}
	}
}

// end waits for the end of the program and returns all that it has printed.
func (p *program) end(exitCode int) (stdout, stderr string) {
	p.t.Helper()
	if _, err := io.Copy(&p.read, p.stdout); err != nil {
		p.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.command.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	p.t.Logf("%v\n%s%s", p.command.Args[1:], &p.read, &p.complaint)
	if got := p.command.ProcessState.ExitCode(); got != exitCode {
		p.t.Errorf("the exit code is %d, wanted: %d", got, exitCode)
	}
	return p.read.String(), p.complaint.String()
}

// serverOf returns the address of the server that the program has started.
func serverOf(t *testing.T, out string) string {
	t.Helper()
	match := regexp.MustCompile(`ask (127\.0\.0\.1:\d+) for`).FindStringSubmatch(out)
	if match == nil || !strings.HasPrefix(out, "No -redis was given: started ") {
		t.Fatal("wanted: that the program says which server it has started")
	}
	return match[1]
}

func awaitRefusal(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = c.Close()
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server at %s still runs, wanted: that it ends with the program", address)
		}
	}
}
