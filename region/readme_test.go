package region_test

import (
	"bytes"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The program in the README runs, and prints what one would expect.
func TestTheProgramInTheREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README has no program")
	}
	program := block[1]
	if formatted, err := format.Source(program); err != nil || !bytes.Equal(formatted, program) {
		t.Errorf("gofmt would change it: %v", err)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, program, 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "go", "run", file)
	run.Dir = ".." // in the module, so that its packages are found
	out, err := run.CombinedOutput()
	if want := "user 42 <nil>\n"; err != nil || string(out) != want {
		t.Errorf("it prints %q, %v; want %q", out, err, want)
	}
}
