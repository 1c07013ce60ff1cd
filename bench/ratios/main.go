// Command ratios reads what go test -bench printed in package bench, from the
// files that are named or from standard input, and prints regions beside their rivals,
// in memory and on Redis, and whether the budgets hold.
//
//	go test -run '^$' -bench . -count 6 | go run ./ratios
//
// A missed budget is printed and is no failure: how fast things are depends on the
// machine and on what else runs there. The exit status is 1 only if the input
// cannot be used.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

func run(paths []string) error {
	results, err := read(paths)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	report(out, results)
	return out.Flush()
}
