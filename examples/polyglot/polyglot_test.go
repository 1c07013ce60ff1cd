package main

import (
	"bytes"
	"context"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/pythontest"
	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inGo runs the program in this process.
func inGo(t *testing.T, url string, forget bool, ids ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), &out, url, 0, forget, ids); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// inPython runs the other one.
func inPython(t *testing.T, url string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, pythontest.Interpreter(t), append([]string{"-B", "app.py", "--url", url}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("app.py: %v\n%s", err, out)
	}
	return string(out)
}

func TestBothHaveOneCache(t *testing.T) {
	pythontest.Needed(t)
	url := redistest.Start(t).URL() + "/0"
	for _, step := range []struct{ got, want string }{
		{inGo(t, url, false, "42"), "Go has user 42, loaded by Go\n"},
		{inPython(t, url, "42", "43"), "Python has user 42, loaded by Go\nPython has user 43, loaded by Python\n"},
		{inGo(t, url, false, "42", "43"), "Go has user 42, loaded by Go\nGo has user 43, loaded by Python\n"},
		{inGo(t, url, true, "43"), "Go forgets user 43\n"},
		{inPython(t, url, "--forget", "42"), "Python forgets user 42\n"},
		{inPython(t, url, "42", "43"), "Python has user 42, loaded by Python\nPython has user 43, loaded by Python\n"},
		{inGo(t, url, false, "42"), "Go has user 42, loaded by Python\n"},
	} {
		if step.got != step.want {
			t.Errorf("the program says %q; want %q", step.got, step.want)
		}
	}
}

func TestBadArguments(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, redistest.Start(t).URL(), 0, false, []string{"Ann"}); err == nil {
		t.Error("a name is taken for the number of a user")
	}
	if err := run(t.Context(), &out, "rediss+cluster://h", 0, false, nil); err == nil {
		t.Error("a cluster is taken for a server that can be shared")
	}
}
