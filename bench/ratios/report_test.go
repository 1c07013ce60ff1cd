package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	r, err := read([]string{"testdata/results.txt"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	report(&out, r)
	want, err := os.ReadFile("testdata/report.txt")
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the report is\n%s\nwant\n%s", out.String(), want)
	}
}

func TestUnusableInput(t *testing.T) {
	const serial = "BenchmarkHit/who=otter_TTL/serial-2 1 100 ns/op 0 B/op 0 allocs/op\n"
	for name, c := range map[string]struct{ input, want string }{
		"empty":       {"", "otter_TTL/serial is not in the input"},
		"half":        {serial, "otter_TTL/parallel is not in the input"},
		"mixed":       {serial + strings.Replace(serial, "-2", "-4", 1), "GOMAXPROCS=2 and 4"},
		"no time":     {"BenchmarkHit/who=otter_TTL/serial-2 1 7 widgets\n", "no time"},
		"no allocs":   {"BenchmarkHit/who=otter_TTL/serial-2 1 100 ns/op\n", "no allocations"},
		"not at all":  {"Hello\n", "is not in the input"},
		"a test fell": {"--- FAIL: BenchmarkHit\nFAIL\n", "is not in the input"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "results.txt")
			if err := os.WriteFile(path, []byte(c.input), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := read([]string{path}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want an error that says %q", err, c.want)
			}
		})
	}
	if _, err := read([]string{filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a file that is not there is no error")
	}
}

// Benchmarks on Redis can be run by themselves.
func TestRedisAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.txt")
	if err := os.WriteFile(path, []byte("BenchmarkRedisTrips/what=hit-2 1 100 ns/op 1 trips\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := read([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	report(&out, r)
	for want, is := range map[string]bool{
		"at most 1 round trip: holds (1.0)": true,
		"at most 1 creation: not measured":  true,
		"otter":                             false,
		"The herd":                          false,
	} {
		if strings.Contains(out.String(), want) != is {
			t.Errorf("%q is in the report: %v, want %v. The report:\n%s", want, !is, is, out.String())
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{5, 1}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{9, 1, 2, 4}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}
