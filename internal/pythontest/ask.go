package pythontest

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"testing"
)

// Ask runs a script in Python, to find out what Python does. It finds question, which went
// through JSON, in the variable "question", and what it leaves in "answer" is decoded into
// answer. The test ends here if it fails.
func Ask(t testing.TB, script string, question, answer any) {
	t.Helper()
	Needed(t)
	in, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter(), "-B", "-c", "import sys, json\nquestion = json.load(sys.stdin)\n"+script+"\njson.dump(answer, sys.stdout)\n")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Python: %v\n%s", err, stderr.Bytes())
	}
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("Python answered %.200q: %v", out, err)
	}
}

// Interpreter returns the path of the Python that has the modules, for tests of programs.
func Interpreter(t testing.TB) string {
	t.Helper()
	Needed(t)
	return interpreter()
}
